# SPDX-License-Identifier: Apache-2.0
"""Airflow's own commands, through MWAA's CLI endpoint."""
