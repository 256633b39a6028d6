# SPDX-License-Identifier: Apache-2.0
"""Which rows are deleted."""
