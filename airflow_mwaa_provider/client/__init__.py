# SPDX-License-Identifier: Apache-2.0
"""A remote MWAA environment, from outside; imports no Airflow."""
