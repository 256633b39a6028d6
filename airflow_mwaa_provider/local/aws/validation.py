# SPDX-License-Identifier: Apache-2.0
"""Check requests against the constraints of the service model, with AWS's messages.

botocore's own validator checks only required members, types and minimum lengths. The service also checks patterns,
maximum lengths, ranges and enumerations, and so does this one. A message never repeats the rejected value, since
configuration options may be secrets.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.aws_errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "long": int,
    "double": (int, float),
    "float": (int, float),
    "boolean": bool,
    "list": list,
    "map": dict,
    "structure": dict,
}
# The service's patterns are Java's. In a character class, \p{L} and \p{N} together are \w without the underscore, which
# every pattern of the model with them allows anyway; \p{Z} are Unicode's separators.
_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


# Shapes are Any: botocore creates their members at run time, and its stubs do not distinguish the kinds.
def validate(shape: Any, members: Mapping[str, Any], max_lengths: Mapping[str, int]) -> None:
    """Check a request's members against its shape.

    :param max_lengths: lengths that replace those of the model, by name of the shape.
    :raises AwsError: ValidationException (a wrong type: SerializationException) that names every problem.
    """
    faults = list(_structure_faults(shape, members, "", max_lengths))
    if faults:
        plural = "s" if len(faults) > 1 else ""
        text = f"{len(faults)} validation error{plural} detected: {'; '.join(faults)}"
        raise AwsError("ValidationException", text)


def _structure_faults(
    shape: Any, members: Mapping[str, Any], path: str, max_lengths: Mapping[str, int]
) -> Iterator[str]:
    for name in shape.required_members:
        if members.get(name) is None:
            yield _fault(_join(path, name), "Member must not be null")
    for name, member in shape.members.items():
        if members.get(name) is not None:
            yield from _value_faults(member, members[name], _join(path, name), max_lengths)


def _value_faults(shape: Any, value: Any, path: str, max_lengths: Mapping[str, int]) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    expected = _PYTHON_TYPES.get(shape.type_name)
    # bool is an int only in Python.
    if expected and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
        raise AwsError("SerializationException", f"{path} must be of type {shape.type_name}")
    if shape.type_name == "structure":
        yield from _structure_faults(shape, value, path, max_lengths)
    elif shape.type_name == "list":
        yield from _length_faults(shape, len(value), path, max_lengths)
        for index, item in enumerate(value, start=1):
            yield from _value_faults(shape.member, item, f"{path}.{index}.member", max_lengths)
    elif shape.type_name == "map":
        yield from _length_faults(shape, len(value), path, max_lengths)
        for key, item in value.items():
            yield from _value_faults(shape.key, key, f"{path}.key", max_lengths)
            yield from _value_faults(shape.value, item, f"{path}.{key[:64]}.member", max_lengths)
    elif shape.type_name == "string":
        yield from _string_faults(shape, value, path, max_lengths)
    elif shape.type_name in ("integer", "long", "double", "float"):
        yield from _range_faults(shape, value, path)


def _string_faults(shape: Any, value: str, path: str, max_lengths: Mapping[str, int]) -> Iterator[str]:
    yield from _length_faults(shape, len(value), path, max_lengths)
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield _fault(path, f"Member must satisfy regular expression pattern: {pattern}")
    if shape.enum and value not in shape.enum:
        yield _fault(path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")


def _length_faults(shape: Any, length: int, path: str, max_lengths: Mapping[str, int]) -> Iterator[str]:
    least, most = shape.metadata.get("min"), max_lengths.get(shape.name, shape.metadata.get("max"))
    if least is not None and length < least:
        yield _fault(path, f"Member must have length greater than or equal to {least}")
    if most is not None and length > most:
        yield _fault(path, f"Member must have length less than or equal to {most}")


def _range_faults(shape: Any, value: float, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _fault(path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _fault(path, f"Member must have value less than or equal to {most}")


def _join(path: str, name: str) -> str:
    wire = name[:1].lower() + name[1:]
    return f"{path}.{wire}" if path else wire


def _fault(path: str, constraint: str) -> str:
    return f"Value at '{path}' failed to satisfy constraint: {constraint}"
