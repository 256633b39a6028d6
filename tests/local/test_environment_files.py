# SPDX-License-Identifier: Apache-2.0
"""The files that CreateEnvironment and UpdateEnvironment name, and when they are read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_mwaa_provider.local.runtime import FileKind, S3File
from tests.local.lab import Lab


@pytest.fixture
def made(lab: Lab) -> Lab:
    """A lab with an environment that has requirements."""
    lab.client().create_environment(**lab.create_arguments(RequirementsS3Path="requirements.txt"))
    assert lab.settled("made").status == "AVAILABLE"
    return lab


def described(lab: Lab) -> dict[str, Any]:
    return lab.client().get_environment(Name="made")["Environment"]


def update(lab: Lab, **members: str) -> dict[str, Any]:
    lab.client().update_environment(Name="made", **members)
    lab.settled("made")
    return described(lab)


def starts(lab: Lab) -> int:
    return sum(event.startswith("start ") for event in lab.factory.events)


def test_a_creation_reads_them_and_tells_their_versions(lab: Lab) -> None:
    s3 = lab.client("s3")
    old = s3.head_object(Bucket="bucket", Key="sub/requirements.txt")["VersionId"]
    s3.put_object(Bucket="bucket", Key="sub/requirements.txt", Body=b"new")
    members = {
        "PluginsS3Path": "plugins.zip",
        "RequirementsS3Path": "sub/requirements.txt",
        "RequirementsS3ObjectVersion": old,
        "StartupScriptS3Path": "startup.sh",
    }
    lab.client().create_environment(**lab.create_arguments(**members))
    lab.settled("made")
    assert lab.factory.of("made").spec.files == {
        FileKind.PLUGINS: S3File("plugins.zip", "v1", "sha of v1"),
        FileKind.REQUIREMENTS: S3File("sub/requirements.txt", old, f"sha of {old}"),
        FileKind.STARTUP_SCRIPT: S3File("startup.sh", "v1", "sha of v1"),
    }
    found = described(lab)
    assert {name: found[name] for name in members} == members
    assert (found["PluginsS3ObjectVersion"], found["StartupScriptS3ObjectVersion"]) == ("v1", "v1")


def test_an_environment_without_files_describes_none(source: Lab) -> None:
    found = source.client().get_environment(Name="source")["Environment"]
    assert not {name for name in found if name.startswith(("Plugins", "Requirements", "StartupScript"))}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"PluginsS3Path": "missing.zip"}, "Bucket bucket: no such file: missing.zip. Upload it first."),
        ({"RequirementsS3Path": "missing.txt"}, "no such file: missing.txt"),
        ({"StartupScriptS3Path": "startup.sh", "StartupScriptS3ObjectVersion": "v0"}, "startup.sh in version v0"),
    ],
)
def test_a_creation_with_a_file_that_is_not_there_is_refused(lab: Lab, members, words: str) -> None:
    with pytest.raises(ClientError, match=re.escape(words)) as caught:
        lab.client().create_environment(**lab.create_arguments(**members))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert lab.client().list_environments()["Environments"] == []
    assert lab.factory.events == []


def test_a_file_that_is_gone_when_it_is_read_fails_the_creation(lab: Lab) -> None:
    lab.environment("made", files={FileKind.PLUGINS: S3File("missing.zip")})
    found = described(lab)
    assert found["Status"] == "CREATE_FAILED"
    assert found["LastUpdate"]["Error"] == {
        "ErrorCode": "INCORRECT_CONFIGURATION",
        "ErrorMessage": "Unable to read file missing.zip",
    }
    assert starts(lab) == 0


def test_the_same_path_again_takes_what_is_there_now(made: Lab) -> None:
    made.factory.uploads = 2
    assert described(made)["RequirementsS3ObjectVersion"] == "v1", "an upload alone changes nothing"
    assert update(made, RequirementsS3Path="requirements.txt")["RequirementsS3ObjectVersion"] == "v2"
    assert starts(made) == 2


def test_an_update_that_names_a_file_restarts_airflow_even_if_nothing_changed(made: Lab) -> None:
    update(made, RequirementsS3Path="requirements.txt")
    assert starts(made) == 2


def test_a_version_alone_is_another_one_of_the_same_file(made: Lab) -> None:
    found = update(made, RequirementsS3ObjectVersion="older")
    assert (found["RequirementsS3Path"], found["RequirementsS3ObjectVersion"]) == ("requirements.txt", "older")


def test_a_version_of_a_file_that_is_not_there_is_refused(made: Lab) -> None:
    with pytest.raises(ClientError, match="PluginsS3ObjectVersion needs PluginsS3Path") as caught:
        made.client().update_environment(Name="made", PluginsS3ObjectVersion="v1")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert described(made)["Status"] == "AVAILABLE"


def test_another_update_keeps_the_versions_in_use(made: Lab) -> None:
    made.factory.uploads = 2
    made.client().update_environment(Name="made", AirflowConfigurationOptions={"core.parallelism": "3"})
    made.settled("made")
    assert described(made)["RequirementsS3ObjectVersion"] == "v1"
    assert starts(made) == 2


def test_a_version_in_use_that_was_deleted_fails_the_next_restart(made: Lab) -> None:
    made.factory.deleted_versions.add("v1")
    made.client().update_environment(Name="made", AirflowConfigurationOptions={"core.parallelism": "3"})
    assert made.settled("made").status == "UPDATE_FAILED"


def test_an_update_of_what_airflow_does_not_see_reads_nothing(made: Lab) -> None:
    made.factory.deleted_versions.add("v1")
    made.client().update_environment(Name="made", MaxWorkers=7)
    assert made.settled("made").status == "AVAILABLE"
    assert starts(made) == 1


def test_another_bucket_has_other_versions(made: Lab) -> None:
    made.factory.uploads = 2
    assert update(made, SourceBucketArn="arn:aws:s3:::other")["RequirementsS3ObjectVersion"] == "v2"


def test_a_failed_update_does_not_touch_the_running_airflow(made: Lab) -> None:
    runtime = made.factory.of("made")
    found = update(made, PluginsS3Path="missing.zip", RequirementsS3Path="other.txt")
    assert found["Status"] == "UPDATE_FAILED"
    assert found["LastUpdate"]["Error"]["ErrorMessage"] == "Unable to read file missing.zip"
    assert "PluginsS3Path" not in found
    assert found["RequirementsS3Path"] == "requirements.txt"
    assert runtime.running
    assert starts(made) == 1
    assert update(made, RequirementsS3Path="other.txt")["Status"] == "AVAILABLE"


def test_an_update_that_does_not_start_goes_back_to_the_old_files(made: Lab) -> None:
    client = made.client()
    client.update_environment(
        Name="made", RequirementsS3Path="other.txt", AirflowConfigurationOptions={"core.broken": "yes"}
    )
    made.settled("made")
    found = described(made)
    assert (found["Status"], found["RequirementsS3Path"]) == ("UPDATE_FAILED", "requirements.txt")
    runtime = made.factory.of("made")
    assert runtime.running
    assert runtime.spec.files == {FileKind.REQUIREMENTS: S3File("requirements.txt", "v1", "sha of v1")}


def test_an_environment_can_be_deleted_while_its_files_are_read(made: Lab) -> None:
    made.client().update_environment(Name="made", PluginsS3Path="missing.zip")
    made.client().delete_environment(Name="made")
    assert made.settled("made") is None
    assert made.factory.events[-1] == "delete made"
