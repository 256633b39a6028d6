# SPDX-License-Identifier: Apache-2.0
"""The service's side: control plane, tokens, limits, gateway. It knows Airflow only through ``local/runtime.py``."""
