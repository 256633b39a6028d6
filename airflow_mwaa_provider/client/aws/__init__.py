# SPDX-License-Identifier: Apache-2.0
"""Calls of AWS services, MWAA's API first, with their errors told apart."""
