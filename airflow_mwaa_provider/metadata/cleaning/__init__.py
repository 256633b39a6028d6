# SPDX-License-Identifier: Apache-2.0
"""The parts of :mod:`airflow_mwaa_provider.metadata.cleanup`."""
