# SPDX-License-Identifier: Apache-2.0
"""Build the files that MWAA installs, inside an environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider._compat import AIRFLOW_VERSION
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.base import MwaaOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.packaging.requirements.offline import OfflinePackage

__all__ = ["RequirementsToPluginsZipOperator"]


class RequirementsToPluginsZipOperator(MwaaOperator):
    """Package the wheels of a requirements file into a plugins.zip in S3, for what reaches no package index.

    The file is checked as an environment's image would install it. With an error nothing is uploaded. Beside the zip
    ``packaged_requirements.txt`` is uploaded, with the lines that install from it: it is to be the environment's new
    requirements.txt. What is in the bucket already, with the same content, gets no new version.

    The worker needs a way to the package index, and uv, or pip on Linux x86-64. The zip holds these wheels and no
    other plugins: merge it with those that the environment has by ``airflow-mwaa package plugins``.

    :param destination: where the zip is to be, ``s3://BUCKET/KEY`` (templated); the bucket has versions.
    :param requirements: path of the file on the worker (templated); if not given, the environment's own, which MWAA
        has put into ``AIRFLOW_HOME``.
    :param airflow_version: of the environment that shall install it (templated); if not given, the one that the task
        runs on.
    :param constraints: path of a copy of the constraints file that the requirements name (templated), where that
        cannot be reached.
    :return: ``{"destination", "version_id", "changed", "size_bytes", "sha256", "wheels", "requirements",
        "requirements_version_id"}``.
    """

    template_fields: Sequence[str] = (
        *MwaaOperator.template_fields, "destination", "requirements", "airflow_version", "constraints",
    )  # fmt: skip
    text_fields: ClassVar[Collection[str]] = (
        *MwaaOperator.text_fields, "destination", "requirements", "airflow_version", "constraints",
    )  # fmt: skip
    narrowing_fields: ClassVar[Collection[str]] = ("requirements", "airflow_version", "constraints")

    def __init__(
        self,
        *,
        destination: str,
        requirements: str | None = None,
        airflow_version: str | None = None,
        constraints: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.requirements = requirements
        self.airflow_version = airflow_version
        self.constraints = constraints

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Check, download, build, upload.

        :raises MwaaInputError: the file is not there, names no package or has errors, which the log lists, or the
            bucket has no versions; nothing was uploaded.
        :raises ResolverUnavailable: neither uv nor pip can be used, or something cannot be downloaded or built.
        :raises AccessDenied: the role may not write to the bucket.
        :raises AwsError: S3 refused, or did not answer.
        """
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
        from airflow_mwaa_provider.packaging.uploads import parse_s3_uri, upload_file

        self.read_rendered(required=("destination",))
        parse_s3_uri(self.destination)  # before the work, not after it
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
            packaged = self._package(Path(folder) / "plugins.zip")
            written, beside = packaged.zip, packaged.requirements
            assert written is not None
            assert beside is not None
            hook = MwaaEnvironmentHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)
            client = hook.aws_client("s3", attempts=1)
            lines_uri = f"{self.destination.rpartition('/')[0]}/{beside.name}"
            lines = upload_file(client, beside, lines_uri)
            uploaded = upload_file(client, written.path, self.destination)
        self.log.info(
            "%s: %d wheels, %d bytes, version %s. Give it to the environment with %s, version %s",
            self.destination, len(written.names), written.size_bytes, uploaded.version_id, lines_uri, lines.version_id,
        )  # fmt: skip
        return {
            "destination": self.destination,
            "version_id": uploaded.version_id,
            "changed": uploaded.changed,
            "size_bytes": written.size_bytes,
            "sha256": written.sha256,
            "wheels": list(written.names),
            "requirements": lines_uri,
            "requirements_version_id": lines.version_id,
        }

    def _package(self, zip_path: Path) -> OfflinePackage:
        from airflow_mwaa_provider.packaging.requirements.offline import package_offline

        home = os.environ.get("AIRFLOW_HOME", "/usr/local/airflow")
        requirements = self.requirements or f"{home}/requirements/requirements.txt"
        packaged = package_offline(
            Path(requirements),
            self.airflow_version or AIRFLOW_VERSION,
            zip_path,
            constraints=Path(self.constraints) if self.constraints else None,
        )
        for problem in packaged.report.problems:
            self.log.warning("%s", problem)
        errors = packaged.report.errors
        if errors:
            more = f" The log lists {len(errors) - 1} more." if len(errors) > 1 else ""
            raise MwaaInputError(f"{errors[0]}{more}")
        if packaged.zip is None:
            raise MwaaInputError(f"{requirements} names no package to install. Name one, or leave this task out.")
        return packaged
