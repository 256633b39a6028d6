# SPDX-License-Identifier: Apache-2.0
"""MWAA's service model for versions of botocore that always add prefixes to host names.

Most of MWAA's operations are called at ``env.HOST`` or ``api.HOST``, and ``env.127.0.0.1`` is not a host. Newer
versions of botocore support AWS_DISABLE_HOST_PREFIX_INJECTION; those of the images up to Airflow 2.10 do not. All of
them read service models from AWS_DATA_PATH before their own, so such an environment gets a copy of its own botocore's
model of ``mwaa`` without the prefixes. Nothing else is changed, and no code of this package runs in its processes.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.machine.state import write_json

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE = "mwaa"


def heeds_variable(botocore: Path) -> bool:
    """Return whether a botocore (the package's folder) supports AWS_DISABLE_HOST_PREFIX_INJECTION."""
    try:
        return "AWS_DISABLE_HOST_PREFIX_INJECTION" in (botocore / "configprovider.py").read_text(encoding="utf-8")
    except OSError:
        return True


def write_without_host_prefix(botocore: Path, folder: Path) -> None:
    """Write a copy of a botocore's models of MWAA, without host prefixes, for AWS_DATA_PATH.

    :raises OSError: the models cannot be read, or the folder cannot be written.
    """
    for version in (botocore / "data" / _SERVICE).iterdir():
        plain, compressed = version / "service-2.json", version / "service-2.json.gz"
        if compressed.exists():
            model = json.loads(gzip.decompress(compressed.read_bytes()))
        elif plain.exists():
            model = json.loads(plain.read_bytes())
        else:
            continue
        for operation in model["operations"].values():
            operation.pop("endpoint", None)
        target = folder / _SERVICE / version.name
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(target / "service-2.json", model)
