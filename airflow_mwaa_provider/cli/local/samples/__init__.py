# SPDX-License-Identifier: Apache-2.0
"""The samples that ``airflow-mwaa local demo NAME`` runs, a module each."""
