# SPDX-License-Identifier: Apache-2.0
"""What events request, without a Lambda function."""

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

# Airflow's default pattern for run IDs, and the length that InvokeRestApi leaves for one beside a DAG's ID.
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


def changed(event: str, request: str, at: str, **more: Any) -> dict[str, Any]:
    """Create a record of a change that creates no version, and has no place in the order of those that do."""
    record = samples.s3_record(sequencer=None, versionId="v1")
    return {**record, "eventName": event, "responseElements": {"x-amz-request-id": request}, "eventTime": at, **more}


def replicated(to: str) -> dict[str, Any]:
    data = {"replicationRuleId": "r", "destinationBucket": f"arn:aws:s3:::{to}", "s3Operation": "OBJECT_PUT"}
    return changed("Replication:OperationFailedReplication", "R1", "2026-11-01T10:00:00Z", replicationEventData=data)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            changed("ObjectTagging:Put", "R1", "2026-11-01T10:00:00Z"),
            changed("ObjectTagging:Put", "R2", "2026-11-01T10:00:00Z"),
        ),
        (
            changed("ObjectTagging:Put", "R1", "2026-11-01T10:00:00Z"),
            changed("ObjectTagging:Delete", "R2", "2026-11-02T10:00:00Z"),
        ),
        (
            changed("ObjectAcl:Put", "R1", "2026-11-01T10:00:00Z"),
            changed("ObjectAcl:Put", "R2", "2026-11-02T10:00:00Z"),
        ),
        # Automatic actions of S3 may name the request that caused them.
        (
            changed("ObjectRestore:Post", "R1", "2026-11-01T10:00:00Z"),
            changed("ObjectRestore:Completed", "R1", "2026-11-01T15:00:00Z"),
        ),
        (
            changed("LifecycleTransition", "R1", "2026-11-01T00:00:00Z"),
            changed("LifecycleTransition", "R1", "2026-12-01T00:00:00Z"),
        ),
        (
            changed("LifecycleExpiration:DeleteMarkerCreated", "R1", "2026-11-01T00:00:00Z"),
            changed("LifecycleExpiration:Delete", "R1", "2026-12-01T00:00:00Z"),
        ),
        (replicated("north"), replicated("south")),
    ],
)
@pytest.mark.parametrize(
    "wrapped", [samples.s3_notification, lambda record: samples.sqs(samples.s3_notification(record))]
)
def test_each_change_that_makes_no_version_is_a_run_of_its_own(
    one: dict[str, Any], other: dict[str, Any], wrapped: Any
) -> None:
    assert only(wrapped(one)).run_id != only(wrapped(other)).run_id
    assert only(wrapped(one)).run_id == only(wrapped(json.loads(json.dumps(one)))).run_id


@pytest.mark.parametrize(
    "kind", ["Object Tags Added", "Object ACL Updated", "Object Restore Completed", "Object Storage Class Changed"]
)
def test_each_change_that_makes_no_version_is_a_run_of_its_own_by_eventbridge(kind: str) -> None:
    def event(request: str | None, number: int) -> dict[str, Any]:
        detail = {"bucket": {"name": "b"}, "object": {"key": "k", "version-id": "v1"}, "request-id": request}
        return samples.eventbridge(**{"source": "aws.s3", "detail-type": kind, "id": f"id-{number}", "detail": detail})

    first, second = only(event("R1", 1)), only(event("R2", 2))
    assert first.run_id != second.run_id == only(samples.sqs(event("R2", 2))).run_id
    # S3 may notify EventBridge twice, and EventBridge may deliver twice.
    assert only(event("R1", 3)).run_id == first.run_id
    assert only(event(None, 1)).run_id != only(event(None, 2)).run_id


def test_a_deletion_is_the_same_by_whichever_way_it_is_told() -> None:
    notified = {**samples.s3_record(), "eventName": "ObjectRemoved:Delete"}
    by_eventbridge = {**samples.s3_by_eventbridge(), "detail-type": "Object Deleted"}
    expired = {**samples.s3_record(), "eventName": "LifecycleExpiration:Delete"}
    runs = [only(samples.s3_notification(notified)), only(by_eventbridge), only(samples.s3_notification(expired))]
    assert len({run.run_id for run in runs}) == 1


