# SPDX-License-Identifier: Apache-2.0
"""A Lambda function that triggers a DAG: ``airflow_mwaa_provider.aws_lambda.handler``.

It needs only boto3; ``airflow-mwaa package lambda`` builds its zip. It is invoked with a description of the run, or by
events of SQS, EventBridge and S3, whose content becomes the run's conf.

Its environment variables:

- ``MWAA_ENV_NAME``: the MWAA environment.
- ``MWAA_DAG_ID``: the DAG.
- ``MWAA_REGION``: region of the environment. The default is the function's region.
- ``MWAA_CONF``: a JSON object that is part of every run's conf. The event's keys override it.
- ``MWAA_TRANSPORT``: ``rest_api``, ``web_session`` or ``cli``. The default is the first that works. A zip without
  ``requests`` has only ``rest_api``.
- ``MWAA_AIRFLOW_MAJOR``: 2 or 3. The function then does not need permission to call GetEnvironment.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.aws_lambda_context import (
    control_plane,
    function_of,
    let_info_through,
    request_id_of,
    time_left,
)
from airflow_mwaa_provider.aws_lambda_events import is_s3_notification, messages_of, runs_of
from airflow_mwaa_provider.client.access import ClientSettings
from airflow_mwaa_provider.client.environment import MwaaEnvironment
from airflow_mwaa_provider.client.http.retrying import within
from airflow_mwaa_provider.client.parameters import check_transport, major_version, parse_datetime
from airflow_mwaa_provider.client.states import TransportName
from airflow_mwaa_provider.exceptions import CallTimeout, MwaaError, MwaaInputError, UnsupportedByTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_mwaa_provider.aws_lambda_events import Message, WantedRun

__all__ = ["MAX_CONF_BYTES", "VARIABLES", "handler"]

log = logging.getLogger(__name__)

VARIABLES = (
    "MWAA_ENV_NAME",
    "MWAA_DAG_ID",
    "MWAA_REGION",
    "MWAA_CONF",
    "MWAA_TRANSPORT",
    "MWAA_AIRFLOW_MAJOR",
)
"""The environment variables that the function reads."""

MAX_CONF_BYTES = 1024 * 1024
"""Limit of a run's conf as JSON, the size of the largest event or message. Airflow stores it in its database."""

_WITH_REQUESTS = "build the zip with `airflow-mwaa package lambda --with-requests`"


@dataclass(frozen=True)
class _Settings:
    env_name: str | None
    dag_id: str | None
    region_name: str | None
    conf: dict[str, Any] = field(repr=False)
    transport: str | None
    airflow_major: int | None


@dataclass(frozen=True)
class _Invocation:
    function: str | None
    left_s: Callable[[], float]


