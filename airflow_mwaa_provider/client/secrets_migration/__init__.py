# SPDX-License-Identifier: Apache-2.0
"""Move connections and variables of an environment to Secrets Manager, and back; imports no Airflow."""
