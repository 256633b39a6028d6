# SPDX-License-Identifier: Apache-2.0
"""Old names of parameters; apart from operators, in whose modules Airflow shifts the stack level of warnings."""

from __future__ import annotations

import warnings
from typing import Any

from airflow_mwaa_provider.exceptions import MwaaInputError

__all__ = ["renamed"]


def renamed(name: str, value: Any, old_name: str, old_value: Any) -> Any:
    """Return the value of a parameter that has been renamed, and warn if its old name was used.

    Call it in ``__init__`` of an operator's class, so that the warning names the line of the DAG file.

    :raises MwaaInputError: both names are given.
    """
    if old_value is None:
        return value
    if value is not None:
        raise MwaaInputError(f"{old_name} is the old name of {name}, and both are given. Give {name} only.")
    # Over this function, __init__ and Airflow's wrapper of it.
    warnings.warn(f"{old_name} has been renamed to {name}.", DeprecationWarning, stacklevel=4)
    return old_value
