# SPDX-License-Identifier: Apache-2.0
"""The only file that checks which Airflow it runs in. Everything version-dependent is imported from here.

It imports little on purpose, because parsing a DAG file imports it.
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

# Newer Airflow versions warn about the old module.
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
"""Base classes, which are imported on first use. Every process imports the plugins, and these need no base class."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def triggers_are_told_of_kills() -> bool:
    """Return whether this Airflow calls a trigger's ``on_kill``. Older versions only cancel the trigger."""
    return hasattr(import_module("airflow.triggers.base").BaseTrigger, "on_kill")


def metadata_dialect() -> str | None:
    """Return the dialect of Airflow's own database that this process is connected to; ``None`` if there is none."""
    engine = import_module("airflow.settings").engine
    return None if engine is None else str(engine.dialect.name)


def metadata_connection() -> Any:
    """Open a psycopg2 connection to the environment's own database, which tasks of Airflow 3 do not have.

    Airflow's own engine makes it, and therefore its event listeners, such as MWAA's for RDS tokens, apply. Then it is
    removed from the engine's pool, and the caller closes it.
    """
    errors = import_module("sqlalchemy.exc")
    try:
        pooled = import_module("airflow.settings").engine.raw_connection()
    except errors.DBAPIError as error:  # psycopg2's own error, which SQLAlchemy wraps in several lines
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
    """Mask a string, or each of several, as ``***`` in the logs of this process."""
    import_module("airflow.sdk.log" if AIRFLOW_V_3 else "airflow.utils.log.secrets_masker").mask_secret(text)


def keep_masked(texts: list[str]) -> None:
    """Mask strings as ``***`` in the logs of this process, also after Airflow 3.0 has reset its masks.

    It resets them in the supervisor of tasks, the triggerer and the DAG processor, after these have loaded plugins.
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
    """Return the string of a variable as a task gets it; ``None`` if it does not exist."""
    if AIRFLOW_V_3:
        found: str | None = import_module("airflow.sdk").Variable.get(key, default=None)
        return found
    text: str | None = import_module("airflow.models").Variable.get(key, default_var=None)
    return text


def auth_manager() -> Any:
    """Return the auth manager of this web server."""
    module = "airflow.api_fastapi.app" if AIRFLOW_V_3 else "airflow.www.extensions.init_auth_manager"
    return import_module(module).get_auth_manager()


def dag_access_entity(name: str) -> Any:
    """Return the auth manager's name of a part of a DAG: ``"XCOM"``, ``"AUDIT_LOG"``."""
    return getattr(_resource_details().DagAccessEntity, name)


def dag_details(dag_id: str) -> Any:
    """Return the auth manager's description of a DAG."""
    return _resource_details().DagDetails(id=dag_id)


def _resource_details() -> Any:
    package = "airflow.api_fastapi.auth" if AIRFLOW_V_3 else "airflow.auth"
    return import_module(f"{package}.managers.models.resource_details")


def api_user() -> Any:
    """Return the FastAPI dependency that identifies the caller and rejects one who is not logged in. Airflow 3 only."""
    return import_module("airflow.api_fastapi.core_api.security").get_user


def exempt_from_csrf(blueprint: Any) -> None:
    """Let a blueprint of Airflow 2's web server accept requests without a CSRF token."""
    import_module("airflow.www.app").csrf.exempt(blueprint)


def read_xcom(ti_key: Any, key: str) -> Any:
    """Read an XCom of a task instance where operator links are made: the web server on 2, the worker on 3."""
    module = "airflow.sdk.execution_time.xcom" if AIRFLOW_V_3 else "airflow.models.xcom"
    return import_module(module).XCom.get_value(ti_key=ti_key, key=key)


def current_context() -> Context:
    """Return the context of the running task."""
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
    """Return the type of the exception for a connection that does not exist."""
    found: type[Exception] = import_module(_EXCEPTIONS).AirflowNotFoundException
    return found


def sensor_timeout(message: str) -> Exception:
    """Make the exception of a sensor whose ``timeout`` has passed: Airflow does not retry it."""
    made: Exception = import_module(_EXCEPTIONS).AirflowSensorTimeout(message)
    return made


def default_deferrable() -> bool:
    """Return whether operators defer by default: Airflow's option ``operators.default_deferrable``."""
    module = "airflow.sdk.configuration" if AIRFLOW_V_3_2 else "airflow.configuration"
    return bool(import_module(module).conf.getboolean("operators", "default_deferrable", fallback=False))


def deferral_errors() -> tuple[type[Exception], ...]:
    """Return the types of the exceptions of a task whose deferral Airflow itself has ended, such as after a timeout."""
    module = import_module(_EXCEPTIONS)
    names = ("TaskDeferralError", "TaskDeferralTimeout")  # the second since 2.10 only
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def deferral_settles_s() -> float:
    """Return the seconds after which Airflow certainly knows that the process of a deferred task has ended.

    Airflow 3 may notice the end one heartbeat late. If the task has been resumed by then, the scheduler mistakes the
    end of the old process for that of the new one, and fails the task.
    """
    if not AIRFLOW_V_3:
        return 0.0
    module = "airflow.sdk.configuration" if AIRFLOW_V_3_2 else "airflow.configuration"
    return 1.0 + float(import_module(module).conf.getint("workers", "min_heartbeat_interval", fallback=5))


def first_start(sensor: BaseSensorOperator, context: Context) -> datetime:
    """Return when a sensor's current try began. With ``mode="reschedule"`` that is long before its current process."""
    ti: Any = context["ti"]
    found: datetime | None = None
    if sensor.reschedule and AIRFLOW_V_3:
        found = ti.get_first_reschedule_date(context)
    elif sensor.reschedule:
        found = _first_start_in_database(ti)
    if sensor.reschedule and found is None:
        found = getattr(ti, "start_date", None)  # as the next poke does
    return found or datetime.now(UTC)


def _first_start_in_database(ti: Any) -> Any:
    """Query what Airflow 2's own sensors query. Their function for that is private, and exists only since 2.10."""
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
    """Return whether the task of a trigger that is being cancelled still waits for it.

    It does if the triggerer stops, and does not if somebody has ended or cleared the task.
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
    """Return the object for Airflow's metrics, which has ``incr``, ``gauge`` and ``timing``."""
    if AIRFLOW_V_3_2:
        module = import_module("airflow.sdk.observability.stats")
        return module if hasattr(module, "incr") else module.Stats
    return import_module("airflow.stats").Stats


def secrets_backends() -> list[Any]:
    """Return the secrets backends of this process, in the order in which it tries them."""
    if AIRFLOW_V_3:
        supervisor = import_module("airflow.sdk.execution_time.supervisor")
        found: list[Any] = supervisor.ensure_secrets_backend_loaded()
    else:
        found = import_module("airflow.configuration").ensure_secrets_loaded()
    return found


def secrets_access_denied() -> type[Exception] | None:
    """Return the type of the exception that ends the search for a secret; ``None`` if this Airflow has none."""
    if not AIRFLOW_V_3_2:
        return None
    found: type[Exception] | None = getattr(
        import_module("airflow.sdk.exceptions"), "AirflowSecretsBackendAccessDenied", None
    )
    return found
