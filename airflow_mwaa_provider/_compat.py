# SPDX-License-Identifier: Apache-2.0
"""The only file that asks which Airflow it runs in. Everything version-dependent is imported from here.

Import-light on purpose: DAG files are parsed through it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from airflow import __version__ as AIRFLOW_VERSION  # noqa: N812 - a constant here

_VERSION = tuple(int(part) for part in AIRFLOW_VERSION.split(".")[:2])
AIRFLOW_V_3 = _VERSION >= (3, 0)
AIRFLOW_V_3_1 = _VERSION >= (3, 1)
AIRFLOW_V_3_2 = _VERSION >= (3, 2)

if TYPE_CHECKING:
    from typing import Any

    from airflow.sdk import BaseHook as BaseHook
    from airflow.sdk import BaseOperator as BaseOperator
    from airflow.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.sdk import Context as Context
    from airflow.sdk.bases.sensor import BaseSensorOperator as BaseSensorOperator
    from airflow.triggers.base import BaseTrigger as BaseTrigger
    from airflow.triggers.base import TriggerEvent as TriggerEvent

__all__ = [
    "AIRFLOW_VERSION",
    "AIRFLOW_V_3",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "TriggerEvent",
    "api_user",
    "auth_manager",
    "connection_not_found",
    "current_context",
    "dag_access_entity",
    "dag_details",
    "default_deferrable",
    "deferral_errors",
    "deferral_settles_s",
    "exempt_from_csrf",
    "failure_without_retry",
    "fernet_key",
    "first_start",
    "is_still_deferred",
    "keep_masked",
    "mask_secret",
    "metadata_connection",
    "metadata_dialect",
    "read_xcom",
    "secrets_access_denied",
    "secrets_backends",
    "sensor_timeout",
    "skip_exception",
    "stats",
    "triggers_are_told_of_kills",
    "variable_or_none",
]

# Where these moved to, newer Airflows warn about the old place.
_EXCEPTIONS = "airflow.sdk.exceptions" if AIRFLOW_V_3_2 else "airflow.exceptions"


_SENSORS = "airflow.sdk.bases.sensor" if AIRFLOW_V_3 else "airflow.sensors.base"
_LAZY = {
    "BaseHook": "airflow.sdk" if AIRFLOW_V_3_1 else "airflow.hooks.base",
    "BaseOperator": "airflow.sdk" if AIRFLOW_V_3 else "airflow.models.baseoperator",
    "BaseOperatorLink": "airflow.sdk" if AIRFLOW_V_3 else "airflow.models.baseoperatorlink",
    "BaseSensorOperator": _SENSORS,
    "BaseTrigger": "airflow.triggers.base",
    "TriggerEvent": "airflow.triggers.base",
}
"""Base classes: imported when something is derived from them. Plugins need none, and every process imports those."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def triggers_are_told_of_kills() -> bool:
    """Whether this Airflow calls a trigger's ``on_kill``; older ones only cancel it."""
    return hasattr(import_module("airflow.triggers.base").BaseTrigger, "on_kill")


def metadata_dialect() -> str | None:
    """Name the kind of the database that this process is connected to as Airflow's own; ``None`` for none."""
    engine = import_module("airflow.settings").engine
    return None if engine is None else str(engine.dialect.name)


def metadata_connection() -> Any:
    """Open a psycopg2 connection to the environment's own database, where the process has one: not in a task of 3.

    It is made by Airflow's own engine, and so with what listens there, such as MWAA's tokens of RDS; then it is taken
    out of the engine's pool, and closed by whoever asked.
    """
    errors = import_module("sqlalchemy.exc")
    try:
        pooled = import_module("airflow.settings").engine.raw_connection()
    except errors.DBAPIError as error:  # psycopg2's own, in several lines of SQLAlchemy's
        raise (error.orig or error) from None
    except errors.TimeoutError:
        raise import_module("psycopg2").OperationalError("no connection of Airflow's pool is free") from None
    connection = pooled.dbapi_connection
    pooled.detach()
    return connection


