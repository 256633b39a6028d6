# SPDX-License-Identifier: Apache-2.0
"""Uploads of built files to a versioned bucket: moto's S3 behind a proxy that fails on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from click.testing import CliRunner
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.client.http.retrying import RetryPolicy
from airflow_mwaa_provider.exceptions import AccessDenied, AwsError, MwaaInputError
from airflow_mwaa_provider.packaging.uploads import PART_BYTES, Uploaded, parse_s3_uri, upload_file
from airflow_mwaa_provider.s3_uri import S3Uri
from tests.metadata.faulty_s3 import FaultyS3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.metadata.faulty_s3 import Answer

pytestmark = pytest.mark.once
BUCKET = "versions"
URI = f"s3://{BUCKET}/team/plugins.zip"
QUICKLY = RetryPolicy(deadline_s=5.0, first_delay_s=0.01)


def client_of(url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        "s3", "us-east-1", endpoint_url=url, aws_access_key_id="x", aws_secret_access_key="y", config=config
    )


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    client = client_of(url)
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    client.create_bucket(Bucket="plain")
    yield url
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "plugins.zip"
    path.write_bytes(tmp_path.name.encode())
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "plugins.zip"
    path.write_bytes(tmp_path.name.encode() + bytes(2 * PART_BYTES))
    return path


def upload(url: str, path: Path, answer: Answer = lambda method, path: None) -> tuple[Uploaded, list[str]]:
    with FaultyS3(url, answer) as s3:
        done = upload_file(client_of(s3.url), path, URI, policy=QUICKLY)
        return done, [f"{method} {called.partition('?')[2]}" for method, called in s3.calls]


def stored(url: str, version: str) -> bytes:
    body = client_of(url).get_object(Bucket=BUCKET, Key="team/plugins.zip", VersionId=version)["Body"]
    return bytes(body.read())


@pytest.mark.parametrize("size", ["small", "large"])
def test_the_version_is_told_and_the_same_content_makes_no_other(
    size: str, moto_url: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(size)
    first, _ = upload(moto_url, path)
    assert (first.bucket, first.key, first.changed) == (BUCKET, "team/plugins.zip", True)
    assert stored(moto_url, first.version_id) == path.read_bytes()
    again, calls = upload(moto_url, path)
    assert again == Uploaded(BUCKET, "team/plugins.zip", first.version_id, changed=False)
    assert [call.split()[0] for call in calls] == ["GET", "HEAD"]
    path.write_bytes(path.read_bytes() + b"x")
    other, _ = upload(moto_url, path)
    assert other.changed
    assert other.version_id != first.version_id
    found = client_of(moto_url).head_object(Bucket=BUCKET, Key="team/plugins.zip")
    assert found["Metadata"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_s3_is_given_the_checksum_of_each_part(moto_url: str, large: Path) -> None:
    sent = []
    client = client_of(moto_url)
    client.meta.events.register(
        "before-send.s3", lambda request, **_: sent.append(request.headers.get("x-amz-checksum-sha256"))
    )
    progress: list[int] = []
    upload_file(client, large, URI, on_progress=progress.append)
    assert sum(checksum is not None for checksum in sent) == 3
    assert progress == [PART_BYTES, 2 * PART_BYTES, large.stat().st_size]


def test_what_fails_for_a_moment_is_tried_again(moto_url: str, large: Path) -> None:
    failures = {"partNumber=2": [(503, "SlowDown", "x"), (0, "", "")]}

    def answer(method: str, path: str) -> tuple[int, str, str] | None:
        for part, answers in failures.items():
            if part in path and answers:
                return answers.pop()
        return None

    done, calls = upload(moto_url, large, answer)
    assert stored(moto_url, done.version_id) == large.read_bytes()
    assert sum("partNumber=2" in call for call in calls) == 3


def test_a_failed_upload_leaves_nothing_and_says_what_to_allow(moto_url: str, large: Path) -> None:
    def denied(method: str, path: str) -> tuple[int, str, str] | None:
        return (403, "AccessDenied", "no") if "partNumber=2" in path else None

    with pytest.raises(AccessDenied, match=r"UploadPart: access denied\. Allow s3:PutObject\."):
        upload(moto_url, large, denied)
    assert "Uploads" not in client_of(moto_url).list_multipart_uploads(Bucket=BUCKET)


def test_who_may_not_look_at_the_object_may_upload_it(moto_url: str, small: Path) -> None:
    first, _ = upload(moto_url, small)
    again, _ = upload(moto_url, small, lambda method, path: (403, "", "") if method == "HEAD" else None)
    assert again.changed
    assert again.version_id != first.version_id
    with pytest.raises(AwsError, match="HeadObject"):
        upload(moto_url, small, lambda method, path: (400, "", "") if method == "HEAD" else None)


def test_a_bucket_without_versioning_is_refused_before_anything_is_sent(moto_url: str, small: Path) -> None:
    with pytest.raises(MwaaInputError) as caught:
        upload_file(client_of(moto_url), small, "s3://plain/plugins.zip")
    assert str(caught.value) == (
        "s3://plain: versioning is off, but an environment needs the version of a file. Turn it on: aws s3api "
        "put-bucket-versioning --bucket plain --versioning-configuration Status=Enabled."
    )
    assert "Contents" not in client_of(moto_url).list_objects_v2(Bucket="plain")


@pytest.mark.parametrize(
    "uri", ["", "s3://", "s3://bucket", "s3://bucket/", "s3://bucket/x/", "plugins.zip", "s3:///x"]
)
def test_what_names_no_object_is_refused(uri: str) -> None:
    with pytest.raises(MwaaInputError, match=r"does not name an object in S3\. Write s3://BUCKET/plugins\.zip"):
        parse_s3_uri(uri)
    assert parse_s3_uri("s3://b/c d/é.zip") == S3Uri("b", "c d/é.zip")


def test_a_key_that_s3_does_not_take_is_refused() -> None:
    assert parse_s3_uri(f"s3://b/{512 * 'é'}") == S3Uri("b", 512 * "é")
    with pytest.raises(
        MwaaInputError, match=r"its key is longer than the 1,024 bytes that S3 allows\. Choose a shorter"
    ):
        parse_s3_uri(f"s3://b/{512 * 'é'}x")


def test_the_command_prints_the_version(moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": moto_url, "AWS_ENDPOINT_URL_S3": moto_url, "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    plugin = tmp_path / "plugin.py"
    plugin.write_text("import os\n")
    arguments = ["package", "plugins", str(plugin), "--output", str(tmp_path / "p.zip"), "--upload", URI]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert f"] uploading {tmp_path / 'p.zip'} to {URI}\n" in done.output, "S3 may not answer for a minute"
    version = client_of(moto_url).head_object(Bucket=BUCKET, Key="team/plugins.zip")["VersionId"]
    assert f"  PluginsS3Path           team/plugins.zip\n  PluginsS3ObjectVersion  {version}\n" in done.output
    shown = CliRunner().invoke(main, [*arguments, "--output", "json"]).stdout
    # With click 8.1 what is on stderr is before it, and once Airflow 2 was imported its log, with {file:line}, as well.
    told = json.loads(shown[shown.index("{\n") :])
    assert told["upload"] == {"bucket": BUCKET, "key": "team/plugins.zip", "version_id": version, "changed": False}
    (tmp_path / "p.zip").unlink()
    for uri in ("s3://bucket", f"s3://{BUCKET}/requirements.txt"):
        refused = CliRunner().invoke(main, [*arguments[:-1], uri])
        assert refused.exit_code == 2, uri
    assert "requirements.txt: the key must end in .zip. Write s3://BUCKET/plugins.zip." in refused.output
    assert not (tmp_path / "p.zip").exists(), "found before anything was written"
