# SPDX-License-Identifier: Apache-2.0
"""What Airflow's log would show of a string."""

from __future__ import annotations

import sys
from typing import Any

_MASKERS = (
    "airflow.utils.log.secrets_masker", "airflow._shared.secrets_masker.secrets_masker",
    "airflow.sdk._shared.secrets_masker.secrets_masker", "airflow.sdk.execution_time.secrets_masker",
)  # fmt: skip


def redacted(text: str) -> str:
    """Mask a string with each masker that this version of Airflow has loaded."""
    for name in _MASKERS:
        masker: Any = vars(sys.modules.get(name, object)).get("_secrets_masker")  # getattr would warn of old places
        if masker is not None:
            text = str(masker().redact(text))
    return text
