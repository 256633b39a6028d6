# SPDX-License-Identifier: Apache-2.0
"""A real Airflow behind an environment: its interpreter, settings, processes and warm CLI."""
