# SPDX-License-Identifier: Apache-2.0
"""Every number and duration of a cleanup, with invalid values: one line, before a database is opened."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.metadata import MetadataHook
from airflow_mwaa_provider.metadata import cleanup
from airflow_mwaa_provider.metadata.cleaners import DatabaseCleaner, environment_ways
from airflow_mwaa_provider.metadata.cleaning import outcome
from airflow_mwaa_provider.metadata.cleaning.archiving.cleanup import run_archived_cleanup
from airflow_mwaa_provider.metadata.cleaning.restore import restore_archive
from airflow_mwaa_provider.metadata.cleaning.routes.api import ApiCleanup
from airflow_mwaa_provider.metadata.cleaning.routes.api_messages import read_options
from airflow_mwaa_provider.metadata.cleanup import CleanupOptions, run_cleanup
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.operators.metadata_cleanup import MetadataCleanupOperator
from tests.metadata.once import KNOWS_NO_AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = {
    field.name: -1 if field.type == "int" else timedelta(seconds=-1)
    for field in dataclasses.fields(CleanupOptions)
    if field.type == "int" or "timedelta" in str(field.type)
} | {"retention_by_table": {"log": timedelta(seconds=-1)}}


def refused(do: Callable[[], Any], *words: str) -> None:
    with pytest.raises(MwaaInputError) as caught:
        do()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_the_table_has_them_all() -> None:
    assert set(NUMBERS) == {
        "retention", "retention_by_table", "max_age", "batch_rows", "max_transaction", "lock_timeout", "max_pause",
        "max_duration", "workers", "statement_timeout",
    }  # fmt: skip


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_an_option_below_0(name: str, force: bool) -> None:
    refused(lambda: CleanupOptions(**{name: NUMBERS[name]}, force=force), name)
    document = {name: -1 if name != "retention_by_table" else {"log": -1}, "force": force}
    refused(lambda: read_options(document), name)


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in ("batch_rows", "workers")])
def test_an_option_of_the_wrong_type_in_a_request(name: str) -> None:
    for wrong in ("1", True, float("nan")):
        refused(lambda wrong=wrong: read_options({name: wrong if name != "retention_by_table" else {"log": wrong}}))  # type: ignore[misc]


@pytest.mark.parametrize("name", [*sorted(NUMBERS), "wait_timeout"])
def test_a_parameter_below_0(name: str) -> None:
    """When the DAG is parsed."""
    value = NUMBERS.get(name, timedelta(seconds=-1))
    refused(lambda: MetadataCleanupOperator(task_id="clean", **{name: value}), name)  # type: ignore[arg-type]


ARGUMENTS = {
    "--retention": "-1d", "--retention-by-table": "log=-1d", "--max-age": "-1d", "--statement-timeout": "-1s",
    "--batch-rows": "-1", "--max-transaction": "-1s", "--lock-timeout": "-1s", "--max-pause": "-1s",
    "--max-duration": "-1s", "--workers": "-1", "--wait-timeout": "-1s",
}  # fmt: skip


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("option", sorted(ARGUMENTS))
def test_an_argument_below_0(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    for command in (["clean", "--yes"], ["restore", "s3://b/a"]):
        if command[0] == "restore" and option != "--wait-timeout":
            continue
        with pytest.raises(SystemExit) as ended:
            main.main(["metadata", *command, "--database-url", url, option, ARGUMENTS[option]])
        assert ended.value.code == 2
        said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("Usage:", "Try "))]
        assert len([line for line in said if line]) == 1, said
        name = option.removeprefix("--")
        assert name in said[-1] or name.replace("-", "_") in said[-1]


def unopened() -> Database:
    def opened() -> Any:
        raise AssertionError("the database was opened")

    return Database(opened, "the database")


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_wait_below_0(seconds: float) -> None:
    options = CleanupOptions()
    calls: list[Callable[[], Any]] = [
        lambda: run_cleanup(unopened(), options, wait_timeout_s=seconds),
        lambda: run_archived_cleanup(unopened(), options, None, "p", wait_timeout_s=seconds),  # type: ignore[arg-type]
        lambda: restore_archive(unopened(), None, "b", "a", wait_timeout_s=seconds),
        lambda: DatabaseCleaner(unopened(), options, print, wait_timeout_s=seconds),
        lambda: environment_ways(lambda: None, "api", options, print, wait_timeout_s=seconds),
        lambda: ApiCleanup(None, "there", options, wait_timeout_s=seconds),  # type: ignore[arg-type]
    ]
    for call in calls:
        refused(call, "wait_timeout")
    refused(lambda: restore_archive(unopened(), None, "b", "a", statement_timeout_s=seconds), "statement_timeout")
    refused(lambda: restore_archive(unopened(), None, "b", "a", statement_timeout_s=0.0), "statement_timeout")
    if seconds < 0:
        hook = MetadataHook("nowhere")
        refused(lambda: hook.cleaner(options, wait_timeout=timedelta(seconds=seconds)), "wait_timeout")


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("name", ["lock_timeout", "statement_timeout"])
def test_what_postgresql_takes_for_no_limit_is_refused(name: str) -> None:
    """It counts milliseconds, so a shorter time would be 0, which means no limit."""
    refused(lambda: CleanupOptions(**{name: timedelta(microseconds=400)}), name, "1 millisecond")
    assert CleanupOptions(**{name: timedelta(milliseconds=1)})


@KNOWS_NO_AIRFLOW
@pytest.mark.parametrize("name", ["lock_timeout", "statement_timeout", "max_transaction"])
def test_what_is_longer_than_postgresql_can_count_is_refused(name: str) -> None:
    refused(lambda: CleanupOptions(**{name: timedelta(days=25)}), name, "24 days")
    assert CleanupOptions(**{name: timedelta(days=24)})


@KNOWS_NO_AIRFLOW
def test_the_names_of_0_1_0_work_and_warn() -> None:
    done = outcome.Outcome()
    done.record_skipped("log: locked")
    with pytest.deprecated_call(match="skipped"):
        assert done.left is done.skipped
    for module in (outcome, cleanup):
        with pytest.deprecated_call(match="RetainedRows"):
            assert module.Kept is outcome.RetainedRows
        with pytest.raises(AttributeError, match="Gone"):
            _ = module.Gone
