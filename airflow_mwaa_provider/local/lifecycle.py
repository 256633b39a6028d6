# SPDX-License-Identifier: Apache-2.0
"""Start, stop and inspect a local MWAA; used by the commands ``airflow-mwaa local …``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from airflow_mwaa_provider.local.airflow import interpreter
from airflow_mwaa_provider.local.airflow.settings import AwsWorld, without_proxy
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import postgres, processes, state
from airflow_mwaa_provider.local.up_request import METRICS_INTERVAL_S, UpRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_mwaa_provider.local.up_request import EnvironmentRequest

DAEMON_MODULE = "airflow_mwaa_provider.local.daemon"
_DEFAULT_REGION = "us-east-1"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_STOP_TIMEOUT_S = 20.0
_USABLE = {"AVAILABLE", "UPDATING", "UPDATE_FAILED", "ROLLING_BACK"}
_FULL_BELOW_BYTES = 16 * 1024 * 1024


def up(
    folder: Path,
    environments: Sequence[EnvironmentRequest],
    *,
    port: int = 0,
    region: str = "",
    mwaa_paths: bool = True,
    metrics_interval_s: float = METRICS_INTERVAL_S,
    on_progress: Callable[[str, str], None] = lambda _environment, _message: None,
) -> dict[str, Any]:
    """Start a local MWAA, and return its :func:`status` once all environments are available.

    If this call ends earlier, for example by an interrupt, everything that it has started is ended.

    :param port: the port of the endpoint; 0 for the last one, or a free one.
    :param region: the AWS region; empty for the last one, or us-east-1.
    :param mwaa_paths: show the environments' files in ``/usr/local/airflow`` to their own processes, if the system
        permits it.
    :param metrics_interval_s: the time between two publications of environments' metrics, at least 1.
    :param on_progress: called with an environment's name (empty for shared parts) and what it is doing.
    :raises LocalMwaaError: it is already running, or cannot be started; has the end of the log that shows why.
    """
    where = state.StateFolder(folder)
    _check(environments)
    _check_region(region)
    if not metrics_interval_s >= 1:
        raise LocalMwaaError("--metrics-interval must be at least 1s", misuse=True)
    where.create()
    if where.lock().is_held():
        raise LocalMwaaError(_runs_already(where))
    processes.end_all(where.path)
    if port and not processes.port_is_free(port):
        raise LocalMwaaError(f"port {port} of 127.0.0.1 is in use: choose another with --port, or leave it out")
    region = region or state.read_json(where.secrets_path).get("region", _DEFAULT_REGION)
    request = UpRequest(str(where), port, region, list(environments), mwaa_paths, metrics_interval_s)
    log_size = _size(where.daemon_log)
    daemon = _spawn(where, request.to_json())
    names_full_disk = False
    try:
        for event in _events(daemon):
            if event["event"] == "progress":
                on_progress(event["environment"], event["message"])
            elif event["event"] == "failed":
                names_full_disk = event["names_full_disk"]
                raise LocalMwaaError(event["error"], event["log_tail"], misuse=event["misuse"])
            else:
                return {"running": True, "folder": str(where), **event["status"]}
        log_tail = processes.tail(where.daemon_log) if _size(where.daemon_log) > log_size else ""
        raise LocalMwaaError(f"the daemon ended at once; its log is {where.daemon_log}", log_tail)
    except BaseException as error:
        _end(where, daemon.pid)
        if isinstance(error, LocalMwaaError) and not names_full_disk:
            raise _explained(error, where) from error
        raise
    finally:
        if daemon.stdout is not None:
            daemon.stdout.close()
        # It is not ours to wait for any more; this only keeps Python from warning about it.
        daemon.returncode = daemon.returncode or 0


def running(folder: Path, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the :func:`status` of a running local MWAA with these environments; None if none is running.

    :param names: empty for any.
    :raises LocalMwaaError: one is running, but lacks an environment, or one cannot be used, or it is just starting.
    """
    where = state.StateFolder(folder)
    now = status(folder)
    if not now["running"]:
        return None
    environments = now["environments"]
    for name in names:
        if name not in environments:
            raise LocalMwaaError(f"{_runs_already(where)}; it has no environment {name}")
        if environments[name]["status"] not in _USABLE:
            raise LocalMwaaError(f"{_runs_already(where)}; its environment {name} is {environments[name]['status']}")
    if not any(environment["status"] in _USABLE for environment in environments.values()):
        raise LocalMwaaError(f"{_runs_already(where)}; it is just starting")
    return now


