# SPDX-License-Identifier: Apache-2.0
"""What a daemon is asked to start; apart from it, because whoever asks needs nothing of what it imports."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

METRICS_INTERVAL_S = 60.0
"""MWAA's time between two publications of an environment's metrics."""


@dataclass(frozen=True)
class EnvironmentRequest:
    """One environment that shall run."""

    name: str
    python: str
    dags: str | None = None
    """A folder whose files are uploaded into the environment's bucket first."""
    bucket: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    """A file of this machine for each kind (the values of :class:`~airflow_mwaa_provider.local.runtime.FileKind`)
    that is uploaded first; empty for none. A kind that isn't named stays what it last was."""
    options: dict[str, str] = field(default_factory=dict)
    """AirflowConfigurationOptions, ``section.key``."""


@dataclass(frozen=True)
class UpRequest:
    """What the daemon shall start."""

    folder: str
    port: int
    """Of the endpoint; 0 for the last one, or one that is free."""
    region: str
    environments: list[EnvironmentRequest] = field(default_factory=list)
    mwaa_paths: bool = True
    """Whether environments' processes shall have ``/usr/local/airflow``, where the system permits it."""
    metrics_interval_s: float = METRICS_INTERVAL_S
    """Time between two publications of environments' metrics."""

    def to_json(self) -> str:
        """Return the request as the daemon reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> UpRequest:
        """Return the request that :meth:`to_json` wrote."""
        content = json.loads(text)
        environments = [EnvironmentRequest(**environment) for environment in content.pop("environments")]
        return cls(environments=environments, **content)
