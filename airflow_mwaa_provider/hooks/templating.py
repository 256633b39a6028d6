# SPDX-License-Identifier: Apache-2.0
"""Templating that operators and sensors share: strings remain strings, whatever the DAG's setting.

With ``render_template_as_native_obj=True`` Airflow evaluates rendered fields as Python, even those without a template:
``20261128`` becomes a number, ``1e5`` becomes ``100000.0`` and ``1.10`` becomes ``1.1``, from which the string cannot
be recovered. Text parameters are therefore rendered as in a DAG without that setting. Other parameters get the object
that an expression evaluates to, and no string is read as a number.
"""

from __future__ import annotations

import ast
import contextlib
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client import parameters
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from airflow_mwaa_provider._compat import BaseOperator as _Base
    from airflow_mwaa_provider.client.states import DagRunState, TaskState
else:
    _Base = object

__all__ = ["TextTemplates", "is_rendered_later", "known_elements", "run_states", "task_states"]

_BEGINS_A_COLLECTION = ("[", "(", "{")
_LISTS = (list, tuple, set)  # in which Airflow renders templates


def is_rendered_later(value: object) -> bool:
    """Return whether a value is known only when its task runs: a template, another task's output, or a list of such."""
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, _LISTS):
        return any(map(is_rendered_later, value))
    # XComArg and its subclasses; since Airflow 3 also a function that makes the value
    return hasattr(value, "iter_references") or callable(value)


def known_elements(names: Collection[str] | str | None) -> Collection[str] | str | None:
    """Return a list without the elements that are known only when its task runs."""
    if not is_rendered_later(names):
        return names
    return [name for name in names if not is_rendered_later(name)] if isinstance(names, _LISTS) else None


def run_states(names: Collection[str] | str | None, parameter: str) -> frozenset[DagRunState]:
    """Read states of a DAG run; return the empty set for ``None``."""
    _check_is_no_spelled_list(names, parameter)
    return parameters.run_states(names, parameter)


def task_states(names: Collection[str] | str | None, parameter: str) -> frozenset[TaskState]:
    """Read states of a task; return the empty set for ``None``."""
    _check_is_no_spelled_list(names, parameter)
    return parameters.task_states(names, parameter)


def _check_is_no_spelled_list(value: object, parameter: str) -> None:
    """Refuse the string that one template for a whole list renders to, unless the DAG renders native objects."""
    if isinstance(value, str) and value.strip().startswith(_BEGINS_A_COLLECTION):
        raise MwaaInputError(
            f"{parameter}={value!r} is a string, not a list. A template that renders to a whole list needs a DAG with "
            "render_template_as_native_obj=True."
        )


class TextTemplates(_Base):
    """Base of operators and sensors whose text parameters are strings in every DAG."""

    text_fields: ClassVar[Collection[str]] = ()
    """Templated fields that accept only strings."""
    narrowing_fields: ClassVar[Collection[str]] = ()
    """Templated fields that narrow what is done, or say where. If a template of one rendered to nothing, everything, or
    another place, would be used, so that is refused."""
    native_fields: ClassVar[Collection[str]] = ()
    """Templated fields that Airflow renders as usual, because their values are the DAG author's own data."""

    _templated: frozenset[str] = frozenset()
    _rendered_field: str | None = None
    _is_whole_template = False

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        if parent is not self:  # inside a field, whose value has its own templated fields
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        for name in template_fields:
            self._rendered_field = name
            self._is_whole_template = isinstance(getattr(self, name, None), str)
            if getattr(self, name, None) not in (None, ""):
                self._templated |= {name}
            super()._do_render_template_fields(self, [name], context, jinja_env, seen_oids)
        self._rendered_field = None

    def _render(self, template: Any, context: Any, dag: Any = None) -> Any:
        if self._rendered_field is None or self._rendered_field in self.native_fields:
            return super()._render(template, context, dag)
        nodes = _nodes(template, context)
        if self._rendered_field not in self.text_fields:
            if len(nodes) == 1 and not isinstance(nodes[0], str):
                return nodes[0]
            if self._is_whole_template and _is_native(template):
                return _collection("".join(map(str, nodes)))
        return "".join(map(str, nodes))

    def read_rendered(self, required: Collection[str]) -> None:
        """Treat fields that rendered to ``None``, or to nothing, as not given, and check that text fields are strings.

        :param required: fields that must be given, or that may be empty.
        :raises MwaaInputError: a text field has another type, or a required field is missing.
        """
        for name in self.template_fields:
            value = getattr(self, name)
            if name in self.text_fields:
                value = _text(value, name)
            if name not in required and (value in ("", "None") or (value is None and name in self._templated)):
                if name in self.narrowing_fields and name in self._templated:
                    raise MwaaInputError(
                        f"{name} is given, but its template rendered to nothing, which would mean everything, or "
                        "another place. Give a value, or omit the parameter."
                    )
                value = None
            is_text = name in self.text_fields and value in (None, "None")
            if name in required and (is_text or (value is None and name in self._templated)):
                raise MwaaInputError(f"{name} is missing: it is None, or its template rendered to None. Give a value.")
            setattr(self, name, value)
        verify = getattr(self, "verify", None)
        if isinstance(verify, str) and verify.lower() in ("true", "false"):
            setattr(self, "verify", verify.lower() == "true")  # noqa: B010 - not every operator has it


def _nodes(template: Any, context: Any) -> list[Any]:
    """Render a template to its parts: strings, and values of expressions, which only a native environment keeps."""
    environment = template.environment
    known = copy(context)
    for name, value in template.globals.items():
        if name not in known:
            known[name] = value
    try:
        scope = environment.context_class(environment, known, template.name, template.blocks)
        return list(template.root_render_func(scope))
    except Exception:
        environment.handle_exception()  # raises it again, with the template's own lines
        raise


def _is_native(template: Any) -> bool:
    # Imported here, because parsing a DAG file needs no Jinja.
    from jinja2.nativetypes import NativeEnvironment

    return isinstance(template.environment, NativeEnvironment)


def _collection(text: str) -> Any:
    """Evaluate a string that is a Python list, or another collection; return any other string unchanged."""
    if text.lstrip().startswith(_BEGINS_A_COLLECTION):
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            read = ast.literal_eval(text.lstrip())
            return read if isinstance(read, list | tuple | set | dict) else text
    return text


def _text(value: Any, name: str) -> str | None:
    """Return a string, also for a number, which another task may have returned."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MwaaInputError(
            f"{name} is a {type(value).__name__}, not a string. Give a string, or a template that renders to one."
        )
    return str(value)
