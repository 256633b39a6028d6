# SPDX-License-Identifier: Apache-2.0
"""The command ``airflow-mwaa``: thin over the other layers, and imported by none of them."""
