# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the backend's configuration, logged once when the backend is created."""

from __future__ import annotations

import json
import re
import string
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["configured_problems", "problems"]

_PREFIXES = ("connections_prefix", "variables_prefix", "config_prefix")
_PATTERNS = ("connections_lookup_pattern", "variables_lookup_pattern", "config_lookup_pattern")
_OF_CONNECTION = (
    "assume_role_kwargs", "assume_role_method", "assume_role_with_saml", "assume_role_with_web_identity_federation",
    "assume_role_with_web_identity_token_file", "aws_access_key_id", "aws_secret_access_key", "aws_session_token",
    "config_kwargs", "endpoint_url", "external_id", "profile_name", "region_name", "role_arn", "service_config",
    "session_kwargs", "verify",
)  # fmt: skip
"""Fields of an AWS connection's extra, which the amazon provider's backend accepts as keywords."""
_OF_BACKEND = (
    *_PREFIXES, *_PATTERNS, "sep", "extra_conn_words", "api_version", "use_ssl", "full_url_mode",
    "are_secret_values_urlencoded",
)  # fmt: skip
_CONFIGURATIONS = ("airflow.sdk.configuration", "airflow.configuration")
_NAME = {
    "secretsmanager": frozenset(string.ascii_letters + string.digits + "/_+=.@-"),
    "ssm": frozenset(string.ascii_letters + string.digits + "/_.-"),
}


def problems(service: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Return each mistake as a sentence that names the keyword and what to do."""
    known = (*_OF_BACKEND, *_OF_CONNECTION)
    for name in given:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            yield f"unknown keyword {name!r}, which has no effect.{hint} Correct or remove it."
    for name in _PREFIXES:
        prefix = given.get(name)
        if not isinstance(prefix, str):
            continue
        if prefix[:1] in ("'", '"') and prefix[-1:] == prefix[:1]:
            yield f"{name} has quotation marks around it, so no secret can match. Remove them."
        elif not _NAME[service].issuperset(prefix):
            yield f"{name} {prefix!r} has characters that names cannot have, so no secret can match. Correct it."
        elif _ends_with_other_separator(service, given, prefix):
            yield (
                f"{name} {prefix!r} ends with a slash, but sep is {given['sep']!r}, so names begin with "
                f"{prefix + given['sep']!r}. Leave out the slash, or sep."
            )
    for name in _PATTERNS:
        pattern = given.get(name)
        if not isinstance(pattern, str) or not pattern:
            continue
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            yield f"{name} {pattern!r} is not a regular expression ({error}), so every look-up fails. Correct it."
            continue
        if compiled.match("") is None and _begins_with_prefix(given, name, pattern):
            yield (
                f"{name} {pattern!r} matches ids, not names of secrets: with the prefix in it, none can match. "
                "Leave the prefix out of it."
            )


def configured_problems() -> tuple[str, ...]:
    """Return mistakes in Airflow's options for its secrets backend."""
    for name in _CONFIGURATIONS:
        configuration = getattr(sys.modules.get(name), "conf", None)
        if configuration is not None:
            break
    else:
        return ()

    def option(section: str, name: str) -> str | None:
        text = configuration.get(section, name, fallback=None)
        return None if text is None else str(text)

    if not option("workers", "secrets_backend") and _is_object(option("secrets", "backend_kwargs")):
        return ()  # nearly always; the rest takes time
    from airflow_mwaa_provider.secrets.configuration import read_configuration, single_keywords_in_variables

    return read_configuration(option, single_keywords_in_variables, has_workers=True).problems


def _is_object(text: str | None) -> bool:
    try:
        return not text or isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _ends_with_other_separator(service: str, given: Mapping[str, Any], prefix: str) -> bool:
    sep = given.get("sep", "/")
    return service == "secretsmanager" and isinstance(sep, str) and prefix.endswith("/") and not sep.startswith("/")


def _begins_with_prefix(given: Mapping[str, Any], name: str, pattern: str) -> bool:
    prefix = given.get(name.replace("_lookup_pattern", "_prefix"))
    return isinstance(prefix, str) and bool(prefix) and pattern.lstrip("^").startswith(prefix)
