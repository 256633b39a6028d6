# SPDX-License-Identifier: Apache-2.0
"""An environment's life, run by Airflow's own code on a separate database, with a clock that the test controls.

The clock runs in the past, so that times that Airflow sets now and those that it copies from long ago differ by days.
"""

from __future__ import annotations

import datetime as real
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy
from airflow.models import taskinstance
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskreschedule import TaskReschedule
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunType
from sqlalchemy.orm import Session

from airflow_mwaa_provider._compat import AIRFLOW_V_3, BaseOperator

if TYPE_CHECKING:
    from random import Random

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAGS, TASKS = ("etl", "report"), ("extract", "load", "approve")
ASSET = "s3://lake/orders"


class Clock:
    """Airflow's clock."""

    def __init__(self) -> None:
        self.now = BEGIN

    def module(self) -> Any:
        """Return a replacement for the module ``datetime`` in Airflow's own clock module."""

        class IsAny(type(real.datetime)):  # type: ignore[misc]
            def __instancecheck__(cls, instance: Any) -> bool:
                return isinstance(instance, real.datetime)

        class Moved(real.datetime, metaclass=IsAny):
            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> real.datetime:
                return self.now.astimezone(tz)

        module = type(real)("datetime")
        vars(module).update(vars(real), datetime=Moved)
        return module


class AirflowLife:
    """Random operations of Airflow on one database.

    :param url: SQLAlchemy URL of a migrated database.
    :param monkeypatch: pytest's; it sets Airflow's clock.
    """

    def __init__(self, url: str, random: Random, monkeypatch: Any) -> None:
        self.clock = Clock()
        self.random = random
        monkeypatch.setattr(taskinstance.timezone, "dt", self.clock.module())
        self._engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        self._number = 0
        self._dags: dict[str, Any] = {}
        self._late: Session | None = None
        with self._session() as session:
            for dag_id in DAGS:
                self._dags[dag_id] = _add_dag(dag_id, session)
        self._operations = [
            self.trigger, self.trigger, self.start, self.start, self.finish, self.finish, self.fail, self.clear,
            self.clear, self.write_note, self.push_xcom, self.render, self.reschedule, self.emit_event,
            self.consume_events, self.end_run, self.delete_run, self.write_late,
            *([self.ask_human, self.ask_human, self.answer] if AIRFLOW_V_3 else []),
        ]  # fmt: skip

    def close(self) -> None:
        self.end_late()
        self._engine.dispose()

    def go_on(self, steps: int) -> list[str]:
        """Run a number of operations, minutes to days apart; return their names."""
        done = []
        for _ in range(steps):
            self.clock.now += timedelta(seconds=self.random.choice([1, 70, 4000, 90_000]))
            operation = self.random.choice(self._operations)
            with self._session() as session:
                operation(session)
            done.append(operation.__name__)
        self.clock.now += timedelta(seconds=1)
        return done

    # -- what may happen --------------------------------------------------------------------------

    def trigger(self, session: Session) -> None:
        self._number += 1
        dag_id = self.random.choice(DAGS)
        given: dict[str, Any] = {
            "run_id": f"manual__{self._number}",
            "run_type": DagRunType.MANUAL,
            "state": DagRunState.RUNNING,
            "start_date": self.random.choice([None, self.clock.now]),
            "session": session,
        }
        if AIRFLOW_V_3:
            from airflow.utils.types import DagRunTriggeredByType

            given |= {"run_after": self.clock.now, "triggered_by": DagRunTriggeredByType.TEST}
        else:
            given |= {"execution_date": self.clock.now, "data_interval": (self.clock.now, self.clock.now)}
        self._dags[dag_id].create_dagrun(**given)

    def start(self, session: Session) -> None:
        if ti := self._task(session, None, TaskInstanceState.UP_FOR_RETRY, TaskInstanceState.UP_FOR_RESCHEDULE):
            ti.try_number += 1
            ti.set_state(TaskInstanceState.RUNNING, session=session)

    def finish(self, session: Session) -> None:
        if ti := self._task(session, TaskInstanceState.RUNNING):
            ti.set_state(self.random.choice([TaskInstanceState.SUCCESS, TaskInstanceState.FAILED]), session=session)

    def fail(self, session: Session) -> None:
        """Fail so that the task is retried."""
        if ti := self._task(session, TaskInstanceState.RUNNING):
            ti.max_tries = ti.try_number + 1
            session.flush()
            ti.handle_failure("no luck", session=session)

    def clear(self, session: Session) -> None:
        if run := self._run(session):
            found = [ti for ti in run.get_task_instances(session=session) if self.random.random() < 0.7]
            clear_task_instances(found, session)

    def write_note(self, session: Session) -> None:
        if run := self._run(session):
            self._number += 1
            of = self.random.choice([run, *run.get_task_instances(session=session)])
            of.note = f"note {self._number}"

    def push_xcom(self, session: Session) -> None:
        if AIRFLOW_V_3:
            from airflow.models.xcom import XComModel as XCom
        else:
            from airflow.models.xcom import XCom  # type: ignore[assignment,attr-defined,no-redef]

        if ti := self._task(session, TaskInstanceState.RUNNING, TaskInstanceState.SUCCESS):
            self._number += 1
            XCom.set(
                "return_value",
                self._number,
                dag_id=ti.dag_id,
                task_id=ti.task_id,
                run_id=ti.run_id,
                map_index=ti.map_index,
                session=session,
            )

    def render(self, session: Session) -> None:
        if ti := self._task(session, TaskInstanceState.RUNNING):
            self._number += 1
            ti.task = self._dags[ti.dag_id].get_task(ti.task_id)
            RenderedTaskInstanceFields(
                ti=ti, render_templates=False, rendered_fields={"sql": f"SELECT {self._number}"}
            ).write(session=session)

    def reschedule(self, session: Session) -> None:
        if ti := self._task(session, TaskInstanceState.RUNNING):
            now = self.clock.now
            of = (
                {"ti_id": ti.id}
                if AIRFLOW_V_3
                else {"task_id": ti.task_id, "dag_id": ti.dag_id, "run_id": ti.run_id, "try_number": ti.try_number}
            )
            session.add(
                TaskReschedule(start_date=ti.start_date, end_date=now, reschedule_date=now + timedelta(hours=1), **of)
            )
            ti.set_state(TaskInstanceState.UP_FOR_RESCHEDULE, session=session)

    def emit_event(self, session: Session) -> None:
        ti = self._task(session, TaskInstanceState.RUNNING, TaskInstanceState.SUCCESS)
        if AIRFLOW_V_3:
            from airflow.assets.manager import asset_manager
            from airflow.models.asset import AssetModel

            asset = session.scalars(sqlalchemy.select(AssetModel)).one()
            asset_manager.register_asset_change(task_instance=ti, asset=asset, session=session)
        else:
            from airflow.datasets import Dataset
            from airflow.datasets.manager import dataset_manager

            dataset_manager.register_dataset_change(task_instance=ti, dataset=Dataset(ASSET), session=session)

    def consume_events(self, session: Session) -> None:
        """Let a run consume events, as the scheduler does when it creates a run for them."""
        if AIRFLOW_V_3:
            from airflow.models.asset import AssetEvent as Event
        else:
            from airflow.models.dataset import DatasetEvent as Event  # type: ignore[no-redef]

        events = list(session.scalars(sqlalchemy.select(Event)))
        if (run := self._run(session)) and events:
            taken = run.consumed_asset_events if AIRFLOW_V_3 else run.consumed_dataset_events
            taken.extend(event for event in self.random.sample(events, min(2, len(events))) if event not in taken)

    def ask_human(self, session: Session) -> None:
        from airflow.models.hitl import HITLDetail

        ti = self._task(session, TaskInstanceState.RUNNING)
        if ti and session.get(HITLDetail, ti.id) is None:
            session.add(HITLDetail(ti_id=ti.id, options=["yes", "no"], subject="ship it?"))

    def answer(self, session: Session) -> None:
        from airflow.models.hitl import HITLDetail

        open_ones = list(session.scalars(sqlalchemy.select(HITLDetail)).unique())
        if open_ones:
            detail = self.random.choice(open_ones)
            detail.responded_at = self.clock.now
            detail.chosen_options = [self.random.choice(["yes", "no"])]

    def end_run(self, session: Session) -> None:
        if run := self._run(session):
            run.set_state(self.random.choice([DagRunState.SUCCESS, DagRunState.FAILED]))

    def delete_run(self, session: Session) -> None:
        if self.random.random() < 0.5 and (run := self._run(session)):
            session.delete(run)

    def write_late(self, session: Session) -> None:
        """Write rows that are committed only after the next export."""
        self.end_late()
        self._late = self._session()
        self._number += 1
        self._late.add(Log(event=f"late {self._number}"))
        self._late.flush()

    def end_late(self) -> None:
        if self._late is not None:
            self._late.commit()
            self._late.close()
            self._late = None

    # -- what it happens to -----------------------------------------------------------------------

    def _session(self) -> Session:
        class Committing(Session):
            def __exit__(self, *error: Any) -> None:
                if error[0] is None:
                    self.commit()
                super().__exit__(*error)

        return Committing(bind=self._engine)

    def _run(self, session: Session) -> Any:
        runs = list(session.scalars(sqlalchemy.select(DagRun).order_by(DagRun.id)))
        return self.random.choice(runs) if runs else None

    def _task(self, session: Session, *states: TaskInstanceState | None) -> Any:
        found = list(
            session.scalars(sqlalchemy.select(TaskInstance).order_by(TaskInstance.run_id, TaskInstance.task_id))
        )
        found = [ti for ti in found if ti.state in states]
        return self.random.choice(found) if found else None


