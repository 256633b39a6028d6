# SPDX-License-Identifier: Apache-2.0
"""Which secrets backend Airflow's configuration names, with which keywords, for which processes.

Airflow itself ignores keywords that it cannot read, and logs that in a line that few people see.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MWAA_PRESET", "Configuration", "ConfiguredBackend", "keywords_of", "read_configuration",
    "single_keywords_in_variables",
]  # fmt: skip

MWAA_PRESET = '{"connections_lookup_pattern": "^(?!aws_default$).*$"}'
"""What every image sets ``secrets.backend_kwargs`` to; those of Airflow 3 also ``workers.secrets_backend_kwargs``.

Source: ``mwaa/config/airflow.py`` of aws/amazon-mwaa-docker-images, all images of August 2026.
"""
_OF_SERVERS = ("secrets", "backend", "backend_kwargs", "backend_kwarg")
_OF_WORKERS = ("workers", "secrets_backend", "secrets_backend_kwargs", "secrets_backend_kwarg")


@dataclass(frozen=True)
class ConfiguredBackend:
    """A configured backend.

    :param class_path: its class.
    :param keywords: its keywords.
    :param option: the option that has its keywords.
    """

    class_path: str
    keywords: Mapping[str, Any]
    option: str


@dataclass(frozen=True)
class Configuration:
    """The backends of an Airflow.

    :param task: the backend of tasks; ``None`` if there is none.
    :param server: the backend of all other processes; on Airflow 3 the API server also asks it for tasks.
    :param problems: mistakes in the configuration, in sentences without values.
    """

    task: ConfiguredBackend | None
    server: ConfiguredBackend | None
    problems: tuple[str, ...]


def read_configuration(
    option: Callable[[str, str], str | None],
    single_keywords: Callable[[str, str], Mapping[str, str]] | None = None,
    *,
    has_workers: bool,
) -> Configuration:
    """Read the configuration as Airflow does.

    :param option: returns the value of an option, given its section and name.
    :param single_keywords: returns the keywords that Airflow takes from separate options, given a section and the
        beginning of their names; ``None`` if this Airflow has no such options.
    :param has_workers: whether tasks may have a different backend, as on Airflow 3.
    """
    problems: list[str] = []
    server = _read_backend(_OF_SERVERS, option, single_keywords, problems)
    own = _read_backend(_OF_WORKERS, option, single_keywords, problems) if has_workers else None
    if own is not None and server is not None:
        problems += _differences(own, server)
    return Configuration(own or server, server, tuple(problems))


def _read_backend(
    names: tuple[str, str, str, str],
    option: Callable[[str, str], str | None],
    single_keywords: Callable[[str, str], Mapping[str, str]] | None,
    problems: list[str],
) -> ConfiguredBackend | None:
    section, backend, keywords, keyword = names
    class_path = (option(section, backend) or "").strip()
    text = option(section, keywords) or ""
    given, problem = keywords_of(f"{section}.{keywords}", text)
    single = dict(single_keywords(section, keyword)) if single_keywords is not None else {}
    if not class_path:
        if (text.strip() and given != json.loads(MWAA_PRESET)) or single:
            problems.append(
                f"{section}.{keywords} has no effect, because {section}.{backend} names no backend. Set "
                f"{section}.{backend} too."
            )
        return None
    if problem:
        problems.append(problem)
    return ConfiguredBackend(class_path, {**given, **single}, f"{section}.{keywords}")


def single_keywords_in_variables(section: str, name: str) -> dict[str, str]:
    """Return the keywords that Airflow 3.2 and newer take from separate environment variables, as strings."""
    start = f"AIRFLOW__{section}__{name}__".upper()
    return {
        variable.removeprefix(start).lower(): value
        for variable, value in os.environ.items()
        if variable.startswith(start) and variable != start
    }


def keywords_of(name: str, text: str) -> tuple[dict[str, Any], str]:
    """Return keywords as Airflow reads them, and what is wrong with the option; empty if nothing is."""
    if not text.strip():
        return {}, ""
    ignored = f"{name} is ignored, and the backend is created without keywords:"
    try:
        found = json.loads(text)
    except ValueError as error:
        where = f"line {getattr(error, 'lineno', 1)}, column {getattr(error, 'colno', 1)}"
        return {}, f"{ignored} it is not valid JSON ({where}). {_advice(text.strip())}"
    if isinstance(found, dict):
        return found, ""
    if isinstance(found, str) and found.lstrip().startswith("{"):
        return {}, f"{ignored} it is JSON inside a string. Leave out the outer quotation marks, and the backslashes."
    return ({}, f"{ignored} it is JSON, but not an object. Put {{}} around it.") if found else ({}, "")


def _advice(text: str) -> str:
    if text[0] in "'\"" and text[-1:] == text[:1]:
        return "Remove the quotation marks around it."
    if "'" in text and '"' not in text:
        return "Write \" instead of '."
    if any(word in text for word in ("None", "True", "False")):
        return "Write null, true and false, as in JSON."
    return "Correct it."


def _differences(own: ConfiguredBackend, server: ConfiguredBackend) -> list[str]:
    names = sorted(
        name
        for name in own.keywords.keys() | server.keywords.keys()
        if own.keywords.get(name, ...) != server.keywords.get(name, ...)
    )
    if not names and own.class_path == server.class_path:
        return []
    what = f" ({', '.join(names)})" if names else ""
    problem = (
        f"Tasks use the backend in {own.option}, all other processes the one in {server.option}, and the two differ"
        f"{what}. Remove workers.secrets_backend, or set both to the same values."
    )
    return [problem]