def fernet_key() -> str:
    """Return the key, or keys with commas, that this environment's connections and variables are encrypted with."""
    module = "airflow.sdk.configuration" if AIRFLOW_V_3_2 else "airflow.configuration"
    return str(import_module(module).conf.get("core", "fernet_key", fallback="") or "")


def mask_secret(text: str | list[str]) -> None:
    """Let logs of this process show ``***`` in place of a text, or of each of several."""
    import_module("airflow.sdk.log" if AIRFLOW_V_3 else "airflow.utils.log.secrets_masker").mask_secret(text)


def keep_masked(texts: list[str]) -> None:
    """Let logs of this process show ``***`` in place of texts, also after Airflow 3.0 has taken its masks away.

    It does so where tasks are supervised, in the triggerer and in the DAG processor, after they have loaded plugins.
    """
    mask_secret(texts)
    if not AIRFLOW_V_3 or AIRFLOW_V_3_1:
        return
    masker = import_module("airflow.sdk.execution_time.secrets_masker")._secrets_masker()
    take_away = masker.reset_masker

    def reset_masker() -> None:
        take_away()
        masker.add_mask(texts)

    masker.reset_masker = reset_masker


def variable_or_none(key: str) -> str | None:
    """Return the text of a variable as a task gets it; ``None`` if there is none."""
    if AIRFLOW_V_3:
        found: str | None = import_module("airflow.sdk").Variable.get(key, default=None)
        return found
    text: str | None = import_module("airflow.models").Variable.get(key, default_var=None)
    return text


def auth_manager() -> Any:
    """Give what decides in this web server who may do what."""
    module = "airflow.api_fastapi.app" if AIRFLOW_V_3 else "airflow.www.extensions.init_auth_manager"
    return import_module(module).get_auth_manager()


def dag_access_entity(name: str) -> Any:
    """Give what belongs to a DAG, as the auth manager wants it named: ``"XCOM"``, ``"AUDIT_LOG"``."""
    return getattr(_resource_details().DagAccessEntity, name)


def dag_details(dag_id: str) -> Any:
    """Give a DAG as the auth manager wants it named."""
    return _resource_details().DagDetails(id=dag_id)


def _resource_details() -> Any:
    package = "airflow.api_fastapi.auth" if AIRFLOW_V_3 else "airflow.auth"
    return import_module(f"{package}.managers.models.resource_details")


def api_user() -> Any:
    """Give FastAPI's dependency that finds out who calls, and refuses who isn't logged in; since Airflow 3."""
    return import_module("airflow.api_fastapi.core_api.security").get_user


def exempt_from_csrf(blueprint: Any) -> None:
    """Let a blueprint of Airflow 2's web server take requests that carry no token of a form."""
    import_module("airflow.www.app").csrf.exempt(blueprint)


def read_xcom(ti_key: Any, key: str) -> Any:
    """Read an XCom of a task instance where an operator link is made: web server on 2, worker on 3."""
    module = "airflow.sdk.execution_time.xcom" if AIRFLOW_V_3 else "airflow.models.xcom"
    return import_module(module).XCom.get_value(ti_key=ti_key, key=key)


def current_context() -> Context:
    """Give the context of the task that is running."""
    module = "airflow.sdk" if AIRFLOW_V_3 else "airflow.operators.python"
    context: Context = import_module(module).get_current_context()
    return context


def skip_exception(message: str) -> Exception:
    """Make the exception that marks a task as skipped."""
    made: Exception = import_module(_EXCEPTIONS).AirflowSkipException(message)
    return made


def failure_without_retry(message: str) -> Exception:
    """Make the exception that fails a task for good, whatever its retries."""
    made: Exception = import_module(_EXCEPTIONS).AirflowFailException(message)
    return made


def connection_not_found() -> type[Exception]:
    """Give the exception that says that a connection isn't there."""
    found: type[Exception] = import_module(_EXCEPTIONS).AirflowNotFoundException
    return found


def sensor_timeout(message: str) -> Exception:
    """Make the exception of a sensor whose ``timeout`` has passed: Airflow does not retry it."""
    made: Exception = import_module(_EXCEPTIONS).AirflowSensorTimeout(message)
    return made


