# SPDX-License-Identifier: Apache-2.0
"""The tables and columns of the metadata database that Airflow's own REST API shows, and their names there.

A column is listed only if the API shows the stored value unchanged. Left out are:

- what is no plain value: ``conf``, ``extra`` and other JSON, which arrives parsed, so that ``1.10`` and ``1.1`` are
  one; ``executor_config``, and ``conf`` of Airflow 2, which are pickled;
- what the API fills in where it is NULL: ``task_display_name``, ``dag_display_name``, ``rendered_map_index``,
  ``custom_operator_name``; ``owners``, and ``timetable_summary``, where different values look alike;
- what it shows only while something else is there: ``queued_by_job_id``;
- what it does not show: ``dag_run.id`` and ``conf``, ``log.owner_display_name``, ``updated_at``, ``slot_pool.id``, ...

Source: the API's schemas in Airflow 2.8.1, 2.9.2, 2.10.1, 2.10.3, 2.11.0, 2.11.2, 3.0.6, 3.2.1, 3.3.1 and 3.3.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError, TableNotFound
from airflow_mwaa_provider.metadata.catalog import registry
from airflow_mwaa_provider.metadata.catalog.schema import Column, Reference, Schema, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ExposedColumn",
    "Listing",
    "RestSchema",
    "RestTable",
    "TimeFilter",
    "parsed_version",
    "rest_schema",
    "rest_tables",
]


@dataclass(frozen=True)
class TimeFilter:
    """A time by which a list can be filtered.

    :param low: parameter for the start, which is included, or excluded if ``is_between``.
    :param high: parameter for the end, likewise.
    :param shown: the answer's field with the time, if any.
    :param order: the field to sort by, if the list can be sorted by the time.
    :param may_lack: without this filter, the list also shows rows without the time.
    """

    low: str
    high: str
    shown: str | None = None
    order: str | None = None
    is_between: bool = False
    may_lack: bool = False


@dataclass(frozen=True)
class Listing:
    """A list of the API.

    :param rows: the answer's field with the rows.
    :param fixed: parameters of every call.
    :param order: sorts by what identifies a row, at least in the end, if the list can be sorted.
    :param counts: ``total_entries`` is the number of rows that the filters let through, and not of all rows.
    :param by_dag: it accepts ``dag_ids``.
    """

    method: str
    path: str
    rows: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    order: str | None = None
    counts: bool = True
    by_dag: bool = False


@dataclass(frozen=True)
class ExposedColumn:
    """A column, and the field of an answer with its value; a dot leads into an object.

    :param since: the first version that shows it.
    """

    column: str
    kind: str
    field: str
    since: tuple[int, ...] = ()
    is_upper: bool = False


@dataclass(frozen=True)
class RestTable:
    """A table of the database, as the API shows it.

    :param key: fields of an answer that identify a row.
    :param listing: the list of its rows.
    :param born: a time that every row has and that never changes, by which a table is divided into pieces.
    :param began: the time of the row itself; rows that have not started do not have it.
    :param changes: another list, which can be filtered by ``changed``.
    :param changed: the time of a row's last change, which no answer shows.
    """

    name: str
    columns: tuple[ExposedColumn, ...]
    key: tuple[str, ...]
    key_columns: tuple[str, ...]
    listing: Listing
    born: TimeFilter | None = None
    began: TimeFilter | None = None
    changes: Listing | None = None
    changed: TimeFilter | None = None

    def fields_of(self, columns: tuple[str, ...]) -> list[str]:
        """Return the fields of these columns, as far as the API shows them."""
        shown = {item.column: item.field for item in self.columns}
        return [shown[name] for name in columns if name in shown]


@dataclass(frozen=True)
class RestSchema(Schema):
    """The tables that the API shows, with their columns.

    :param version: Airflow's.
    """

    version: str = ""

    @property
    def airflow_version(self) -> str | None:
        """The version that was given, because the API does not show the schema's revision."""
        return self.version

    def table(self, name: str) -> Table:
        """Return a table.

        :raises TableNotFound: the API does not show it.
        """
        if name not in self.tables:
            raise TableNotFound(
                f"Route rest cannot see table {name!r}: the REST API of Airflow {self.version} shows "
                f"{', '.join(self.tables)}. Routes database, mwaa_environment and api see all tables.",
                table=name,
            )
        return self.tables[name]


