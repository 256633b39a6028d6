# SPDX-License-Identifier: Apache-2.0
"""Events in the form that AWS delivers."""

from __future__ import annotations

import json
import uuid
from typing import Any


def s3_record(key: str = "in/a+b%C3%A4.csv", **described: Any) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-22T10:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AIDA"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "to-lambda",
            "bucket": {"name": "landing", "arn": "arn:aws:s3:::landing"},
            "object": {"key": key, "size": 7, "eTag": "e1", "sequencer": "0A1B2C", **described},
        },
    }


def s3_notification(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(records or [s3_record()])}


def s3_by_eventbridge() -> dict[str, Any]:
    return eventbridge(
        **{
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {
                "version": "0",
                "bucket": {"name": "landing"},
                "object": {"key": "in/a bä.csv", "size": 7, "etag": "e1", "sequencer": "0A1B2C"},
                "request-id": "C3D13FE58DE4C810",
                "requester": "123456789012",
                "reason": "PutObject",
            },
        }
    )


def eventbridge(**more: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Order Placed",
        "source": "shop",
        "account": "123456789012",
        "time": "2026-11-22T10:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {"order": 17},
        **more,
    }


def sqs(*bodies: Any, queue: str = "orders") -> dict[str, Any]:
    """A batch; bodies that are not strings are encoded as JSON."""
    return {
        "Records": [
            {
                "messageId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{queue} {number}")),
                "receiptHandle": "AQEB",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1795341600000",
                    "SenderId": "AIDA",
                    "ApproximateFirstReceiveTimestamp": "1795341600001",
                },
                "messageAttributes": {"shop": {"stringValue": "north", "dataType": "String"}},
                "md5OfBody": "0",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{queue}",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def by_sns(message: Any, message_id: str = "95df01b4-ee98-5cb9-9903-4c221d41eb5e") -> dict[str, Any]:
    """What SNS sends to a queue without raw message delivery."""
    return {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:landing",
        "Subject": "Amazon S3 Notification",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-22T10:00:01.000Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/cert.pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
    }


def ids(event: dict[str, Any]) -> list[str]:
    return [record["messageId"] for record in event["Records"]]


def status_change(
    env_name: str, status: str = "PENDING", account: str = "123456789012", **detail: Any
) -> dict[str, Any]:
    return eventbridge(
        **{
            "source": "aws.airflow",
            "detail-type": "MWAA Environment Status Change",
            "account": account,
            "resources": [f"arn:aws:airflow:us-east-1:{account}:environment/{env_name}"],
            "detail": {"name": env_name, "status": status, **detail},
        }
    )
