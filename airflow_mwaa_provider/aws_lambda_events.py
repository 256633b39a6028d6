# SPDX-License-Identifier: Apache-2.0
"""What the events of a Lambda function request: the runs, their conf, and run ids that survive a redelivery.

A run id is derived from the function and from what identifies the event, so that the same event, delivered to it again,
requests the same run. This is the id of an EventBridge event, the id of an SQS message or of the SNS notification that
it carries, and for an invocation by hand the request id, which Lambda keeps when it retries. An object that S3 created
or deleted is identified by its key and its place in the order of changes, however the event arrived. Any other change,
such as new tags, has neither a version nor a place in that order, and is identified by its request and its time.

What others may write into a message, an object's name or an event chooses neither the environment nor the DAG. It only
becomes part of the conf.

Source: the AWS Lambda Developer Guide's pages on SQS, S3 and EventBridge; the Amazon S3 User Guide on the structure
of event messages, which has the sequencer for PUT and DELETE alone, and on EventBridge; the Amazon SNS Developer Guide
on the message format for HTTP and SQS (all 2026-11).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote_plus

from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIRECT_KEYS", "Message", "WantedRun", "is_s3_notification", "messages_of", "runs_of"]

DIRECT_KEYS = ("env_name", "dag_id", "run_id", "conf", "logical_date", "note")
"""Keys of an event for an invocation by hand, or by code."""


@dataclass(frozen=True)
class WantedRun:
    """One run that an event requests. Fields that are ``None`` come from the function's environment variables."""

    label: str
    """What requests it, for error messages: ``"SQS message '…'"``."""
    run_id: str
    conf: dict[str, Any] = field(default_factory=dict, repr=False)
    env_name: str | None = None
    dag_id: str | None = None
    logical_date: str | None = None
    note: str | None = None
    is_derived: bool = True
    """Whether the id is derived from the event, not given by the caller."""
    former_run_id: str = ""
    """The id that releases up to 0.1 derived from the event, if it was another one."""
    identified_by: tuple[str, ...] | None = None
    """Keys of the conf that distinguish the event from others; ``None`` for all keys."""

    def run_ids_for(self, function: str | None) -> tuple[str, str | None]:
        """Return the id of the run that a function requests, and the id that releases up to 0.1 would have derived.

        :param function: what identifies the function; ``None`` outside of Lambda.
        """
        if not self.is_derived:
            return self.run_id, None
        former = self.former_run_id or self.run_id
        if function is None:
            return self.run_id, former if former != self.run_id else None
        return _run_id(self.run_id.partition("__")[0], json.dumps([function, self.run_id])), former

    def compared_keys(self) -> tuple[str, ...] | None:
        """Return the keys of the conf that must match for a run to be that of this event; ``None`` for the whole conf.

        They do not include what the function itself adds, because its configuration may change between two deliveries.
        """
        if not self.is_derived:
            return None
        return tuple(self.conf) if self.identified_by is None else self.identified_by


@dataclass(frozen=True)
class Message:
    """An SQS message as Lambda passes it."""

    message_id: str
    record: Mapping[str, Any] = field(repr=False)
    in_order: bool = False
    """Whether its queue is a FIFO queue."""

    def runs(self) -> list[WantedRun]:
        """Return the runs that it requests: one, or those of the S3 notification or EventBridge event in it.

        The event may be in the envelope that SNS adds.
        """
        body = _parsed(self.record.get("body"))
        if _is_about_a_subscription(body):
            return []  # a topic sends this to a queue before anybody publishes
        notification_id = _sns_message_id(body)
        carried = body if notification_id is None else _parsed(body["Message"])
        if is_s3_notification(carried):
            return _s3_runs(carried)
        if _is_eventbridge(carried):
            return [_eventbridge_run(carried)]
        queue_arn = str(self.record.get("eventSourceARN") or "")
        sent = self.record.get("attributes") or {}
        conf = {
            "source": "sqs",
            "message_id": self.message_id,
            "queue": queue_arn.rpartition(":")[2],
            "queue_arn": queue_arn,
            "sent_at": _from_ms(sent.get("SentTimestamp")),
            "message_group_id": sent.get("MessageGroupId"),
            "attributes": _message_attributes(self.record.get("messageAttributes") or {}),
            "body": body,
        }
        label, run_id = f"SQS message {self.message_id!r}", _run_id("sqs", self.message_id)
        if notification_id is None:
            return [WantedRun(label, run_id, _filled(conf))]
        # SNS may put one notification into the queue twice, as two messages.
        by_sns = _run_id("sns", notification_id)
        return [WantedRun(label, by_sns, _filled(conf), former_run_id=run_id, identified_by=())]


