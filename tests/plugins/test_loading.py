# SPDX-License-Identifier: Apache-2.0
"""Processes that load plugins as Airflow does, lazily or with Airflow itself: what they and their forks see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts.lib import canary

if TYPE_CHECKING:
    from tests.secrets.conftest import SecretsService

PROGRAM = """
import json, os, sys
from datetime import datetime
from importlib import import_module

def look():
    names = ("JAVA_HOME", "PATH", "DB_PASSWORD", "AIRFLOW_MWAA_ENV_ADDED")
    return {"TZ": os.environ.get("TZ"), "hour": datetime.fromtimestamp(1780315200).hour,
            **{name: os.environ.get(name) for name in names}}

sys.argv = ["airflow", "scheduler"]
import airflow.configuration
found = {"imported": look()}
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
found["plugins"] = sorted(each["name"] for each in plugins_manager.get_plugin_info())
found["loaded"] = look()
is_airflow_3 = int(airflow.__version__.partition(".")[0]) > 2
if is_airflow_3:
    try:
        from airflow.sdk import plugins_manager as of_tasks
        of_tasks._get_plugins()  # where the processes of tasks have plugins of their own
    except ImportError:
        pass
found["again"] = look()
places = ("airflow.sdk._shared.secrets_masker", "airflow.sdk.execution_time.secrets_masker")
for place in places if is_airflow_3 else ("airflow.utils.log.secrets_masker",):
    try:
        redact = import_module(place).redact
        break
    except ImportError:
        pass
found["logged"] = redact("the password is " + os.environ["DB_PASSWORD"])
found["lines"] = [redact(line) for line in os.environ["KEY_FILE"].splitlines()]  # as output of a task is logged
reader, writer = os.pipe()
if not os.fork():
    os.write(writer, json.dumps(look()).encode())
    os._exit(0)
os.close(writer)
found["forked"] = json.loads(os.read(reader, 100_000))
found["ours"] = sorted(name for name in sys.modules if name.startswith("airflow_mwaa_provider."))
print("RESULT" + json.dumps(found))
"""
OPTIONS = {
    "AIRFLOW__MWAA_PROVIDER__TASK_TIMEZONE": "America/Los_Angeles",
    "AIRFLOW__MWAA_PROVIDER__PATCH_VIRTUALENV": "True",
    "AIRFLOW__MWAA_ENV__JAVA_HOME": "/usr/lib/jvm/jre",
    "AIRFLOW__MWAA_ENV__PATH": "${PATH}:${JAVA_HOME}/bin",
    "AIRFLOW__MWAA_ENV__DB_PASSWORD": "secretsmanager://db#password",
    "AIRFLOW__MWAA_ENV__KEY_FILE": "secretsmanager://pem",
    "AIRFLOW__MWAA_ENV__AWS_REGION": "nowhere",
    "AIRFLOW__MWAA_ENV__AWS_ENDPOINT_URL": "http://${ENDPOINT}",  # the secrets before it are asked for there
}


def _run(home: Path, variables: dict[str, str]) -> tuple[dict[str, Any], str]:
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "TZ": "UTC", **variables}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    (result,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return json.loads(result.removeprefix("RESULT")), output.replace(result, "")


@pytest.mark.parametrize("is_lazy", [True, False])
def test_a_process_and_its_forks(secrets: SecretsService, tmp_path: Path, is_lazy: bool) -> None:
    secrets.put("pem", f"-----BEGIN KEY-----\nline-{canary.value()}\n-----END KEY-----\n")
    secrets.calls.clear()
    endpoint = secrets.url.removeprefix("http://")
    options = {**OPTIONS, "AIRFLOW__MWAA_ENV__ENDPOINT": endpoint, "AIRFLOW__CORE__LAZY_LOAD_PLUGINS": str(is_lazy)}
    found, output = _run(tmp_path, {**options, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    on = {
        "TZ": "America/Los_Angeles",
        "hour": 5,
        "JAVA_HOME": "/usr/lib/jvm/jre",
        "PATH": f"{os.environ['PATH']}:/usr/lib/jvm/jre/bin",
        "DB_PASSWORD": canary.value(),
        "AIRFLOW_MWAA_ENV_ADDED": "PATH",
    }
    off = {"TZ": "UTC", "hour": 12, "JAVA_HOME": os.environ.get("JAVA_HOME"), "PATH": os.environ["PATH"]}
    assert found["imported"] == ({**off, "DB_PASSWORD": None, "AIRFLOW_MWAA_ENV_ADDED": None} if is_lazy else on)
    assert found["loaded"] == found["again"] == found["forked"] == on
    # A disabled plugin is not even imported, also when its additions are listed.
    off_parts = ("metadata.", "monitoring.", "plugins.cleanup_service", "plugins.metadata_service", "plugins.libraries")
    assert [name for name in found["ours"] if name.partition(".")[2].startswith(off_parts)] == []
    assert {"mwaa_timezone", "mwaa_env_vars", "mwaa_virtualenv"} <= set(found["plugins"])
    assert found["logged"] == "the password is ***"
    assert found["lines"] == ["***", "***", "***"]
    assert secrets.reads() == 2
    assert output.count("MWAA reserves AWS_REGION") == 1
    assert output.count("mwaa_provider.patch_virtualenv: ") == 1
    assert canary.value() not in output
    if not is_lazy:
        # A process that inherits all this and the cache, like a task that is a separate program.
        inherited, _ = _run(
            tmp_path,
            {**options, **{name: on[name] for name in off if name != "hour"}, "AIRFLOW_MWAA_ENV_ADDED": "PATH"},
        )
        assert inherited["loaded"] == on
        assert secrets.reads() == 2
