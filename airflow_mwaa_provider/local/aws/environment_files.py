# SPDX-License-Identifier: Apache-2.0
"""The members of the service model that name an environment's files in its bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.aws.environment import EnvironmentProblem
from airflow_mwaa_provider.local.runtime import FileKind, S3File

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEMBERS = {
    FileKind.PLUGINS: ("PluginsS3Path", "PluginsS3ObjectVersion"),
    FileKind.REQUIREMENTS: ("RequirementsS3Path", "RequirementsS3ObjectVersion"),
    FileKind.STARTUP_SCRIPT: ("StartupScriptS3Path", "StartupScriptS3ObjectVersion"),
}
FILE_MEMBERS = frozenset(member for members in _MEMBERS.values() for member in members)


def read_files(members: Mapping[str, Any], known: Mapping[FileKind, S3File] | None = None) -> dict[FileKind, S3File]:
    """Return the files that a request names.

    A version without a path is another version of the environment's file; a path without a version is the newest
    version of that file.

    :raises EnvironmentProblem: there is a version of a file that the environment lacks.
    """
    named = {}
    for kind, (path_member, version_member) in _MEMBERS.items():
        path, version = members.get(path_member), members.get(version_member)
        if path is None and version is None:
            continue
        if path is None:
            if known is None or kind not in known:
                raise EnvironmentProblem(f"{version_member} needs {path_member}")
            path = known[kind].path
        named[kind] = S3File(path, version)
    return named


def describe_files(files: Mapping[FileKind, S3File]) -> dict[str, str]:
    """Return the files' members of GetEnvironment."""
    described = {}
    for kind, file in files.items():
        path_member, version_member = _MEMBERS[kind]
        described[path_member] = file.path
        if file.version is not None:
            described[version_member] = file.version
    return described