def rest_tables(airflow_version: str) -> dict[str, RestTable]:
    """Return the tables that this version's API shows.

    :raises MwaaInputError: it is not a version of Airflow 2 or 3.
    """
    version = parsed_version(airflow_version)
    tables = _tables_of_2(version) if version[0] == 2 else _tables_of_3()
    return {
        table.name: replace(table, columns=tuple(item for item in table.columns if item.since <= version))
        for table in tables
    }


def rest_schema(airflow_version: str) -> RestSchema:
    """Describe them as the catalog of a database does."""
    tables = {
        table.name: Table(
            name=table.name,
            columns=tuple(Column(item.column, item.kind) for item in table.columns),
            key=table.key_columns,
            references=_OF_A_RUN if table.name == "task_instance" else (),
        )
        for table in rest_tables(airflow_version).values()
    }
    return RestSchema("public", _revision_of(airflow_version), tables, version=airflow_version)


_OF_A_RUN = (Reference(("dag_id", "run_id"), "dag_run", ("dag_id", "run_id"), "c"),)


def parsed_version(airflow_version: str) -> tuple[int, ...]:
    """Parse a version of Airflow 2 or 3 into three numbers.

    :raises MwaaInputError: it is not such a version.
    """
    found = re.match(r"([23])\.(\d+)(?:\.(\d+))?", airflow_version)
    if found is None:
        raise MwaaInputError(
            f"airflow_version={airflow_version!r} is not a version of Airflow 2 or 3, such as '3.3.1'."
        )
    return tuple(int(part or 0) for part in found.groups())


def _revision_of(airflow_version: str) -> str:
    """Return the schema's revision for a version, because the API does not show it; empty for an unknown version."""
    version = parsed_version(airflow_version)
    known = sorted((parsed_version(release), revision) for revision, release in registry.REVISIONS.items())
    before = [(release, revision) for release, revision in known if release <= version]
    return before[-1][1] if before and before[-1][0][:2] == version[:2] else ""


def _shown(texts: str, *, since: tuple[int, ...] = ()) -> Iterator[ExposedColumn]:
    """Parse ``column kind [field]``, one for each column; by default the field has the column's name."""
    for text in texts.split(","):
        column, kind, *named = text.split()
        yield ExposedColumn(column, kind, named[0] if named else column, since)