def down(folder: Path, *, purge: bool = False) -> int:
    """End every process of a local MWAA, even if its daemon has died; return how many were ended.

    :param purge: also delete all data.
    :raises LocalMwaaError: a process cannot be ended, or the folder cannot be deleted.
    """
    where = state.StateFolder(folder)
    running = processes.find(where.path)
    daemon = next((process.pid for process in running if _is_daemon(process)), None)
    _end(where, daemon)
    if purge and where.path.exists():
        try:
            where.purge()
        except OSError as error:
            raise LocalMwaaError(f"can't remove {where}: {state.describe_os_error(error)}") from error
    return len(running)


def status(folder: Path) -> dict[str, Any]:
    """Return what is running: ``{"running": bool, "folder": …, "endpoint_url": …, "environments": {name: {…}}, …}``.

    ``running`` is also false if processes of a dead daemon are left; they are listed in ``left_over_pids``.
    """
    where = state.StateFolder(folder)
    if where.lock().is_held():
        return {"running": True, "folder": str(where), "environments": {}, **state.read_json(where.status_path)}
    left = [process.pid for process in processes.find(where.path)]
    return {"running": False, "folder": str(where), "environments": {}, "left_over_pids": left}


def client_variables(folder: Path, env_name: str | None = None) -> dict[str, str]:
    """Return the variables that point boto3, the AWS CLI, curl, the admin API and psql at a running local MWAA.

    :param env_name: the environment that AIRFLOW_MWAA_DATABASE_URL refers to; by default the only one.
    :raises LocalMwaaError: it is not running, or has no such environment.
    """
    where = state.StateFolder(folder)
    now = status(folder)
    if not now.get("endpoint_url"):
        raise LocalMwaaError(f"no local MWAA is running in {where}: start it with `airflow-mwaa local up`")
    kept = state.read_json(where.secrets_path)
    aws = AwsWorld(
        endpoint_url=now["endpoint_url"],
        access_key_id=kept["access_key_id"],
        secret_access_key=kept["secret_access_key"],
        region=now["region"],
        ca_bundle=where.ca_bundle,
    )
    # The user's own remain available, unless they come from an earlier call.
    data_paths = [str(where.aws_models), *os.environ.get("AWS_DATA_PATH", "").split(os.pathsep)]
    # With another session token from the caller's shell, these credentials would be invalid.
    left_over = [name for name in ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN") if os.environ.get(name)]
    return {
        **aws.variables(),
        **dict.fromkeys(left_over, ""),
        **_proxy_variables(now["environments"]),
        "AWS_DATA_PATH": os.pathsep.join(path for path in dict.fromkeys(data_paths) if path),
        "AIRFLOW_MWAA_LOCAL_ADMIN_URL": now["admin_url"],
        "AIRFLOW_MWAA_LOCAL_ADMIN_TOKEN": kept["admin_token"],
        **_database_variables(where, now["environments"], env_name),
    }


def _proxy_variables(environments: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the variables that exempt this machine from a proxy of the caller's shell; often none."""
    if not any(os.environ.get(name) for proxy in _PROXIES for name in (proxy, proxy.lower())):
        return {}
    return without_proxy(
        os.environ, [urlsplit(environment["url"]).hostname or "" for environment in environments.values()]
    )


def _database_variables(
    where: state.StateFolder, environments: dict[str, dict[str, Any]], env_name: str | None
) -> dict[str, str]:
    """Return each database's address in its own variable, and one environment's in the variable that commands read."""
    if env_name is not None and env_name not in environments:
        known = ", ".join(sorted(environments)) or "none"
        raise LocalMwaaError(f"no such environment: {env_name}. Choose a running one ({known}).", misuse=True)
    urls = {name: environment["database_url"] for name, environment in environments.items()}
    chosen = env_name or (next(iter(urls)) if len(urls) == 1 else None)
    return {
        **({"AIRFLOW_MWAA_DATABASE_URL": urls[chosen]} if chosen else {}),
        **{f"AIRFLOW_MWAA_DATABASE_URL_{name.upper().replace('-', '_')}": url for name, url in urls.items()},
        "PGPASSWORD": postgres.read_password(where.postgres),
    }


def _check(environments: Sequence[EnvironmentRequest]) -> None:
    if not environments:
        raise LocalMwaaError("name at least one environment with --environment", misuse=True)
    names = [state.check_environment_name(environment.name) for environment in environments]
    if len(set(names)) < len(names):
        raise LocalMwaaError("two environments have the same name", misuse=True)
    for environment in environments:
        if environment.dags is not None and not Path(environment.dags).is_dir():
            raise LocalMwaaError(f"no such folder: {environment.dags}. Check --dags.", misuse=True)
        for kind, path in environment.files.items():
            if path and not Path(path).is_file():
                raise LocalMwaaError(f"no such file: {path}. Check --{kind.replace('_', '-')}.", misuse=True)
    for python in {environment.python for environment in environments}:
        interpreter.inspect(python)


def _check_region(region: str) -> None:
    if not region:
        return
    import botocore.session

    # The AWS partition whose ARNs the local MWAA has.
    known = botocore.session.get_session().get_available_regions("ec2")
    if region not in known:
        raise LocalMwaaError(f"--region {region}: no such region. Choose {', '.join(known)}.", misuse=True)


def _spawn(where: state.StateFolder, request: str) -> subprocess.Popen[str]:
    try:
        with where.daemon_log.open("a") as log:
            where.daemon_log.chmod(0o600)
            daemon = subprocess.Popen(
                [sys.executable, "-m", DAEMON_MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env={**os.environ, **processes.marked(where.path)},
            )
        assert daemon.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; its log says why
            daemon.stdin.write(request)
            daemon.stdin.close()
    except OSError as error:
        raise LocalMwaaError(f"can't start the daemon: {state.describe_os_error(error)}") from error
    return daemon


def _events(daemon: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert daemon.stdout is not None
    for line in daemon.stdout:
        try:
            yield json.loads(line)
        except ValueError:
            continue  # a library that prints


def _end(where: state.StateFolder, daemon: int | None) -> None:
    """Let the daemon stop cleanly, then end what is left."""
    if daemon is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(daemon)
            process.terminate()
            psutil.wait_procs([process], timeout=_STOP_TIMEOUT_S)
    processes.end_all(where.path, grace_s=2.0)
    where.status_path.unlink(missing_ok=True)


def _is_daemon(process: psutil.Process) -> bool:
    try:
        return DAEMON_MODULE in process.cmdline()
    except psutil.Error:
        return False


def _runs_already(where: state.StateFolder) -> str:
    endpoint = status(where.path).get("endpoint_url")
    at = f" at {endpoint}" if endpoint else ""
    option = "" if where.path == state.StateFolder(state.DEFAULT_FOLDER).path else f" --folder {where}"
    remedy = f"`airflow-mwaa local down{option}` stops it, or choose another --folder"
    return f"a local MWAA is already running{at}: {remedy}"


def _explained(error: LocalMwaaError, where: state.StateFolder) -> LocalMwaaError:
    """Add to an error that the disk is full, which other programs' errors may not show."""
    try:
        is_full = shutil.disk_usage(where.path).free < _FULL_BELOW_BYTES
    except OSError:
        is_full = False
    # The error may come from other programs, through two processes: only their words are available.
    if not (is_full or "No space left" in str(error)):
        return error
    return LocalMwaaError(f"the disk of {where} is full ({state.DISK_FULL_REMEDY}): {error}", error.log_tail)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
