# SPDX-License-Identifier: Apache-2.0
"""Airflow's REST API, v1 and v2, through InvokeRestApi or a web session."""
