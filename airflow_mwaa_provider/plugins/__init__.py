# SPDX-License-Identifier: Apache-2.0
"""Plugins of Airflow, each of them off until a configuration option turns it on."""
