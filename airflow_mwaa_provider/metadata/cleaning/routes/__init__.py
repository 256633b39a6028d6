# SPDX-License-Identifier: Apache-2.0
"""Cleanup routes that do not need a connection to the database."""
