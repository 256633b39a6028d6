# SPDX-License-Identifier: Apache-2.0
"""Builds the files that are uploaded to AWS; imports no Airflow."""
