# SPDX-License-Identifier: Apache-2.0
"""A run of a thousand task instances is listed as a whole, by a real Airflow 2 and a real Airflow 3."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.client.models import DagRunState, TaskState
from tests.integration.world import World

# Copies of a task that has ended, some of them mapped; in an order that is not that of their keys.
COPIES = """
INSERT INTO task_instance ({names}) SELECT {values} FROM task_instance t, generate_series(0, 999) n
WHERE t.dag_id = 'echo' AND t.run_id = %s AND t.task_id = 'answer' ORDER BY md5(n::text)
"""


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
        cursor.execute(
            "UPDATE task_instance SET hostname = 'moved' WHERE run_id = %s AND map_index %% 3 = 0", (run.run_id,)
        )
    try:
        found = environment.get_task_instances("echo", run.run_id)
        assert len({(row.task_id, row.map_index) for row in found}) == len(found) == 1001
        failed = environment.get_task_instances("echo", run.run_id, states=[TaskState.FAILED])
        assert len({(row.task_id, row.map_index) for row in failed}) == len(failed) == 250
        assert environment.get_dag_run("echo", run.run_id).state is DagRunState.SUCCESS
    finally:
        with world.metadata(env_name) as cursor:
            cursor.execute("DELETE FROM task_instance WHERE run_id = %s", (run.run_id,))
            cursor.execute("DELETE FROM dag_run WHERE run_id = %s", (run.run_id,))