def messages_of(event: Any) -> list[Message] | None:
    """Read an SQS event; return ``None`` for any other event.

    :raises MwaaInputError: a record has no message id, so it could not be reported as failed.
    """
    if _sources(event) != {"aws:sqs"}:
        return None
    messages = []
    for record in event["Records"]:
        message_id = record.get("messageId")
        if not isinstance(message_id, str) or not message_id:
            raise MwaaInputError("A record of the SQS event has no messageId. Pass the event on unchanged.")
        in_order = str(record.get("eventSourceARN") or "").endswith(".fifo")
        messages.append(Message(message_id, record, in_order))
    return messages


def runs_of(event: Any, request_id: str | None) -> list[WantedRun]:
    """Read any event except those of SQS.

    :param request_id: the invocation's request id, which Lambda keeps when it retries; ``None`` outside of Lambda,
        where the event's own content identifies it.
    :raises MwaaInputError: the event has none of the supported forms.
    """
    if is_s3_notification(event):
        return _s3_runs(event)
    if _is_eventbridge(event):
        return [_eventbridge_run(event)]
    return [_direct_run({} if event is None else event, request_id)]


def is_s3_notification(event: Any) -> bool:
    """Return whether this is a notification from S3, or the test event that S3 sends when notifications are set up."""
    return _sources(event) == {"aws:s3"} or _is_s3_test(event)


def _direct_run(event: Any, request_id: str | None) -> WantedRun:
    if not isinstance(event, dict):
        raise MwaaInputError(f"The event is a {type(event).__name__}. Give an object with {', '.join(DIRECT_KEYS)}.")
    if sources := _sources(event):
        _refuse_records(sources)
    unknown = [str(key) for key in event if key not in DIRECT_KEYS]
    if unknown:
        named = ", ".join(repr(key[:60]) for key in unknown[:5]) + (" and more" if len(unknown) > 5 else "")
        raise MwaaInputError(
            f"The event has unknown keys: {named}. Use {', '.join(DIRECT_KEYS)}, or an unchanged event of SQS, S3 or "
            "EventBridge."
        )
    for name in DIRECT_KEYS:
        value = event.get(name)
        wanted: type = dict if name == "conf" else str
        if value is not None and not isinstance(value, wanted):
            raise MwaaInputError(
                f"{name} of the event is {_kind(value)}. Give {'an object' if wanted is dict else 'a string'}."
            )
    identity = request_id or json.dumps(event, sort_keys=True, default=str)
    return WantedRun(
        label=f"Invocation {request_id!r}" if request_id else "The invocation",
        run_id=event.get("run_id") or _run_id("lambda", identity),
        conf=dict(event.get("conf") or {}),
        env_name=event.get("env_name") or None,
        dag_id=event.get("dag_id") or None,
        logical_date=event.get("logical_date") or None,
        note=event.get("note") or None,
        is_derived=not event.get("run_id"),
    )


def _eventbridge_run(event: dict[str, Any]) -> WantedRun:
    label = f"EventBridge event {event['id']!r}"
    detail = event["detail"]
    if event["source"] == "aws.s3" and all(isinstance(_member(detail, name), dict) for name in ("bucket", "object")):
        described = detail["object"]
        conf = {
            "source": "s3",
            "event": event["detail-type"],
            "bucket": detail["bucket"].get("name"),
            "key": described.get("key"),
            "size": described.get("size"),
            "etag": described.get("etag"),
            "version_id": described.get("version-id"),
            "sequencer": described.get("sequencer"),
            "reason": detail.get("reason"),
            "region": event.get("region"),
            "time": event.get("time"),
        }
        request = detail.get("request-id") or event["id"]
        return _run_of_s3(label, conf, told_by=[request], former_fallback=str(event["id"]))
    conf = {
        "source": "eventbridge",
        "id": event["id"],
        "event_source": event["source"],
        "detail_type": event["detail-type"],
        "account": event.get("account"),
        "region": event.get("region"),
        "time": event.get("time"),
        "resources": event.get("resources"),
        "detail": detail,
    }
    return WantedRun(label, _run_id("eventbridge", str(event["id"])), _filled(conf))


def _s3_runs(event: dict[str, Any]) -> list[WantedRun]:
    if _is_s3_test(event):
        return []  # notifications work, and no object has changed
    return [_s3_run(record) for record in event["Records"]]