def default_deferrable() -> bool:
    """Whether operators shall defer where a DAG doesn't say: option ``operators.default_deferrable``."""
    module = "airflow.sdk.configuration" if AIRFLOW_V_3_2 else "airflow.configuration"
    return bool(import_module(module).conf.getboolean("operators", "default_deferrable", fallback=False))


def deferral_errors() -> tuple[type[Exception], ...]:
    """Give the exceptions that a task meets when Airflow itself has ended its deferral, such as after a time-out."""
    module = import_module(_EXCEPTIONS)
    names = ("TaskDeferralError", "TaskDeferralTimeout")  # the second since 2.10 only
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def deferral_settles_s() -> float:
    """Give the seconds after which Airflow surely knows that a process has ended whose task has deferred.

    Airflow 3 may notice it one heartbeat late. When the task was resumed by then, its scheduler takes the end of the
    old process for that of the new one, and fails the task.
    """
    if not AIRFLOW_V_3:
        return 0.0
    module = "airflow.sdk.configuration" if AIRFLOW_V_3_2 else "airflow.configuration"
    return 1.0 + float(import_module(module).conf.getint("workers", "min_heartbeat_interval", fallback=5))


def first_start(sensor: BaseSensorOperator, context: Context) -> datetime:
    """Say when a sensor's present try began: with ``mode="reschedule"`` that is long before its present process."""
    ti: Any = context["ti"]
    found: datetime | None = None
    if sensor.reschedule and AIRFLOW_V_3:
        found = ti.get_first_reschedule_date(context)
    elif sensor.reschedule:
        found = _first_start_in_database(ti)
    if sensor.reschedule and found is None:
        found = getattr(ti, "start_date", None)  # what the next poke is told
    return found or datetime.now(UTC)


def _first_start_in_database(ti: Any) -> Any:
    """Ask what Airflow 2's own sensors ask; its function for that is there since 2.10 only, and private."""
    model: Any = import_module("airflow.models.taskreschedule").TaskReschedule
    with import_module("airflow.utils.session").create_session() as session:
        return (
            session.query(model.start_date)
            .filter_by(dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)
            .filter_by(try_number=ti.try_number)
            .order_by(model.id)
            .limit(1)
            .scalar()
        )


async def is_still_deferred(trigger: Any) -> bool:
    """Whether the task of a trigger that is being cancelled still waits for it.

    It does when the triggerer goes down, and doesn't when somebody has ended or cleared it.
    """
    ti = trigger.task_instance
    if ti is None:
        return True
    from asgiref.sync import sync_to_async

    ask = _state_by_supervisor if AIRFLOW_V_3 else _state_in_database
    return bool(await sync_to_async(ask)(ti) == "deferred")


def _state_by_supervisor(ti: Any) -> Any:
    runner: Any = import_module("airflow.sdk.execution_time.task_runner").RuntimeTaskInstance
    states = runner.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    label = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return (states.get(ti.run_id) or {}).get(label)


def _state_in_database(ti: Any) -> Any:
    model: Any = import_module("airflow.models.taskinstance").TaskInstance
    with import_module("airflow.utils.session").create_session() as session:
        return (
            session.query(model.state)
            .filter_by(dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)
            .scalar()
        )


def stats() -> Any:
    """Give what takes Airflow's metrics: it has ``incr``, ``gauge`` and ``timing``."""
    if AIRFLOW_V_3_2:
        module = import_module("airflow.sdk.observability.stats")
        return module if hasattr(module, "incr") else module.Stats
    return import_module("airflow.stats").Stats


def secrets_backends() -> list[Any]:
    """Return the secrets backends that this process asks, in their order."""
    if AIRFLOW_V_3:
        supervisor = import_module("airflow.sdk.execution_time.supervisor")
        found: list[Any] = supervisor.ensure_secrets_backend_loaded()
    else:
        found = import_module("airflow.configuration").ensure_secrets_loaded()
    return found


def secrets_access_denied() -> type[Exception] | None:
    """Return the exception with which a secrets backend ends the search; ``None`` where Airflow knows none."""
    if not AIRFLOW_V_3_2:
        return None
    found: type[Exception] | None = getattr(
        import_module("airflow.sdk.exceptions"), "AirflowSecretsBackendAccessDenied", None
    )
    return found
