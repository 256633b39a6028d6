# SPDX-License-Identifier: Apache-2.0
"""Errors as data: one process reads what another writes, in both forms, even if the data is invalid."""

from __future__ import annotations

import json

import pytest

from airflow_mwaa_provider import exceptions
from airflow_mwaa_provider.error_documents import as_dict, as_line, from_dict, read_line
from airflow_mwaa_provider.exceptions import AccessDenied, DagRunFailed, MwaaError, ResolverUnavailable, StorageError

pytestmark = pytest.mark.once


class _Private(StorageError):
    """An error of this package that is not public."""


@pytest.mark.parametrize("name", exceptions.__all__)
def test_an_error_comes_back_as_it_was(name: str) -> None:
    error = getattr(exceptions, name)("It failed. Do this.", env_name="prod", transient=True, retry_after_s=2.5)
    found = from_dict(json.loads(json.dumps(as_dict(error))))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)


def test_advice_is_part_of_the_message_and_does_not_come_twice() -> None:
    error = MwaaError("Table 'x' is unknown.", advice="Leave it out of {}.", parameter="tables")
    document = as_dict(error)
    assert document["fields"].keys() == {"transient", "ambiguous"}
    assert str(from_dict(document)) == str(error) == "Table 'x' is unknown. Leave it out of tables."
    again = from_dict({**document, "fields": {"advice": error.advice, "parameter": "tables"}})
    assert str(again) == str(error)


def test_the_parts_of_a_message_are_those_that_were_given() -> None:
    error = ResolverUnavailable("It failed. Do\nthis.", what="It failed.", fix="Do\nthis.")
    assert (str(error), error.what, error.fix) == ("It failed. Do this.", "It failed.", "Do\nthis.")
    assert from_dict(as_dict(error)).what == str(error)  # type: ignore[attr-defined]
    masked = MwaaError("Leave it out of tables.", advice="Leave it out of {}.", parameter="tables")
    assert masked.worded(str.upper) == "Leave it out of tables. Leave it out of TABLES."


def test_lists_come_back_as_tuples() -> None:
    error = DagRunFailed("It failed.", dag_id="etl", failed_task_ids=("load[3]",))
    found = from_dict(json.loads(json.dumps(as_dict(error))))
    assert vars(found) == vars(error)


def test_of_a_private_class_the_public_one_is_named() -> None:
    found = from_dict(as_dict(_Private("It failed.", code="SlowDown")))
    assert type(found) is StorageError
    assert found.code == "SlowDown"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "OfANewerRelease", "message": "It failed."},
        {"type": "re", "message": 3, "fields": ["x"]},
        {"type": "__doc__", "fields": {"message": "twice", "self": 1, "fields": {}, "of_a_newer_release": 1}},
    ],
)
def test_another_form_is_an_error_too(document: dict[str, object]) -> None:
    assert type(from_dict(document)) is MwaaError


@pytest.mark.parametrize("action", ["kms:GenerateDataKey, kms:Decrypt", "kms:GenerateDataKey and kms:Decrypt"])
def test_a_line_has_the_first_of_several_actions(action: str) -> None:
    line = as_line(AccessDenied("s3://b/k: refused.", action=action))
    assert line == "AccessDenied[kms:GenerateDataKey]: s3://b/k: refused."
    assert read_line(line) is not None


@pytest.mark.parametrize("action", [None, "s3:PutObject"])
def test_one_line_is_read_back(action: str | None) -> None:
    error = AccessDenied("s3://b/k: refused. Allow it.", action=action)
    line = as_line(error)
    assert line == f"AccessDenied{f'[{action}]' if action else ''}: s3://b/k: refused. Allow it."
    found = from_dict(read_line(line) or {})
    assert vars(found) == vars(error)
    assert str(found) == str(error)


@pytest.mark.parametrize("line", ["", "Not authenticated", "a page: of HTML"])
def test_another_line_is_no_error(line: str) -> None:
    assert read_line(line) is None
