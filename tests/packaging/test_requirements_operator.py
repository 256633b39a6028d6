# SPDX-License-Identifier: Apache-2.0
"""A requirements file packaged by a task into a versioned bucket, checked before anything is uploaded."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.packaging import RequirementsToPluginsZipOperator
from tests.local.conftest import moto_url
from tests.packaging.wheel_index import WheelIndex

__all__ = ["moto_url"]

pytestmark = pytest.mark.once


@pytest.fixture
def s3(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": moto_url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "of-the-test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"wheels-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "requirements").mkdir()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def run(destination: str, **keywords: Any) -> dict[str, Any]:
    task = RequirementsToPluginsZipOperator(
        task_id="package", destination=destination, aws_conn_id=None, airflow_version="3.3.1", **keywords
    )
    return task.execute({})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("folder", ["", "backup/"])
def test_the_environments_own_file_becomes_a_zip_and_a_second_run_changes_nothing(
    index: WheelIndex, s3: Any, bucket: str, home: Path, folder: str
) -> None:
    (home / "requirements" / "requirements.txt").write_text("folium==0.15.1\n")
    destination = f"s3://{bucket}/{folder}plugins_whl.zip"
    result = run(destination)
    assert result["wheels"] == ["branca-0.8.2-py3-none-any.whl", "folium-0.15.1-py3-none-any.whl"]
    stored = s3.get_object(Bucket=bucket, Key=f"{folder}plugins_whl.zip", VersionId=result["version_id"])["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(stored)).namelist() == result["wheels"]
    assert len(stored) == result["size_bytes"]
    assert result["requirements"] == f"s3://{bucket}/{folder}packaged_requirements.txt"
    lines = s3.get_object(
        Bucket=bucket, Key=f"{folder}packaged_requirements.txt", VersionId=result["requirements_version_id"]
    )["Body"].read()
    assert b"--no-index" in lines
    assert b"folium==0.15.1" in lines
    assert run(destination) == {**result, "changed": False}


def test_a_file_with_errors_or_without_a_package_is_not_uploaded(
    index: WheelIndex, s3: Any, bucket: str, home: Path
) -> None:
    broken = home / "other.txt"
    broken.write_text("folium==9.9\nflask==2.0.0\n")
    with pytest.raises(MwaaInputError, match=r"^other\.txt:\d: "):
        run(f"s3://{bucket}/plugins.zip", requirements=str(broken))
    broken.write_text("# nothing\n")
    with pytest.raises(MwaaInputError, match=r"other\.txt names no package to install"):
        run(f"s3://{bucket}/plugins.zip", requirements=str(broken))
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_what_is_missing_is_named(index: WheelIndex, s3: Any, home: Path) -> None:
    with pytest.raises(MwaaInputError, match=r"requirements\.txt"):
        run("s3://some-bucket/plugins.zip")
    with pytest.raises(MwaaInputError, match="does not name an object in S3"):
        run("some-bucket/plugins.zip")
