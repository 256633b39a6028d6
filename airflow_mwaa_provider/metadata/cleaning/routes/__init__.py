# SPDX-License-Identifier: Apache-2.0
"""The ways by which a metadata database is cleaned."""
