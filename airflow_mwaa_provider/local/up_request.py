# SPDX-License-Identifier: Apache-2.0
"""What a daemon is asked to start. This is a separate file, because callers do not need the daemon's imports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

METRICS_INTERVAL_S = 60.0
"""The time between two publications of an environment's metrics on MWAA."""


@dataclass(frozen=True)
class EnvironmentRequest:
    """One environment to run."""

    name: str
    python: str
    dags: str | None = None
    """A folder whose files are uploaded to the environment's bucket first."""
    bucket: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """The file to upload for each kind (the values of :class:`~airflow_mwaa_provider.local.runtime.FileKind`); empty
    for none. Other kinds keep their last file."""
    options: dict[str, str] = field(default_factory=dict)
    """AirflowConfigurationOptions, ``section.key``."""


@dataclass(frozen=True)
class UpRequest:
    """What the daemon is to start."""

    folder: str
    port: int
    """The port of the endpoint; 0 for the last one, or a free one."""
    region: str
    environments: list[EnvironmentRequest] = field(default_factory=list)
    mwaa_paths: bool = True
    """Whether environments' processes get ``/usr/local/airflow``, if the system permits it."""
    metrics_interval_s: float = METRICS_INTERVAL_S
    """The time between two publications of environments' metrics."""

    def to_json(self) -> str:
        """Return the request as the daemon reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> UpRequest:
        """Return the request that :meth:`to_json` wrote."""
        content = json.loads(text)
        environments = [EnvironmentRequest(**environment) for environment in content.pop("environments")]
        return cls(environments=environments, **content)
