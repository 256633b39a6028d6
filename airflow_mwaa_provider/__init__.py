# SPDX-License-Identifier: Apache-2.0
"""Everything the DAGs of an Amazon MWAA environment need beyond Airflow and its amazon provider."""

__version__ = "0.1.0"
