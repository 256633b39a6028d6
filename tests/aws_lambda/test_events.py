# SPDX-License-Identifier: Apache-2.0
"""What events ask for, without a Lambda function around it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mwaa_provider.aws_lambda_events import messages_of, runs_of
from airflow_mwaa_provider.exceptions import MwaaInputError
from tests.aws_lambda import samples

pytestmark = pytest.mark.once

# Airflow's default for what a run id may hold, and what InvokeRestApi leaves for it beside a DAG's id.
RUN_ID = r"[A-Za-z0-9_.~:+-]{1,40}"


def only(event: Any) -> Any:
    messages = messages_of(event)
    [run] = runs_of(event, "r") if messages is None else messages[0].runs()
    return run


def test_an_s3_notification() -> None:
    run = only(samples.s3_notification())
    assert run.conf == {
        "source": "s3",
        "event": "ObjectCreated:Put",
        "bucket": "landing",
        "key": "in/a bä.csv",
        "size": 7,
        "etag": "e1",
        "sequencer": "0A1B2C",
        "region": "us-east-1",
        "time": "2026-11-22T10:00:00.000Z",
    }


def test_an_s3_object_by_eventbridge() -> None:
    run = only(samples.s3_by_eventbridge())
    assert run.conf["source"] == "s3"
    assert (run.conf["event"], run.conf["key"], run.conf["reason"]) == ("Object Created", "in/a bä.csv", "PutObject")


def test_an_eventbridge_event() -> None:
    assert only(samples.eventbridge()).conf == {
        "source": "eventbridge",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "event_source": "shop",
        "detail_type": "Order Placed",
        "account": "123456789012",
        "region": "us-east-1",
        "time": "2026-11-22T10:00:00Z",
        "detail": {"order": 17},
    }


def test_an_events_run_id_does_not_depend_on_the_way_it_came() -> None:
    ways = [samples.s3_notification(), samples.s3_by_eventbridge()]
    ways += [samples.sqs(way) for way in list(ways)]
    assert len({only(way).run_id for way in ways}) == 1
    assert only(samples.eventbridge()).run_id == only(samples.sqs(samples.eventbridge())).run_id


@pytest.mark.parametrize(
    "other",
    [
        samples.s3_record(sequencer="0A1B2D"),
        samples.s3_record(versionId="v2"),
        samples.s3_record(key="in/b.csv"),
        {**samples.s3_record(), "eventName": "ObjectRemoved:Delete"},
    ],
)
def test_another_change_of_an_object_is_another_run(other: dict[str, Any]) -> None:
    assert only(samples.s3_notification(other)).run_id != only(samples.s3_notification()).run_id


def test_an_s3_event_without_a_version_is_told_by_its_request() -> None:
    bare = samples.s3_record(sequencer=None)
    later = {**bare, "responseElements": {"x-amz-request-id": "another"}}
    assert only(samples.s3_notification(bare)).run_id == only(samples.s3_notification(bare)).run_id
    assert only(samples.s3_notification(bare)).run_id != only(samples.s3_notification(later)).run_id


def test_s3s_test_event_asks_for_no_run() -> None:
    event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing", "RequestId": "1"}
    assert runs_of(event, "r") == []
    [message] = messages_of(samples.sqs(event)) or []
    assert message.runs() == []


def test_a_redelivered_message_asks_for_the_same() -> None:
    first, again = samples.sqs({"a": 1}), samples.sqs({"a": 1})
    again["Records"][0]["attributes"]["ApproximateReceiveCount"] = "2"
    again["Records"][0]["receiptHandle"] = "other"
    assert only(first) == only(again)


def test_a_message_chooses_neither_environment_nor_dag_nor_run() -> None:
    wish = {"env_name": "prod", "dag_id": "drop_all", "run_id": "mine", "conf": {}}
    run = only(samples.sqs(wish))
    assert (run.env_name, run.dag_id, run.logical_date, run.note) == (None, None, None, None)
    assert run.run_id != "mine"
    assert run.conf["body"] == wish


def test_an_invocation_is_told_by_its_request_and_outside_of_lambda_by_its_content() -> None:
    [first], [again], [other] = runs_of({}, "r1"), runs_of({}, "r1"), runs_of({}, "r2")
    assert first.run_id == again.run_id != other.run_id
    [without], [same], [different] = runs_of({"note": "x"}, None), runs_of({"note": "x"}, None), runs_of({}, None)
    assert without.run_id == same.run_id != different.run_id


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a": NaN}', '{"a": 1', "", "17", "null", "[" * 150 + "]" * 150])
def test_what_is_no_plain_json_object_stays_text(body: str) -> None:
    assert only(samples.sqs(body)).conf["body"] == body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "eventSource", "s3", "bucket", "object", "key", "id", "source", "detail-type"])
            | st.sampled_from(["detail", "Event", "Service", "eventName", "name", "x"]),
            inner | st.sampled_from(["aws:s3", "aws.s3", "s3:TestEvent", "Amazon S3"]),
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_no_message_breaks_the_batch(body: Any) -> None:
    """It asks for runs, or is refused: any other error would fail its neighbours, for ever."""
    [message] = messages_of(samples.sqs(json.dumps(body))) or []
    try:
        found = message.runs()
    except MwaaInputError:
        return
    for run in found:
        assert re.fullmatch(RUN_ID, run.run_id)
        json.dumps(run.conf)