_environments: dict[tuple[str, str | None, str | None, int | None], MwaaEnvironment] = {}


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Trigger the run that an event requests. The same event, delivered again, returns the same run.

    The run's id is derived from the function and the event, so that neither Lambda's retries nor a queue's redeliveries
    create a second run. If the result of an attempt is unknown, such as after a lost answer, the function checks
    whether the run exists before it sends anything again.

    :param event: ``{"env_name", "dag_id", "run_id", "conf", "logical_date", "note"}``, each of them optional; or an
        event of SQS, EventBridge or S3, as AWS sends it.
    :param context: Lambda's context, whose remaining time limits all calls.
    :return: the run, ``{"env_name", "dag_id", "run_id", "state", "created"}``; for a notification of S3
        ``{"runs": [...]}``; for SQS ``{"batchItemFailures": [{"itemIdentifier": ...}]}``, the messages to deliver
        again.
    :raises MwaaInputError: the event or the function's environment variables cannot be used.
    :raises DagRunAlreadyExists: the run of the given ``run_id`` has another conf or logical date.
    :raises MwaaError: the run could not be triggered. Lambda retries an asynchronous invocation automatically.
    """
    let_info_through()
    invocation = _Invocation(function_of(context), time_left(context))
    messages = messages_of(event)
    if messages is not None:
        return {"batchItemFailures": [{"itemIdentifier": name} for name in _failed(messages, invocation)]}
    wanted = runs_of(event, request_id_of(context))
    settings = _settings(os.environ)
    runs = _trigger_all(wanted, settings, invocation)
    return {"runs": runs} if is_s3_notification(event) else runs[0]


def _failed(messages: list[Message], invocation: _Invocation) -> list[str]:
    """Return the ids of the messages without a run. In a FIFO queue, no message is processed after one of these."""
    settings = _settings(os.environ)
    failed: list[str] = []
    for message in messages:
        if failed and message.in_order:
            failed.append(message.message_id)
            continue
        try:
            _trigger_all(message.runs(), settings, invocation)
        except MwaaError as error:
            log.error("SQS message %r is returned to its queue: %s", message.message_id, error)
            failed.append(message.message_id)
    return failed


def _trigger_all(wanted: list[WantedRun], settings: _Settings, invocation: _Invocation) -> list[dict[str, Any]]:
    """Trigger each run, whether or not others fail. It is safe to repeat all of them."""
    runs: list[dict[str, Any]] = []
    errors: list[MwaaError] = []
    for run in wanted:
        try:
            runs.append(_trigger(run, settings, invocation))
        except MwaaError as error:
            errors.append(error)
            if len(wanted) > 1:
                log.error("%s: %s", run.label, error)
    if len(errors) > 1:
        raise MwaaError(
            f"{len(errors)} of {len(wanted)} records have no run. The log names all of them. The first: {errors[0]}",
            env_name=errors[0].env_name,
            transient=all(error.transient for error in errors),
            ambiguous=any(error.ambiguous for error in errors),
        ) from errors[0]
    if errors:
        raise errors[0]
    return runs


def _trigger(wanted: WantedRun, settings: _Settings, invocation: _Invocation) -> dict[str, Any]:
    env_name, dag_id = wanted.env_name or settings.env_name, wanted.dag_id or settings.dag_id
    if not env_name:
        raise MwaaInputError(f"{wanted.label} names no environment. Set MWAA_ENV_NAME, or give env_name in the event.")
    if not dag_id:
        raise MwaaInputError(f"{wanted.label} names no DAG. Set MWAA_DAG_ID, or give dag_id in the event.")
    conf = {**settings.conf, **wanted.conf}
    _check_size(conf, wanted.label)
    seconds = invocation.left_s()
    if seconds <= 0:
        raise CallTimeout(
            f"{wanted.label}: nothing was sent, because the function's time was over. Give the function a longer "
            "timeout, or smaller batches.",
            env_name=env_name,
            transient=True,
        )
    logical_date = parse_datetime(wanted.logical_date, "logical_date")
    environment = _environment(env_name, settings)
    run_id, former_run_id = wanted.run_ids_for(invocation.function)
    try:
        with within(seconds):
            run = environment.trigger_dag_run(
                dag_id,
                run_id,
                conf=conf,
                logical_date=logical_date,
                note=wanted.note,
                former_run_id=former_run_id,
                identified_by=wanted.compared_keys(),
            )
    except MwaaError as error:
        # A function lives for hours, and what it knows of the environment may be outdated.
        _forget(environment)
        if isinstance(error, UnsupportedByTransport) and not _has_requests():
            raise UnsupportedByTransport(f"{error} In Lambda, {_WITH_REQUESTS}.", env_name=env_name) from error
        raise
    done = "created" if run.created else "already exists"
    log.info("%s: environment %r, DAG %r, run %r %s", wanted.label, env_name, dag_id, run.run_id, done)
    return {
        "env_name": env_name,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state.value,
        "created": bool(run.created),
    }


def _check_size(conf: dict[str, Any], label: str) -> None:
    try:
        size = len(json.dumps(conf, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError, RecursionError) as error:
        raise MwaaInputError(f"{label}: the conf cannot be written as JSON ({error}).") from None
    if size > MAX_CONF_BYTES:
        raise MwaaInputError(
            f"{label}: the conf has {size} bytes, and {MAX_CONF_BYTES} are allowed. Store the data in S3, and put its "
            "address into the event."
        )


def _settings(variables: Mapping[str, str]) -> _Settings:
    try:
        conf = json.loads(variables.get("MWAA_CONF") or "{}")
    except ValueError as error:
        raise MwaaInputError(f"MWAA_CONF is not JSON ({error}). Write an object, such as {{}}.") from None
    if not isinstance(conf, dict):
        raise MwaaInputError("MWAA_CONF is JSON, but not an object. Write one, such as {}.")
    transport = variables.get("MWAA_TRANSPORT") or None
    try:
        check_transport(transport)
        major = major_version(variables.get("MWAA_AIRFLOW_MAJOR") or None)
    except MwaaInputError as error:
        raise MwaaInputError(f"The function's environment variables: {error}") from None
    return _Settings(
        env_name=variables.get("MWAA_ENV_NAME") or None,
        dag_id=variables.get("MWAA_DAG_ID") or None,
        region_name=variables.get("MWAA_REGION") or None,
        conf=conf,
        transport=transport,
        airflow_major=major,
    )


def _environment(env_name: str, settings: _Settings) -> MwaaEnvironment:
    """Return the client, which further invocations reuse."""
    key = (env_name, settings.region_name, settings.transport, settings.airflow_major)
    if key not in _environments:
        mwaa = control_plane(settings.region_name)
        transport = settings.transport
        if not _has_requests():
            if transport in (TransportName.WEB_SESSION, TransportName.CLI):
                raise UnsupportedByTransport(
                    f"MWAA_TRANSPORT={transport!r} needs the package requests, which is not installed. Either "
                    f"{_WITH_REQUESTS}, or unset MWAA_TRANSPORT.",
                    env_name=env_name,
                )
            if not mwaa.supports_invoke_rest_api:
                raise UnsupportedByTransport(
                    f"Environment {env_name!r}: the boto3 of this runtime has no InvokeRestApi, which needs "
                    f"1.35.43 or later. Either {_WITH_REQUESTS}, or add a newer boto3 to the zip or in a layer.",
                    env_name=env_name,
                )
            # Forced, so that an error is about a transport that is available here, not about the next one.
            transport = TransportName.REST_API
        client = ClientSettings(transport=transport, airflow_major=settings.airflow_major)
        _environments[key] = MwaaEnvironment(mwaa, env_name, client)
    return _environments[key]


def _forget(environment: MwaaEnvironment) -> None:
    for key in [key for key, kept in _environments.items() if kept is environment]:
        del _environments[key]


def _has_requests() -> bool:
    return find_spec("requests") is not None