def test_a_change_that_is_told_twice_by_two_of_s3s_hosts_is_one_run() -> None:
    answers = [{"x-amz-request-id": "R1", "x-amz-id-2": host} for host in ("one", "another")]
    told = [changed("ObjectAcl:Put", "", "2026-11-01T10:00:00Z", responseElements=answer) for answer in answers]
    assert only(samples.s3_notification(told[0])).run_id == only(samples.s3_notification(told[1])).run_id


TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing", "RequestId": "1"}


@pytest.mark.parametrize("body", [TEST_EVENT, samples.by_sns(TEST_EVENT)])
def test_s3s_test_event_asks_for_no_run(body: Any) -> None:
    assert runs_of(TEST_EVENT, "r") == []
    [message] = messages_of(samples.sqs(body)) or []
    assert message.runs() == []


def test_what_comes_through_sns_is_what_it_carries() -> None:
    two = samples.s3_notification(samples.s3_record(), samples.s3_record("in/other.csv"))
    [message] = messages_of(samples.sqs(samples.by_sns(two))) or []
    assert [run.conf["key"] for run in message.runs()] == ["in/a bä.csv", "in/other.csv"]
    assert [run.run_id for run in message.runs()] == [run.run_id for run in runs_of(two, None)]
    assert only(samples.sqs(samples.by_sns(samples.eventbridge()))) == only(samples.eventbridge())


@pytest.mark.parametrize("carried", ["plain text", {"order": 17}, samples.s3_notification()])
def test_what_sns_puts_into_the_queue_twice_is_one_run(carried: Any) -> None:
    envelope = samples.by_sns(carried)
    twice = [only(samples.sqs(envelope)), only(samples.sqs({**envelope, "Signature": "another"}, queue="q2"))]
    assert twice[0].run_id == twice[1].run_id
    assert twice[0].run_ids_for("f")[0] == twice[1].run_ids_for("f")[0]
    if "source" in twice[0].conf and twice[0].conf["source"] == "sqs":
        assert twice[0].conf["body"]["Message"] == envelope["Message"]
        other = samples.by_sns(carried, "05df01b4-ee98-5cb9-9903-4c221d41eb5f")
        assert only(samples.sqs(other)).run_id != twice[0].run_id


@pytest.mark.parametrize("lacks", ["MessageId", "TopicArn", "Message"])
def test_what_only_looks_like_a_notification_of_sns_is_a_message(lacks: str) -> None:
    looks_so = {**samples.by_sns(samples.s3_notification()), lacks: None}
    run = only(samples.sqs(looks_so))
    assert (run.conf["source"], run.conf["body"]) == ("sqs", looks_so)


def test_two_functions_that_get_one_event_ask_for_two_runs_and_each_for_one() -> None:
    run = only(samples.eventbridge())
    north, south = (f"arn:aws:lambda:us-east-1:123456789012:function:{name}" for name in ("north", "south"))
    assert run.run_ids_for(north) == run.run_ids_for(north) != run.run_ids_for(south)
    assert re.fullmatch(r"eventbridge__[0-9a-f]{24}", run.run_ids_for(north)[0])
    assert run.run_ids_for(north)[1] == run.run_ids_for(south)[1] == run.run_id
    [chosen] = runs_of({"run_id": "chosen"}, "r")
    assert chosen.run_ids_for(north) == ("chosen", None)


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
    """It requests runs, or is refused: any other error would make its neighbors fail, forever."""
    [message] = messages_of(samples.sqs(json.dumps(body))) or []
    try:
        found = message.runs()
    except MwaaInputError:
        return
    for run in found:
        assert re.fullmatch(RUN_ID, run.run_id)
        assert re.fullmatch(RUN_ID, run.run_ids_for("f")[0])
        json.dumps(run.conf)
