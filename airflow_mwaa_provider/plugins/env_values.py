# SPDX-License-Identifier: Apache-2.0
"""Values of environment variables: references to other variables and to secrets, and names that are MWAA's own."""

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

SECRET = "secretsmanager://"  # noqa: S105 - the beginning of a reference

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)
_REFERENCE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\}|(\{))", re.ASCII)
_ARN_FIELDS = 7  # of a secret
_ADDED = "AIRFLOW_MWAA_ENV_ADDED"
"""Names the variables to whose values something was added, for processes that inherit them."""
_MOST_BYTES = 131_071
"""Of NAME=value. With more, Linux starts no program that inherits it, and whatever a task starts fails."""
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
"""Variables to which MWAA gives its own values: those that the user guide lists, and those of the images.

All that begin with ``AIRFLOW__`` and ``MWAA__`` are, too.

Source: MWAA user guide, "Reserved environment variables"; aws/amazon-mwaa-docker-images, setup_environment.py and
environ.py of the images 2.9.2 to 3.3.1, 2026-11-30.
"""


class _NotSet(Exception):
    """A variable gets no value; the message says why, and what to do."""


def needs_secrets(options: Mapping[str, str]) -> bool:
    """Return whether an option refers to a secret."""
    return any(text.startswith(SECRET) for text in options.values())


def set_variables(options: Mapping[str, str], variables: MutableMapping[str, str]) -> None:
    """Set variables by options; what is wrong with one is told in a line, and the others are set all the same.

    Secrets are read once all is set that needs none.

    A process that has inherited the variables of one that did this already is left with the same.

    :param options: by the names of variables; references to them need no order.
    :param variables: those of the process.
    """
    done = []
    values = _Values(options, dict(variables))
    # Those that need no secret first: they may say where secrets are, and who asks for them.
    for needs_secret in (False, True):
        found = {}
        for name in options:
            if values.needs_secret(name) is needs_secret:
                with _told(name):
                    found[name] = values.of(name)
        for name, value in found.items():
            with _told(name):
                _set(name, value, variables)
                done.append(name)
    added = values.added.union(name for name in done if name in values.references(name))
    if added:
        variables[_ADDED] = ",".join(sorted(added))


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell in a line why a variable is not set."""
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
                f"the variable would have {size:,} bytes, and programs take {_MOST_BYTES:,}. Put the value into a "
                "file, and the file's path into the variable."
            )
        variables[name] = value
    except ValueError:  # the system takes no NUL, and no text that has no bytes
        raise _NotSet("the value has characters that no variable can have. Correct it.") from None
    if name in _READ_AT_START and AIRFLOW_V_3 and is_scheduler():
        say_once(
            logging.WARNING,
            f"mwaa_env.{name.lower()}: programs that a task starts see {name}, but not the task itself: it is forked, "
            "and a process reads this when its program starts. Export it in the startup script, or name the libraries "
            f"in {SECTION}.preload_libraries.",
        )


class _Values:
    """The values of options, each found once."""

    def __init__(self, options: Mapping[str, str], before: Mapping[str, str]) -> None:
        self._options = options
        self._before = before
        self.added = set(filter(None, before.get(_ADDED, "").split(",")))
        """Names of the variables that were added to, by this process or one that it inherits from."""
        self._found: dict[str, str | Exception] = {}
        self._asked: list[str] = []

    def of(self, name: str) -> str:
        """Return the value of an option.

        :raises _NotSet: it has none, or whatever else was raised when it was read first.
        """
        if name in self._asked:
            circle = " and ".join(self._asked[self._asked.index(name) :])
            raise _NotSet(f"{circle} refer to each other in a circle. Write out one of them.")
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
        """Return whether an option is a reference to a secret, or takes one in, by whatever others."""
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
                raise _NotSet(
                    "there is a ${ that begins no ${NAME}. Correct it, or write $${ for these two characters."
                )
            if reference == name:
                parts.append("")
            else:
                parts[-1] += dollar or self._referred(name, reference)
        parts[-1] += text[end:]
        return parts[0] if len(parts) == 1 else self._around_itself(name, parts)

    def _around_itself(self, name: str, parts: list[str]) -> str:
        """Return a value that refers to the one that its own variable had."""
        before = self._before.get(name)
        if before is None:
            self._warn_unknown(name, name)
            before = ""
        # This process has done so already, or the one that started it; a program between them may have changed it.
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
            f"mwaa_env.{name.lower()}: there is no variable {reference}; nothing was put in its place. {advice}",
        )


def _refusal(name: str) -> str:
    """Return why a variable is not set, and what to do; empty if it may be set."""
    if not _NAME.fullmatch(name):
        return "no name of a variable: use letters, digits and underscores."
    if name.startswith("AIRFLOW__"):
        return f"Airflow reads its options before plugins. Set the option {_airflow_option(name)} instead."
    if name == "TZ":
        return f"a process does not notice a change of it. Set the option {SECTION}.task_timezone instead."
    if name == "PYTHONPATH":
        return "MWAA keeps PYTHONPATH for itself. Put modules into the folder dags, or install them."
    if name in RESERVED or name.startswith("MWAA__"):
        return f"MWAA keeps {name} for itself. Remove this option."
    return ""


def _airflow_option(name: str) -> str:
    section, _, key = name.removeprefix("AIRFLOW__").lower().partition("__")
    return f"{section}.{key}" if key else "of Airflow"


def _secret(reference: str) -> str:
    """Return the value of a secret, or of a key of its JSON; it is masked in logs."""
    name, _, key = reference.removeprefix(SECRET).partition("#")
    if not name:
        raise _NotSet(f"it names no secret. Write {SECRET}NAME, or {SECRET}NAME#KEY for a key of its JSON.")
    if "${" in reference:
        raise _NotSet("${NAME} is not replaced in a reference to a secret. Write out the secret's name.")
    fields = name.split(":")
    if fields[0] == "arn" and len(fields) > _ARN_FIELDS:
        correct = SECRET + ":".join(fields[:_ARN_FIELDS]) + (f"#{fields[_ARN_FIELDS]}" if fields[_ARN_FIELDS] else "")
        raise _NotSet(f"the form that ECS has for a key of JSON is not read. Write {correct}.")
    from airflow_mwaa_provider.plugins.env_secrets import read_secret

    value, problem = read_secret(name, key)
    if value is None:
        raise _NotSet(problem)
    return value