def _s3_run(record: Mapping[str, Any]) -> WantedRun:
    try:
        bucket, described = record["s3"]["bucket"]["name"], record["s3"]["object"]
        # Unlike in EventBridge's events, keys in notifications are encoded like form fields.
        key = unquote_plus(described["key"])
        conf = {
            "source": "s3",
            "event": record["eventName"],
            "bucket": bucket,
            "key": key,
            "size": described.get("size"),
            "etag": described.get("eTag"),
            "version_id": described.get("versionId"),
            "sequencer": described.get("sequencer"),
            "region": record.get("awsRegion"),
            "time": record.get("eventTime"),
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise MwaaInputError(
            f"A record of the S3 event cannot be read ({type(error).__name__}: {error}). Pass the event on unchanged."
        ) from None
    answered = record.get("responseElements")
    told_by = [
        _member(answered, "x-amz-request-id") or answered,
        {name: record[name] for name in record if name.endswith("EventData")},
    ]
    former = json.dumps([record.get("eventTime"), record.get("responseElements")], sort_keys=True, default=str)
    return _run_of_s3(f"S3 event for {key!r} in {bucket!r}", conf, told_by=told_by, former_fallback=former)


def _run_of_s3(label: str, conf: dict[str, Any], *, told_by: list[Any], former_fallback: str) -> WantedRun:
    """Return the run for a change of an object.

    :param told_by: what distinguishes changes of one object at one time that S3 does not put in order.
    :param former_fallback: what releases up to 0.1 used for events without a version and a place in that order.
    """
    name, place = str(conf["event"]), [conf["bucket"], conf["key"], conf["version_id"], conf["sequencer"]]
    kind = name.partition(":")[0].replace(" ", "").lower()
    version = place[2:]
    former = _s3_run_id([kind, *place[:2], *(version if any(version) else [former_fallback])])
    if conf["sequencer"] and kind in _IN_ORDER:
        run_id, identified_by = _s3_run_id([_IN_ORDER[kind], *place]), _S3_PLACE
    else:
        run_id, identified_by = _s3_run_id([name, *place, conf["time"], *told_by]), None
    return WantedRun(label, run_id, _filled(conf), former_run_id=former, identified_by=identified_by)


_IN_ORDER = {
    "objectcreated": "objectcreated",
    "objectremoved": "objectremoved",
    "objectdeleted": "objectremoved",
    "lifecycleexpiration": "objectremoved",
}
"""Changes that S3 puts in order, by their names in notifications and in EventBridge, which has one for deletions."""
_S3_PLACE = ("source", "bucket", "key", "version_id", "sequencer")


def _s3_run_id(identity: list[Any]) -> str:
    return _run_id("s3", json.dumps(identity, sort_keys=True, default=str))


def _run_id(kind: str, identity: str) -> str:
    """Derive a run id that is short enough for the paths that InvokeRestApi accepts."""
    return f"{kind}__{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def _sources(event: Any) -> set[str]:
    """Return the services that an event's records come from; empty for an event without records."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        return set()
    return {str(record.get("eventSource") or record.get("EventSource") or "nobody") for record in records}


def _refuse_records(sources: set[str]) -> NoReturn:
    raise MwaaInputError(
        f"The event has records of {', '.join(sorted(sources))}. Only aws:sqs or aws:s3 is supported, one of them per "
        "event. Put an SQS queue in between."
    )


def _is_s3_test(event: Any) -> bool:
    return isinstance(event, dict) and event.get("Event") == "s3:TestEvent" and event.get("Service") == "Amazon S3"


def _is_eventbridge(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and all(isinstance(event.get(name), str) and event[name] for name in ("id", "source", "detail-type"))
        and "detail" in event
    )


def _is_about_a_subscription(body: Any) -> bool:
    kinds = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
    return isinstance(body, dict) and body.get("Type") in kinds and "TopicArn" in body and "Token" in body


def _sns_message_id(body: Any) -> str | None:
    """Return the id of the SNS notification that a message carries; ``None`` if it carries none."""
    names = ("MessageId", "TopicArn", "Message")
    if not isinstance(body, dict) or body.get("Type") != "Notification":
        return None
    return body["MessageId"] if all(isinstance(body.get(name), str) and body[name] for name in names) else None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _parsed(body: Any) -> Any:
    """Return a message's JSON object or list; return any other string unchanged."""
    text = str(body or "")
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        parsed = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text
    return parsed if _is_shallow(parsed) else text


def _is_shallow(value: Any, levels: int = 100) -> bool:
    """Return whether any JSON writer can write a value again. Some writers overflow on deeper nesting."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
    return True


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _message_attributes(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return the values by name; binary values remain in base64."""
    values = {name: (item.get("stringValue") or item.get("binaryValue")) for name, item in attributes.items()}
    return {name: value for name, value in values.items() if value is not None}


def _from_ms(value: Any) -> str | None:
    return datetime.fromtimestamp(int(value) / 1000, UTC).isoformat() if str(value or "").isdigit() else None


def _filled(conf: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in conf.items() if value not in (None, {}, []) or name in ("body", "detail")}


def _kind(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        str: "a string",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