def _add_dag(dag_id: str, session: Session) -> Any:
    """Store a DAG as the DAG processor does; return an object that creates its runs."""
    if not AIRFLOW_V_3:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from airflow.datasets import Dataset
            from airflow.models.dag import DAG
            from airflow.models.serialized_dag import SerializedDagModel
            from airflow.providers.fab.auth_manager.models import User  # noqa: F401 - notes refer to it

            with DAG(dag_id, start_date=BEGIN, schedule=None) as dag:
                for task_id in TASKS:
                    BaseOperator(task_id=task_id, outlets=[Dataset(ASSET)])
            DAG.bulk_write_to_db([dag], session=session)
            SerializedDagModel.write_dag(dag, session=session)
            return dag
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk import DAG, Asset
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    with DAG(dag_id, start_date=BEGIN, schedule=None) as dag:
        for task_id in TASKS:
            BaseOperator(task_id=task_id, outlets=[Asset(ASSET)])
    if session.get(DagBundleModel, "dags-folder") is None:
        session.add(DagBundleModel(name="dags-folder"))
        session.flush()
    lazy = LazyDeserializedDAG.from_dag(dag)
    SerializedDAG.bulk_write_to_db("dags-folder", None, [lazy], session=session)
    SerializedDagModel.write_dag(lazy, bundle_name="dags-folder", session=session)
    session.flush()
    return DBDagBag().get_latest_version_of_dag(dag_id, session=session)
