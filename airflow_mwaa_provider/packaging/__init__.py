# SPDX-License-Identifier: Apache-2.0
"""Builds the files that are uploaded to AWS, and knows what MWAA's images pin; imports no Airflow."""
