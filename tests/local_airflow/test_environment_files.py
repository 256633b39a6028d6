# SPDX-License-Identifier: Apache-2.0
"""The copies of an environment's files, from a real bucket with versions."""

from __future__ import annotations

import asyncio
import zipfile

import pytest

from airflow_mwaa_provider.local.airflow import environment_files
from airflow_mwaa_provider.local.bucket_contents import BucketContents
from airflow_mwaa_provider.local.machine.bucket_files import BucketFiles
from airflow_mwaa_provider.local.machine.bucket_sync import BucketSync
from airflow_mwaa_provider.local.machine.state import EnvironmentFolder
from airflow_mwaa_provider.local.runtime import EnvironmentSpec, FileKind, RuntimeStartError, S3File
from airflow_mwaa_provider.local.up_request import EnvironmentRequest, UpRequest

REQUIREMENTS = FileKind.REQUIREMENTS


@pytest.fixture
def bucket(request, s3_url):
    name = "files-" + str(abs(hash(request.node.name)))
    BucketSync(s3_url, "us-east-1").ensure_bucket(name)
    return name


@pytest.fixture
def folder(tmp_path):
    return EnvironmentFolder(tmp_path / "source")


@pytest.fixture
def read(s3_url, bucket, folder):
    def read(*, bucket=bucket, **files):
        spec = EnvironmentSpec("source", "3.3.1", bucket, "dags", files={FileKind(k): f for k, f in files.items()})
        return asyncio.run(environment_files.read(spec, folder, BucketFiles(s3_url, "us-east-1"))).files

    return read


def text_of(folder, files, kind=REQUIREMENTS):
    return environment_files.copy_of(folder, files, kind).read_text()


def test_the_newest_version_or_the_one_that_is_asked_for(s3, bucket, folder, read):
    old = s3.put_object(Bucket=bucket, Key="sub/r.txt", Body=b"old")["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="sub/r.txt", Body=b"new")["VersionId"]
    newest = read(requirements=S3File("sub/r.txt"))
    older = read(requirements=S3File("sub/r.txt", old))
    assert (newest[REQUIREMENTS].version, older[REQUIREMENTS].version) == (new, old)
    assert (text_of(folder, newest), text_of(folder, older)) == ("new", "old")


def test_what_can_not_be_read_is_named(s3, bucket, read):
    with pytest.raises(RuntimeStartError, match=f"^Unable to read file r.txt in bucket {bucket}: no such object$"):
        read(requirements=S3File("r.txt"))
    version = s3.put_object(Bucket=bucket, Key="r.txt", Body=b"x")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="r.txt", VersionId=version)
    with pytest.raises(RuntimeStartError, match=f"^Unable to read version {version} of file r.txt in bucket"):
        read(requirements=S3File("r.txt", version))
    with pytest.raises(RuntimeStartError, match="in bucket no-such-bucket: no such bucket"):
        read(requirements=S3File("r.txt"), bucket="no-such-bucket")
    s3.put_object(Bucket=bucket, Key="r.txt", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="r.txt")
    with pytest.raises(RuntimeStartError, match=r"Unable to read file r\.txt"):
        read(requirements=S3File("r.txt"))


def test_an_unversioned_bucket_has_no_versions(s3, read):
    s3.create_bucket(Bucket="without-versions")
    s3.put_object(Bucket="without-versions", Key="r.txt", Body=b"x")
    found = read(requirements=S3File("r.txt"), bucket="without-versions")
    assert found[REQUIREMENTS].version is None


def test_plugins_that_are_no_zip_file_are_refused_and_nothing_is_kept(s3, bucket, folder, read):
    s3.put_object(Bucket=bucket, Key="plugins.zip", Body=b"no")
    with pytest.raises(RuntimeStartError, match=r"plugins.zip can't be read as a zip file"):
        read(plugins=S3File("plugins.zip"))
    assert list(folder.files.iterdir()) == []


def test_the_files_in_use_come_back_into_an_empty_bucket(s3, s3_url, bucket, folder, read, tmp_path):
    s3.put_object(Bucket=bucket, Key="sub/r.txt", Body=b"in use")
    s3.put_object(Bucket=bucket, Key="startup.sh", Body=b"script")
    used = read(requirements=S3File("sub/r.txt"), startup_script=S3File("startup.sh"))
    environment_files.remember(folder, used)
    s3.put_object(Bucket=bucket, Key="sub/r.txt", Body=b"never used")
    read(requirements=S3File("sub/r.txt"))
    environment_files.remember(folder, used)
    assert len(list(folder.files.iterdir())) == 3, "copies that nobody uses are removed"
    replacement = tmp_path / "plugins.zip"
    with zipfile.ZipFile(replacement, "w"):
        pass

    request = EnvironmentRequest(
        "source", "python", bucket=f"{bucket}-2", files={"plugins": str(replacement), "startup_script": ""}
    )
    request = UpRequest.from_json(UpRequest("/x", 0, "us-east-1", [request]).to_json()).environments[0]
    contents = BucketContents.plan(request, folder)
    assert contents.files == {
        REQUIREMENTS: S3File("sub/r.txt"),
        FileKind.PLUGINS: S3File("plugins.zip"),
    }
    contents.upload(BucketSync(s3_url, "us-east-1"), BucketFiles(s3_url, "us-east-1"))
    assert s3.get_object(Bucket=f"{bucket}-2", Key="sub/r.txt")["Body"].read() == b"in use"
    assert {entry["Key"] for entry in s3.list_objects_v2(Bucket=f"{bucket}-2")["Contents"]} == {
        "sub/r.txt",
        "plugins.zip",
    }
