# SPDX-License-Identifier: Apache-2.0
"""Values of environment variables: references to other variables and to secrets, and names that MWAA reserves."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import TYPE_CHECKING

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.plugins.options import SECTION, is_scheduler, never_fails, say_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

__all__ = ["RESERVED", "needs_secrets", "set_variables"]

SECRET = "secretsmanager://"  # noqa: S105 - the start of a reference

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\}|(\{))", re.ASCII)
_ARN_FIELDS = 7  # in the ARN of a secret
_ADDED = "AIRFLOW_MWAA_ENV_ADDED"
"""Lists the variables with additions to their values, for processes that inherit them."""
_MOST_BYTES = 131_071
"""Limit for NAME=value: Linux starts no program that inherits more, so every program of a task would fail."""
_READ_AT_START = ("LD_LIBRARY_PATH", "LD_PRELOAD")

RESERVED = frozenset(
    {
        *("AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW_ENV_ID", "AIRFLOW_ENV_NAME", "AIRFLOW_HOME"),
        *("AIRFLOW_TASK_REVISION_ID", "AIRFLOW_VERSION", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        *("AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_REGION", "CUSTOMER_ACCOUNT_ID", "ECS_AGENT_URI"),
        *("ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4", "JWT_PUBLIC_KEY"),
        *("MWAA_AIRFLOW_COMPONENT", "MWAA_COMMAND", "PYTHONPATH", "PYTHONUNBUFFERED", "SQL_ALCHEMY_CONN"),
        *("USE_NON_CRITICAL_LOGGING", "WATCHTOWER_VERSION"),
    }
)
"""Variables that MWAA sets itself: those in the user guide, and those of the images.

So are all that begin with ``AIRFLOW__`` and ``MWAA__``.

Source: MWAA user guide, "Reserved environment variables"; aws/amazon-mwaa-docker-images, setup_environment.py and
environ.py of the images 2.9.2 to 3.3.1, 2026-11-30.
"""


class _NotSet(Exception):
    """A variable gets no value; the message has the reason, and what to do."""


def needs_secrets(options: Mapping[str, str]) -> bool:
    """Return whether an option refers to a secret."""
    return any(text.startswith(SECRET) for text in options.values())


def set_variables(options: Mapping[str, str], variables: MutableMapping[str, str]) -> None:
    """Set variables from options. A mistake in one is logged in a line, and the others are set nevertheless.

    Secrets are read after everything that needs none is set.

    In a process that has inherited these variables, they do not change.

    :param options: values by the names of variables; references between them need no order.
    :param variables: those of the process.
    """
    done = []
    values = _Values(options, dict(variables))
    # Those without secrets first: they may contain the endpoint of secrets, or credentials.
    for needs_secret in (False, True):
        found = {}
        for name in options:
            if values.needs_secret(name) is needs_secret:
                with _logged(name):
                    found[name] = values.of(name)
        for name, value in found.items():
            with _logged(name):
                _set(name, value, variables)
                done.append(name)
    added = values.added.union(name for name in done if name in values.references(name))
    if added:
        variables[_ADDED] = ",".join(sorted(added))


@contextlib.contextmanager
def _logged(name: str) -> Iterator[None]:
    """Log in a line why a variable is not set."""
    option = f"mwaa_env.{name.lower()}"
    with never_fails(option):
        try:
            yield
        except _NotSet as error:
            say_once(logging.ERROR, f"{option}: {error}")


def _set(name: str, value: str, variables: MutableMapping[str, str]) -> None:
    try:
        size = len(os.fsencode(f"{name}={value}"))
        if size > _MOST_BYTES:
            raise _NotSet(
                f"the variable would have {size:,} bytes, but programs accept at most {_MOST_BYTES:,}. Put the value "
                "into a file, and the file's path into the variable."
            )
        variables[name] = value
    except ValueError:  # the system allows no NUL, and no string that cannot be encoded
        raise _NotSet("the value has characters that a variable cannot contain. Correct it.") from None
    if name in _READ_AT_START and AIRFLOW_V_3 and is_scheduler():
        say_once(
            logging.WARNING,
            f"mwaa_env.{name.lower()}: programs that a task starts see {name}, but not the task itself: it is forked, "
            "and a process reads this when its program starts. Export it in the startup script, or list the libraries "
            f"in {SECTION}.preload_libraries.",
        )


class _Values:
    """The values of options, each computed once."""

    def __init__(self, options: Mapping[str, str], before: Mapping[str, str]) -> None:
        self._options = options
        self._before = before
        self.added = set(filter(None, before.get(_ADDED, "").split(",")))
        """Names of variables with additions, by this process or one that it inherits from."""
        self._found: dict[str, str | Exception] = {}
        self._asked: list[str] = []

    def of(self, name: str) -> str:
        """Return the value of an option.

        :raises _NotSet: it has none. Any other error of the first reading is raised again.
        """
        if name in self._asked:
            circle = " and ".join(self._asked[self._asked.index(name) :])
            raise _NotSet(f"{circle} refer to each other in a circle. Write one of them without a reference.")
        if name not in self._found:
            self._asked.append(name)
            try:
                self._found[name] = self._read(name)
            except Exception as error:  # noqa: BLE001 - raised for each option that needs this one
                self._found[name] = error
            finally:
                self._asked.pop()
        found = self._found[name]
        if isinstance(found, Exception):
            raise found
        return found

    def needs_secret(self, name: str) -> bool:
        """Return whether an option is a reference to a secret, or includes one, directly or not."""
        seen, rest = {name}, [name]
        while rest:
            other = rest.pop()
            if self._options[other].startswith(SECRET):
                return True
            more = self.references(other) & self._options.keys() - seen
            seen |= more
            rest.extend(more)
        return False

    def references(self, name: str) -> set[str]:
        """Return the names in an option's ``${NAME}``."""
        return {reference for _, reference, _ in _REFERENCE.findall(self._options[name])}

    def _read(self, name: str) -> str:
        problem = _refusal(name)
        if problem:
            raise _NotSet(problem)
        text = self._options[name]
        if text.startswith(SECRET):
            return _secret(text)
        parts = [""]
        end = 0
        for match in _REFERENCE.finditer(text):
            parts[-1] += text[end : match.start()]
            end = match.end()
            dollar, reference, brace = match.groups()
            if brace:
                raise _NotSet("a ${ does not begin a ${NAME}. Correct it, or write $${ for these two characters.")
            if reference == name:
                parts.append("")
            else:
                parts[-1] += dollar or self._referred(name, reference)
        parts[-1] += text[end:]
        return parts[0] if len(parts) == 1 else self._around_itself(name, parts)

    def _around_itself(self, name: str, parts: list[str]) -> str:
        """Return a value that refers to the previous value of its own variable."""
        before = self._before.get(name)
        if before is None:
            self._warn_unknown(name, name)
            before = ""
        # This process or its parent has already added it; a program between them may have changed the value.
        if name in self.added and before.startswith(parts[0]) and before.endswith(parts[-1]):
            return before
        return before.join(parts)

    def _referred(self, name: str, reference: str) -> str:
        if reference in self._options and not _refusal(reference):
            try:
                return self.of(reference)
            except Exception as error:
                if reference in self._asked:
                    raise
                raise _NotSet(
                    f"it refers to {reference}, which is not set. Correct mwaa_env.{reference.lower()}."
                ) from error
        if reference not in self._before:
            self._warn_unknown(name, reference)
        return self._before.get(reference, "")

    def _warn_unknown(self, name: str, reference: str) -> None:
        advice = f"Correct the name, or write $${{{reference}}} for these characters."
        if reference.upper() != reference and reference.upper() in (*self._options, *self._before):
            advice = f"Write ${{{reference.upper()}}}."
        say_once(
            logging.WARNING,
            f"mwaa_env.{name.lower()}: no variable {reference} exists; it was replaced by nothing. {advice}",
        )


