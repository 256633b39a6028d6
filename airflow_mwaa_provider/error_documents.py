# SPDX-License-Identifier: Apache-2.0
"""Errors that cross a process, as data: events of deferred tasks, answers of the plugin ``metadata_api``.

An error is ``{"type": …, "message": …, "fields": {…}}`` in JSON's own types. An answer of the plugin has it as
``error``; its ``detail`` has one line for people and for earlier releases: ``AccessDenied[s3:PutObject]: It failed.``
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.exceptions import MwaaError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["as_dict", "as_line", "class_of", "from_dict", "read_line"]

# Parts of the message, which is sent whole: the receiver has no options to name in it.
_IN_THE_MESSAGE = {"_said", "advice", "parameter", "what"}
_ACTION = re.compile(r"[\w:]+")
_LINE = re.compile(r"([A-Z]\w+)(?:\[([\w:]+)\])?: (.+)", re.DOTALL)


def as_dict(error: MwaaError) -> dict[str, Any]:
    """Return an error in JSON's own types.

    Of a class that is not public the nearest public one is named. Fields that are not plain values are left out.
    """
    fields = {name: value for name, value in vars(error).items() if name not in _IN_THE_MESSAGE}
    plain = {name: value for name, value in fields.items() if isinstance(value, str | int | float | bool)}
    lists = {name: list(value) for name, value in fields.items() if isinstance(value, tuple)}
    return {"type": _public_name(error), "message": str(error), "fields": plain | lists}


def from_dict(document: Mapping[str, Any], **others: Any) -> MwaaError:
    """Make the error again that :func:`as_dict` was given, here or in another release.

    A class that is unknown to this release becomes :class:`MwaaError`, and fields that its class does not take are
    ignored.

    :param others: fields that replace those of the document.
    """
    kind = class_of(document)
    fields = document.get("fields")
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in {**(fields if isinstance(fields, dict) else {}), **others}.items()
        if name in _fields_of(kind)
    }
    return kind(str(document.get("message") or ""), **known)


def class_of(document: Mapping[str, Any]) -> type[MwaaError]:
    """Return the class of an error that :func:`from_dict` makes."""
    kind = getattr(exceptions, str(document.get("type")), None)
    return kind if inspect.isclass(kind) and issubclass(kind, MwaaError) else MwaaError


def as_line(error: MwaaError) -> str:
    """Return an error in one line, with its class and the first AWS action that is not allowed."""
    action = _ACTION.match(getattr(error, "action", None) or "")
    return f"{_public_name(error)}{f'[{action[0]}]' if action else ''}: {error}"


def read_line(line: str) -> dict[str, Any] | None:
    """Read what :func:`as_line` returned, all that releases up to 0.1.0 sent; ``None`` if it is something else."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    return {"type": found[1], "message": found[3], "fields": {"action": found[2]} if found[2] else {}}


def _fields_of(kind: type[MwaaError]) -> set[str]:
    parameters = [
        parameter
        for base in kind.__mro__
        if issubclass(base, MwaaError)
        for parameter in inspect.signature(base).parameters.values()
    ]
    names = {parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY}
    return names - _IN_THE_MESSAGE


def _public_name(error: MwaaError) -> str:
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in exceptions.__all__)
