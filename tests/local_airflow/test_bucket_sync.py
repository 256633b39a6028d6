# SPDX-License-Identifier: Apache-2.0
"""DAG files are copied from the bucket to the folder."""

from __future__ import annotations

import logging

import moto.settings
import pytest

from airflow_mwaa_provider.local.machine.bucket_sync import BucketSync, Mirror, is_safe_name


@pytest.fixture
def mirror(request, tmp_path):
    folder = tmp_path / "airflow" / "dags"
    folder.mkdir(parents=True)
    return Mirror("source", "bucket-" + str(abs(hash(request.node.name))), "dags", folder)


@pytest.fixture
def sync(s3_url, mirror):
    sync = BucketSync(s3_url, "us-east-1")
    sync.ensure_bucket(mirror.bucket)
    sync.ensure_bucket(mirror.bucket)
    return sync


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_come_change_and_go(s3, sync, mirror):
    s3.put_object(Bucket=mirror.bucket, Key="dags/a.py", Body=b"1")
    s3.put_object(Bucket=mirror.bucket, Key="dags/deep/er/b.py", Body=b"2")
    s3.put_object(Bucket=mirror.bucket, Key="dags/", Body=b"")
    s3.put_object(Bucket=mirror.bucket, Key="plugins.zip", Body=b"not a DAG")
    s3.put_object(Bucket=mirror.bucket, Key="dagsomething.py", Body=b"not in the folder")
    sync.sync(mirror)
    assert content(mirror.folder) == {"a.py": "1", "deep/er/b.py": "2"}
    s3.put_object(Bucket=mirror.bucket, Key="dags/a.py", Body=b"3")
    s3.delete_object(Bucket=mirror.bucket, Key="dags/deep/er/b.py")
    sync.sync(mirror)
    assert content(mirror.folder) == {"a.py": "3"}
    assert [path.name for path in mirror.folder.iterdir()] == ["a.py"]


def test_what_is_equal_is_left_alone(s3, sync, mirror, s3_url):
    s3.put_object(Bucket=mirror.bucket, Key="dags/a.py", Body=b"1")
    sync.sync(mirror)
    before = (mirror.folder / "a.py").stat()
    BucketSync(s3_url, "us-east-1").sync(mirror)  # as after a restart
    assert (mirror.folder / "a.py").stat().st_ino == before.st_ino


def test_a_file_that_the_bucket_lacks_goes_but_caches_stay(sync, mirror):
    (mirror.folder / "mine.py").write_text("x")
    (mirror.folder / "__pycache__").mkdir()
    (mirror.folder / "__pycache__" / "a.pyc").write_text("x")
    (mirror.folder / "link").symlink_to("/")
    sync.sync(mirror)
    assert not (mirror.folder / "mine.py").exists()
    assert not (mirror.folder / "link").is_symlink()


def test_a_lost_file_comes_back(s3, sync, mirror):
    s3.put_object(Bucket=mirror.bucket, Key="dags/a.py", Body=b"1")
    sync.sync(mirror)
    (mirror.folder / "a.py").unlink()
    sync.sync(mirror)
    assert content(mirror.folder) == {"a.py": "1"}


def test_a_file_becomes_a_folder_and_back(s3, sync, mirror):
    s3.put_object(Bucket=mirror.bucket, Key="dags/x", Body=b"1")
    sync.sync(mirror)
    s3.delete_object(Bucket=mirror.bucket, Key="dags/x")
    s3.put_object(Bucket=mirror.bucket, Key="dags/x/y.py", Body=b"2")
    sync.sync(mirror)
    assert content(mirror.folder) == {"x/y.py": "2"}
    s3.delete_object(Bucket=mirror.bucket, Key="dags/x/y.py")
    s3.put_object(Bucket=mirror.bucket, Key="dags/x", Body=b"3")
    sync.sync(mirror)
    assert content(mirror.folder) == {"x": "3"}


def test_many_files_come_in_pages(s3, sync, mirror):
    page = 10 if hasattr(moto.settings, "get_s3_default_max_keys") else 1000  # before moto 5.0.9 as in AWS
    for number in range(page + 15):
        s3.put_object(Bucket=mirror.bucket, Key=f"dags/{number}.py", Body=str(number).encode())
    first = s3.list_objects_v2(Bucket=mirror.bucket)
    assert (len(first["Contents"]), first["IsTruncated"]) == (page, True)
    sync.sync(mirror)
    assert content(mirror.folder) == {f"{number}.py": str(number) for number in range(page + 15)}


def test_nothing_is_deleted_when_the_bucket_is_gone(s3, sync, mirror, caplog):
    s3.put_object(Bucket=mirror.bucket, Key="dags/a.py", Body=b"1")
    sync.sync(mirror)
    gone = Mirror(mirror.env_name, "no-such-bucket", "dags", mirror.folder)
    with caplog.at_level(logging.WARNING):
        sync.sync(gone)
        sync.sync(gone)
    assert content(mirror.folder) == {"a.py": "1"}
    assert len([record for record in caplog.records if "can't list" in record.message]) == 1


def test_a_bucket_that_is_gone_again_is_logged_again(s3, sync, mirror, caplog):
    flickering = Mirror(mirror.env_name, f"{mirror.bucket}-more", "dags", mirror.folder)
    sync.sync(flickering)
    s3.create_bucket(Bucket=flickering.bucket)
    sync.sync(flickering)
    s3.delete_bucket(Bucket=flickering.bucket)
    sync.sync(flickering)
    assert len([record for record in caplog.records if "can't list" in record.message]) == 2


def test_upload_and_mirror_are_inverse(sync, mirror, tmp_path):
    source = tmp_path / "project"
    (source / "sub" / "__pycache__").mkdir(parents=True)
    (source / ".git").mkdir()
    (source / "sub" / "__pycache__" / "c.pyc").write_text("x")
    (source / ".git" / "config").write_text("x")
    (source / ".airflowignore").write_text("x")
    (source / "sub" / "ü b.py").write_text("é")
    assert sync.upload(source, mirror.bucket, "dags") == 2
    sync.sync(mirror)
    assert content(mirror.folder) == {".airflowignore": "x", "sub/ü b.py": "é"}


@pytest.mark.parametrize(
    "name", ["../a.py", "a/../../b.py", "/etc/passwd", "a//b.py", "./a", "a\0b", "x" * 256, "__pycache__/a.py", ".."]
)
def test_keys_that_lead_out(name):
    assert not is_safe_name(name)


@pytest.mark.parametrize("name", ["a.py", "a/b/c.py", "..a.py", "a b.py", ".airflowignore"])
def test_keys_that_stay_in(name):
    assert is_safe_name(name)