def _tables_of_2(version: tuple[int, ...]) -> list[RestTable]:
    began = TimeFilter("start_date_gte", "start_date_lte", "start_date")
    changed = TimeFilter("updated_at_gte", "updated_at_lte")
    born = TimeFilter("execution_date_gte", "execution_date_lte", "execution_date")
    return [
        RestTable(
            "dag",
            tuple(_shown(
                "dag_id varchar, root_dag_id varchar, is_paused bool, is_subdag bool, is_active bool,"
                "last_parsed_time timestamptz, last_pickled timestamptz, last_expired timestamptz, scheduler_lock bool,"
                "pickle_id int4, fileloc varchar, description text, default_view varchar,"
                "timetable_description varchar, max_active_tasks int4, max_active_runs int4",
            )) + tuple(_shown("max_consecutive_failed_dag_runs int4", since=(2, 9))) + tuple(_shown(
                "has_task_concurrency_limits bool, has_import_errors bool, next_dagrun timestamptz,"
                "next_dagrun_data_interval_start timestamptz, next_dagrun_data_interval_end timestamptz,"
                "next_dagrun_create_after timestamptz",
            )),
            ("dag_id",), ("dag_id",),
            Listing("GET", "/dags", "dags", {"only_active": "false"}, order="dag_id"),
        ),
        RestTable(
            "dag_run",
            tuple(_shown(
                "dag_id varchar, execution_date timestamptz, start_date timestamptz, end_date timestamptz,"
                "state varchar, run_id varchar dag_run_id, external_trigger bool, run_type varchar,"
                "data_interval_start timestamptz, data_interval_end timestamptz, last_scheduling_decision timestamptz",
            )),
            ("dag_id", "dag_run_id"), ("dag_id", "run_id"),
            Listing("POST", "/dags/~/dagRuns/list", "dag_runs", order="id", by_dag=True),
            born=replace(born, order="execution_date"), began=replace(began, order="start_date"),
            changes=Listing("GET", "/dags/~/dagRuns", "dag_runs", order="id"), changed=changed,
        ),
        RestTable(
            "task_instance",
            tuple(_shown(
                "task_id varchar, dag_id varchar, run_id varchar dag_run_id, map_index int4, start_date timestamptz,"
                "end_date timestamptz, duration float8, state varchar, try_number int4, max_tries int4,"
                "hostname varchar, unixname varchar, pool varchar, pool_slots int4, queue varchar,"
                "priority_weight int4, operator varchar, queued_dttm timestamptz queued_when, pid int4,"
                "trigger_id int4 trigger.id",
            )) + tuple(_shown("executor varchar", since=(2, 10))),
            ("dag_id", "dag_run_id", "task_id", "map_index"), ("dag_id", "task_id", "run_id", "map_index"),
            # Version 1 sorts task instances by nothing.
            Listing("POST", "/dags/~/dagRuns/~/taskInstances/list", "task_instances", by_dag=True),
            born=born, began=began,
            changes=Listing("GET", "/dags/~/dagRuns/~/taskInstances", "task_instances"), changed=changed,
        ),
        RestTable(
            "log",
            tuple(_shown(
                "id int4 event_log_id, dttm timestamptz when, dag_id varchar, task_id varchar, event varchar,"
                "execution_date timestamptz, owner varchar, extra text",
            )) + tuple(_shown("run_id varchar", since=(2, 9)))
            + tuple(_shown("map_index int4, try_number int4", since=(2, 10))),
            ("event_log_id",), ("id",),
            Listing("GET", "/eventLogs", "event_logs", order="event_log_id", counts=version >= (2, 9)),
            began=TimeFilter("after", "before", "when", "when", is_between=True, may_lack=True),
        ),
        RestTable(
            "import_error",
            tuple(_shown(
                "id int4 import_error_id, timestamp timestamptz, filename varchar, stacktrace text stack_trace",
            )),
            ("import_error_id",), ("id",),
            Listing("GET", "/importErrors", "import_errors", order="import_error_id"),
        ),
        RestTable(
            "slot_pool",
            tuple(_shown("pool varchar name, slots int4, description text, include_deferred bool")),
            ("name",), ("pool",),
            Listing("GET", "/pools", "pools", order="id"),
        ),
        _dag_warning("/dagWarnings"),
    ]  # fmt: skip