def _refusal(name: str) -> str:
    """Return why a variable must not be set, and what to do; empty if it may be set."""
    if not _NAME.fullmatch(name):
        return "not a valid variable name: use letters, digits and underscores."
    if name.startswith("AIRFLOW__"):
        return f"Airflow reads its options before plugins. Set the option {_airflow_option(name)} instead."
    if name == "TZ":
        return f"a running process does not notice a change. Set the option {SECTION}.task_timezone instead."
    if name == "PYTHONPATH":
        return "MWAA reserves PYTHONPATH. Put modules into the folder dags, or install them."
    if name in RESERVED or name.startswith("MWAA__"):
        return f"MWAA reserves {name}. Remove this option."
    return ""


def _airflow_option(name: str) -> str:
    section, _, key = name.removeprefix("AIRFLOW__").lower().partition("__")
    return f"{section}.{key}" if key else "of Airflow"


def _secret(reference: str) -> str:
    """Return the value of a secret, or of a key of its JSON; it is masked in logs."""
    name, _, key = reference.removeprefix(SECRET).partition("#")
    if not name:
        raise _NotSet(f"it does not name a secret. Write {SECRET}NAME, or {SECRET}NAME#KEY for a key of its JSON.")
    if "${" in reference:
        raise _NotSet("${NAME} is not replaced in a reference to a secret. Write the full name of the secret.")
    fields = name.split(":")
    if fields[0] == "arn" and len(fields) > _ARN_FIELDS:
        correct = SECRET + ":".join(fields[:_ARN_FIELDS]) + (f"#{fields[_ARN_FIELDS]}" if fields[_ARN_FIELDS] else "")
        raise _NotSet(f"this is the form of ECS for a key of JSON. Write {correct}.")
    from airflow_mwaa_provider.plugins.env_secrets import read_secret

    value, problem = read_secret(name, key)
    if value is None:
        raise _NotSet(problem)
    return value
