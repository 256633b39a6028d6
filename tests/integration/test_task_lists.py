# SPDX-License-Identifier: Apache-2.0
"""A run of a thousand task instances is listed completely while it runs, by a real Airflow 2 and 3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_mwaa_provider.client.models import TaskState
from tests.integration.world import World

# Copies of a finished task, some of them mapped, in an order other than that of their keys.
COPIES = """
INSERT INTO task_instance ({names}) SELECT {values} FROM task_instance t, generate_series(0, 999) n
WHERE t.dag_id = 'echo' AND t.run_id = %s AND t.task_id = 'answer' ORDER BY md5(n::text)
"""


@contextmanager
def busy(world: World, env_name: str, run_id: str) -> Iterator[None]:
    """As in an unfinished run: rows change, and PostgreSQL moves changed rows in the table."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(0.05):  # several times between two pages; more often would overload PostgreSQL
            with world.metadata(env_name) as cursor:
                cursor.execute(
                    "UPDATE task_instance SET hostname = md5(random()::text) WHERE run_id = %s AND random() < 0.2",
                    (run_id,),
                )

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.mark.parametrize("transport", ["web_session", "cli"])
def test_a_run_of_a_thousand_tasks(world: World, env_name: str, transport: str) -> None:
    environment = world.environment(env_name, transport)
    run = environment.trigger_dag_run("echo")
    environment.wait_for_dag_run("echo", run.run_id, timeout_s=120)
    with world.metadata(env_name) as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'task_instance'::regclass AND attnum > 0 "
            "AND NOT attisdropped"
        )
        columns = [row[0] for row in cursor.fetchall()]
        own = {
            "id": "gen_random_uuid()",
            "task_id": "CASE WHEN n < 400 THEN 'mapped' WHEN n < 600 THEN 'task_' || n ELSE 'other' END",
            "map_index": "CASE WHEN n BETWEEN 400 AND 599 THEN -1 ELSE n END",
            "state": "CASE WHEN n %% 4 = 0 THEN 'failed' ELSE 'success' END",
        }
        names = ", ".join(f'"{name}"' for name in columns)
        values = ", ".join(own.get(name, f't."{name}"') for name in columns)
        cursor.execute(COPIES.format(names=names, values=values), (run.run_id,))
        assert cursor.rowcount == 1000
    try:
        with busy(world, env_name, run.run_id):
            for _ in range(2):
                found = environment.get_task_instances("echo", run.run_id)
                assert len({(row.task_id, row.map_index) for row in found}) == len(found) == 1001
        failed = environment.get_task_instances("echo", run.run_id, states=[TaskState.FAILED])
        assert len({(row.task_id, row.map_index) for row in failed}) == len(failed) == 250
    finally:
        with world.metadata(env_name) as cursor:
            cursor.execute("DELETE FROM task_instance WHERE run_id = %s", (run.run_id,))
            cursor.execute("DELETE FROM dag_run WHERE run_id = %s", (run.run_id,))
