# SPDX-License-Identifier: Apache-2.0
"""The service's own side: control plane, tokens, limits, gateway. It knows an Airflow only as ``local/runtime.py``."""
