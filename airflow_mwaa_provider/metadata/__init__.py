# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database: what is in it, how to open it, how to take its rows out. Knows no Airflow."""
