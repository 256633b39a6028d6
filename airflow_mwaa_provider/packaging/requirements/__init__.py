# SPDX-License-Identifier: Apache-2.0
"""Checks a requirements.txt before it is uploaded: read as pip reads it, resolved as MWAA's image resolves it."""
