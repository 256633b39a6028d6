# SPDX-License-Identifier: Apache-2.0
"""The examples of a task or two, run by ``dag.test()``."""

from __future__ import annotations

from tests.examples.dag_runs import run_dag


def test_a_configuration_option_is_printed() -> None:
    done = run_dag("print_configuration", "print_env_variable_example", {"section": "core", "key": "parallelism"})
    assert (done.state, done.returned) == ("success", {"email_backend_test": "32"})


def test_an_option_with_a_secret_is_not_printed() -> None:
    secret = "7f3a-not-to-be-seen"
    conf = {"section": "webserver", "key": "secret_key"}
    environment = {"AIRFLOW__WEBSERVER__SECRET_KEY": secret}
    done = run_dag("print_configuration", "print_env_variable_example", conf, environment)
    assert done.state == "failed"
    assert "webserver.secret_key holds a secret" in done.log
    assert secret not in done.log


def test_a_bash_command_is_run() -> None:
    done = run_dag("bash_command", "any_bash_command_dag", {"command": "echo it\\'s $((6 * 7))"})
    assert (done.state, done.returned) == ("success", {"bash_command": "it's 42"})
    failed = run_dag("bash_command", "any_bash_command_dag", {"command": "echo before; false; exit 3"})
    assert (failed.state, failed.tasks) == ("failed", {"bash_command": "failed"})
    assert "exit code 3" in failed.log
