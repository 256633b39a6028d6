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
    """Package the wheels of a requirements file as a plugins.zip in S3, for environments without a package index.

    The file is checked against what the environment's image would install. If it has errors, nothing is uploaded.
    Beside the zip, ``packaged_requirements.txt`` is uploaded. Its lines install from the zip: use it as the
    environment's new requirements.txt. An object that is in the bucket with the same content gets no new version.

    The worker needs access to the package index, and uv, or pip on Linux x86-64. The zip holds these wheels and no
    other plugins. To merge it with the environment's plugins, use ``airflow-mwaa package plugins``.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaOperator`.

    :param destination: address of the zip, ``s3://BUCKET/KEY`` (templated). The bucket must have versioning enabled.
    :param requirements: path of the file on the worker (templated). The default is the environment's own file, which
        MWAA has put into ``AIRFLOW_HOME``.
    :param airflow_version: Airflow version of the environment that will install it (templated). The default is the
        version that the task runs on.
    :param constraints: path of a copy of the constraints file that the requirements name (templated), if that file
        cannot be downloaded.
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
        """Check, download, build and upload.

        :raises MwaaInputError: the file does not exist, names no package or has errors, which are logged, or the bucket
            has no versioning. Nothing was uploaded.
        :raises ResolverUnavailable: neither uv nor pip can be used, or a package cannot be downloaded or built.
        :raises AccessDenied: the role may not write to the bucket.
        :raises AwsError: S3 rejected a request, or did not answer.
        """
        from airflow_mwaa_provider.packaging.uploads import parse_s3_uri, upload_file

        self.read_rendered(required=("destination",))
        parse_s3_uri(self.destination)  # fail before the work, not after it
        with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
            packaged = self._package(Path(folder) / "plugins.zip")
            written, beside = packaged.zip, packaged.requirements
            assert written is not None
            assert beside is not None
            client = self.hook_settings.aws_client("s3", attempts=1)
            lines_uri = f"{self.destination.rpartition('/')[0]}/{beside.name}"
            lines = upload_file(client, beside, lines_uri)
            uploaded = upload_file(client, written.path, self.destination)
        self.log.info(
            "%s: %d wheels, %d bytes, version %s. Update the environment with it and with %s, version %s",
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