def _tables_of_3() -> list[RestTable]:
    began = TimeFilter("start_date_gte", "start_date_lte", "start_date", "start_date")
    changed = TimeFilter("updated_at_gte", "updated_at_lte")
    born = TimeFilter("run_after_gte", "run_after_lte", "run_after")
    runs = [
        *_shown(
            "dag_id varchar, queued_at timestamptz, logical_date timestamptz, start_date timestamptz,"
            "end_date timestamptz, state varchar, run_id varchar dag_run_id, run_type varchar"
        ),
        # The database has the name of the enum's member, the API its value.
        ExposedColumn("triggered_by", "varchar", "triggered_by", is_upper=True),
        *_shown("triggering_user_name varchar", since=(3, 1)),
        *_shown(
            "data_interval_start timestamptz, data_interval_end timestamptz, run_after timestamptz,"
            "last_scheduling_decision timestamptz, bundle_version varchar"
        ),
        *_shown("partition_key varchar", since=(3, 2)),
        *_shown("partition_date timestamptz", since=(3, 3)),
    ]
    return [
        RestTable(
            "dag",
            tuple(_shown("dag_id varchar, is_paused bool, is_stale bool, last_parsed_time timestamptz"))
            + tuple(_shown("last_parse_duration float8", since=(3, 2)))
            + tuple(_shown(
                "last_expired timestamptz, fileloc varchar, relative_fileloc varchar, bundle_name varchar,"
                "bundle_version varchar, description text, timetable_description varchar",
            ))
            + tuple(_shown("timetable_partitioned bool", since=(3, 2)))
            + tuple(_shown("timetable_periodic bool", since=(3, 3)))
            + tuple(_shown(
                "max_active_tasks int4, max_active_runs int4, max_consecutive_failed_dag_runs int4,"
                "has_task_concurrency_limits bool, has_import_errors bool,"
                "next_dagrun timestamptz next_dagrun_logical_date,"
                "next_dagrun_data_interval_start timestamptz, next_dagrun_data_interval_end timestamptz,"
                "next_dagrun_create_after timestamptz next_dagrun_run_after",
            )),
            ("dag_id",), ("dag_id",),
            Listing("GET", "/dags", "dags", {"exclude_stale": "false"}, order="dag_id"),
        ),
        RestTable(
            "dag_run", tuple(runs), ("dag_id", "dag_run_id"), ("dag_id", "run_id"),
            Listing("POST", "/dags/~/dagRuns/list", "dag_runs", order="id", by_dag=True),
            born=replace(born, order="run_after"), began=began,
            changes=Listing("GET", "/dags/~/dagRuns", "dag_runs", order="id"), changed=changed,
        ),
        RestTable(
            "task_instance",
            tuple(_shown(
                "id uuid, task_id varchar, dag_id varchar, run_id varchar dag_run_id, map_index int4,"
                "start_date timestamptz, end_date timestamptz, duration float8, state varchar, try_number int4,"
                "max_tries int4, hostname varchar, unixname varchar, pool varchar, pool_slots int4, queue varchar,"
                "priority_weight int4, operator varchar, queued_dttm timestamptz queued_when,"
                "scheduled_dttm timestamptz scheduled_when, pid int4, executor varchar, trigger_id int4 trigger.id,"
                "dag_version_id uuid dag_version.id",
            )),
            ("id",), ("id",),
            Listing("POST", "/dags/~/dagRuns/~/taskInstances/list", "task_instances", order="id", by_dag=True),
            born=born, began=began,
            changes=Listing("GET", "/dags/~/dagRuns/~/taskInstances", "task_instances", order="id"), changed=changed,
        ),
        RestTable(
            "log",
            tuple(_shown(
                "id int4 event_log_id, dttm timestamptz when, dag_id varchar, task_id varchar, map_index int4,"
                "event varchar, logical_date timestamptz, run_id varchar, owner varchar, extra text, try_number int4",
            )),
            ("event_log_id",), ("id",),
            Listing("GET", "/eventLogs", "event_logs", order="event_log_id"),
            began=TimeFilter("after", "before", "when", "when", is_between=True),
        ),
        RestTable(
            "job",
            tuple(_shown(
                "id int4, dag_id varchar, state varchar, job_type varchar, start_date timestamptz,"
                "end_date timestamptz, latest_heartbeat timestamptz, executor_class varchar, hostname varchar,"
                "unixname varchar",
            )),
            ("id",), ("id",), Listing("GET", "/jobs", "jobs", order="id"),
        ),
        RestTable(
            "import_error",
            tuple(_shown(
                "id int4 import_error_id, timestamp timestamptz, filename varchar, bundle_name varchar,"
                "stacktrace text stack_trace",
            )),
            ("import_error_id",), ("id",), Listing("GET", "/importErrors", "import_errors", order="id"),
        ),
        RestTable(
            "slot_pool",
            tuple(_shown("pool varchar name, slots int4, description text, include_deferred bool"))
            + tuple(_shown("team_name varchar", since=(3, 2))),
            ("name",), ("pool",), Listing("GET", "/pools", "pools", order="id"),
        ),
        _dag_warning("/dagWarnings"),
        RestTable(
            "asset_event",
            tuple(_shown(
                "id int4, asset_id int4, source_task_id varchar, source_dag_id varchar, source_run_id varchar,"
                "source_map_index int4, timestamp timestamptz",
            )) + tuple(_shown("partition_key varchar", since=(3, 2))),
            ("id",), ("id",), Listing("GET", "/assets/events", "asset_events", order="timestamp"),
            began=TimeFilter("timestamp_gte", "timestamp_lte", "timestamp", "timestamp"),
        ),
    ]  # fmt: skip


def _dag_warning(path: str) -> RestTable:
    return RestTable(
        "dag_warning",
        tuple(_shown("dag_id varchar, warning_type varchar, message text, timestamp timestamptz")),
        ("dag_id", "warning_type"),
        ("dag_id", "warning_type"),
        Listing("GET", path, "dag_warnings", {"order_by": "dag_id"}),
    )
