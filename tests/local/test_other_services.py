# SPDX-License-Identifier: Apache-2.0
"""Requests that are not for MWAA are forwarded to moto, unchanged and streamed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import uuid
from typing import Any

import pytest
import requests
from boto3.s3.transfer import TransferConfig

from tests.local.lab import Lab


@pytest.fixture
def bucket(lab: Lab) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    lab.client("s3").create_bucket(Bucket=name)
    return name


def test_ten_megabytes_to_s3_and_back(lab: Lab, bucket: str) -> None:
    content = os.urandom(10 * 1024 * 1024)
    s3 = lab.client("s3")
    s3.put_object(Bucket=bucket, Key="a folder/größe.bin", Body=io.BytesIO(content), ContentType="x/y")
    answer = s3.get_object(Bucket=bucket, Key="a folder/größe.bin")
    assert answer["ContentType"] == "x/y"
    assert hashlib.sha256(answer["Body"].read()).digest() == hashlib.sha256(content).digest()


def test_a_bucket_in_the_hosts_name(lab: Lab, bucket: str) -> None:
    lab.client("s3").put_object(Bucket=bucket, Key="x", Body=b"content", ACL="public-read")
    headers = {"Host": f"{bucket}.s3.amazonaws.com"}
    assert requests.get(f"{lab.url}/x", headers=headers, timeout=5).content == b"content"


def test_a_multipart_upload(lab: Lab, bucket: str) -> None:
    content = os.urandom(11 * 1024 * 1024)
    s3 = lab.client("s3")
    settings = TransferConfig(multipart_threshold=5 * 1024 * 1024, multipart_chunksize=5 * 1024 * 1024)
    s3.upload_fileobj(io.BytesIO(content), bucket, "parts", Config=settings)
    back = io.BytesIO()
    s3.download_fileobj(bucket, "parts", back, Config=settings)
    assert back.getvalue() == content


def test_what_is_gzipped_stays_so(lab: Lab, bucket: str) -> None:
    content = gzip.compress(b"text" * 1000)
    s3 = lab.client("s3")
    s3.put_object(Bucket=bucket, Key="x", Body=content, ContentEncoding="gzip")
    answer = s3.get_object(Bucket=bucket, Key="x")
    assert (answer["ContentEncoding"], answer["Body"].read()) == ("gzip", content)


def test_a_presigned_url_of_s3(lab: Lab, bucket: str) -> None:
    s3 = lab.client("s3", signature_version="s3v4")
    s3.put_object(Bucket=bucket, Key="x", Body=b"content")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "x"})
    assert requests.get(url, timeout=5).content == b"content"


def test_moto_gets_any_signature(lab: Lab) -> None:
    sts = lab.client("sts", key="AKIAANY", secret="any")
    assert sts.get_caller_identity()["Account"] == "123456789012"


def test_errors_of_moto_arrive(lab: Lab) -> None:
    s3 = lab.client("s3")
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.list_objects_v2(Bucket="absent")


def test_a_head_request(lab: Lab, bucket: str) -> None:
    s3 = lab.client("s3")
    s3.put_object(Bucket=bucket, Key="x", Body=b"1234567")
    assert s3.head_object(Bucket=bucket, Key="x")["ContentLength"] == 7


def test_an_unsigned_request_is_motos(lab: Lab) -> None:
    assert requests.get(f"{lab.url}/moto-api/", timeout=5).status_code == 200


def test_without_moto_the_answer_is_a_bad_gateway(certificates: Any) -> None:
    lab = Lab(certificates, "http://127.0.0.1:9")
    lab.start()
    try:
        answer = requests.get(f"{lab.url}/bucket/key", timeout=5)
        assert answer.status_code == 502
    finally:
        lab.stop()


def test_memory_does_not_grow_with_the_body(source: Lab) -> None:
    """100 MB through the gateway, both ways; only the download is measured, because the stub reads uploads whole."""
    url = source.mwaa.environments.get("source").public_url
    with source.web() as web:
        web.get(f"{url}/bytes?mb=1", timeout=5)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with web.get(f"{url}/bytes?mb=100", stream=True, timeout=20) as answer:
            assert sum(len(chunk) for chunk in answer.iter_content(1 << 16)) == 100 * 1024 * 1024
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kb < 40 * 1024
