# SPDX-License-Identifier: Apache-2.0
"""The whole configuration of a hook as one value, which operators pass to triggers, and triggers to the database."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.parameters import major_version
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

__all__ = ["HookSettings"]


@dataclass(frozen=True)
class HookSettings:
    """The parameters of the hook, and those of its ``environment()``.

    It holds names of connections and no secrets, and consists of JSON types only.

    :param airflow_major: the Airflow version to assume where the role may not call GetEnvironment.
    """

    aws_conn_id: str | None = "aws_default"
    region_name: str | None = None
    verify: bool | str | None = None
    botocore_config: dict[str, Any] | None = None
    transport: str | None = None
    airflow_major: int | None = None

    @classmethod
    def of(cls, task: Any) -> HookSettings:
        """Read the settings from an operator or a sensor, whose parameters have the same names."""
        return cls(
            aws_conn_id=task.aws_conn_id,
            region_name=task.region_name,
            verify=task.verify,
            botocore_config=task.botocore_config,
            transport=getattr(task, "transport", None),
            airflow_major=major_version(getattr(task, "airflow_version", None)),
        )

    def environment(self, env_name: str) -> MwaaEnvironment:
        """Make a hook, and return the environment of that name. No call is made.

        :raises MwaaInputError: the connection, or a setting, cannot be used.
        """
        return self.hook().environment(env_name, transport=self.transport, airflow_major=self.airflow_major)

    def aws_client(self, service: str, **options: Any) -> Any:
        """Make a boto3 client of another AWS service, such as ``"s3"``, with the same credentials and region.

        :param options: those of the hook's ``aws_client()``.
        """
        return self.hook().aws_client(service, **options)

    def hook(self) -> MwaaEnvironmentHook:
        """Make a hook."""
        # Imported here, because it imports boto3 and the amazon provider, which parsing a DAG file must not load.
        from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook

        return MwaaEnvironmentHook(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)

    def serialize(self) -> dict[str, Any]:
        """Return the settings as JSON types; ``HookSettings(**result)`` makes them again.

        :raises MwaaInputError: ``botocore_config`` holds a value of another type.
        """
        fields = asdict(self)
        try:
            json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise MwaaInputError(f"botocore_config cannot be written as JSON: {error}.") from None
        return fields

    def key(self) -> str:
        """Return a string that is the same for equal settings."""
        return json.dumps(self.serialize(), sort_keys=True)
