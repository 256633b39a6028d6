# SPDX-License-Identifier: Apache-2.0
"""Invalid literals of the metadata operators fail when the DAG is parsed; rendered values are checked by the task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.metadata import MetadataCleanupOperator, MetadataToS3Operator


def cleanup(**more: Any) -> MetadataCleanupOperator:
    return MetadataCleanupOperator(task_id="t", **more)


def export(**more: Any) -> MetadataToS3Operator:
    return MetadataToS3Operator(**{"task_id": "t", "bucket": "b", **more})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"retention": 30}, r"retention=30 is not a timedelta. Write timedelta\(days=30\)"),
        ({"retention": "30d"}, r"retention='30d' is not a timedelta. Write timedelta\(days=30\)"),
        ({"retention": None}, r"retention=None is not a timedelta"),
        ({"max_age": 365}, r"max_age=365 is not a timedelta. Write timedelta\(days=365\)"),
        ({"retention_by_table": {"xcom": 7}}, r"\['xcom'\]=7 is not a timedelta. Write timedelta\(days=7\)"),
        ({"max_duration": 2}, r"max_duration=2 is not a timedelta. Write timedelta\(hours=2\)"),
        ({"lock_timeout": 0.5}, r"lock_timeout=0.5 is not a timedelta. Write timedelta\(seconds=0.5\)"),
        ({"retention": timedelta(hours=1)}, "is below one day"),
        ({"max_age": timedelta(days=3)}, "is not longer than the retention"),
        ({"max_duration": timedelta(0)}, "max_duration=0:00:00 must be more than 0"),
        ({"tables": "xcom"}, "tables='xcom' is not a list of names"),
        ({"dag_ids": []}, "dag_ids is empty"),
        ({"batch_rows": 0}, "batch_rows=0"),
        ({"workers": 99}, "workers=99 must be between 1 and 8"),
        ({"keep_last_run": "perhaps"}, "keep_last_run='perhaps' is neither True nor False"),
        ({"route": "rest"}, "Route rest can only export. Use one of auto, database, mwaa_environment, api, cli"),
        ({"route": "api", "metadata_conn_id": "x"}, "route='api' uses no connection to the database"),
        ({"archive_to": "my-bucket/x"}, "is not an S3 URI. Write s3://BUCKET/PREFIX"),
    ],
)
def test_a_cleanup_that_cannot_be(more: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        cleanup(**more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"bucket": "s3://b/files"},
            "bucket='s3://b/files' is not a bucket name. Give the name alone, without s3://",
        ),
        ({"bucket": "b/files"}, "bucket='b/files' is not a bucket name"),
        ({"bucket": ""}, "bucket='' is not a bucket name"),
        ({"bucket": None}, "bucket=None is not a bucket name"),
        ({"route": "cli"}, "Route cli can only clean. Use one of auto, database, mwaa_environment, api, rest"),
        ({"route": None}, "route=None is unknown"),
        ({"file_format": "json"}, "file_format='json' is unknown; there are csv and parquet"),
        ({"compression": "snappy"}, "compression='snappy' is unknown for csv"),
        ({"layout": "flat"}, "layout='flat' is unknown. Use table or hive"),
        ({"layout": "table", "incremental": True}, "An incremental export needs the layout hive"),
        ({"since": "yesterday"}, "since='yesterday' is not an ISO 8601 date"),
        ({"since": "2026-01-01"}, "since='2026-01-01' has no time zone"),
        ({"until": datetime(2026, 1, 1)}, "has no time zone"),
        ({"since": 30}, "since=30 is not an ISO 8601 date"),
        ({"since": timedelta(days=30)}, "is not an ISO 8601 date"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "must be before until"),
        ({"exclude": "log"}, "exclude='log' is not a list of names"),
        ({"statement_timeout": 60}, r"statement_timeout=60 is not a timedelta. Write timedelta\(seconds=60\)"),
    ],
)
def test_an_export_that_cannot_be(more: dict[str, Any], message: str) -> None:
    with pytest.raises(MwaaInputError, match=message):
        export(**more)


def test_what_a_template_gives_is_left_to_the_task() -> None:
    later: dict[str, Any] = dict.fromkeys(MetadataCleanupOperator.template_fields, "{{ params.x }}")
    later["dry_run"] = later.pop("is_dry_run")
    cleanup(**later)
    export(**dict.fromkeys(MetadataToS3Operator.template_fields, "{{ params.x }}"))
    for name in MetadataToS3Operator.template_fields:
        export(**{name: "{{ params.x }}"})
        assert export(**{name: lambda context, jinja_env: None}) is not None
    # Other known values are still checked.
    with pytest.raises(MwaaInputError, match="max_age=3 is not a timedelta"):
        cleanup(retention="{{ params.x }}", max_age=3)
    # It may be valid together with the rendered value.
    cleanup(retention="{{ params.x }}", max_age=timedelta(days=3))


def test_what_can_be_is_taken() -> None:
    cleanup(retention=timedelta(hours=1), force=True, archive_to="s3://b/x", route="database", metadata_conn_id="m")
    export(bucket="arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", since=datetime(2026, 1, 1, tzinfo=UTC))
    export(file_format="parquet", compression="snappy", layout="hive", incremental=True, tables=["dag_run"])
