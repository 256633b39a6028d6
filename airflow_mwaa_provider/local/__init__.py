# SPDX-License-Identifier: Apache-2.0
"""MWAA on your machine: its endpoints in front of real Airflows.

Written from the service's documentation, not from ``client/``.
"""
