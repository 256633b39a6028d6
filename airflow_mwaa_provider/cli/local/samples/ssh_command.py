# SPDX-License-Identifier: Apache-2.0
"""A command on another machine: what the SSH server there has run, for whom, and by which key."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_mwaa_provider.cli.local.samples.sample import Prepared, Sample
from airflow_mwaa_provider.client.models import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.cli.local.stage import Stage
    from airflow_mwaa_provider.client.models import DagRun


CONNECTION = "ssh_new"
SECRET = "ssh/ec2-user"  # noqa: S105 - its name
USER = "ec2-user"


@contextmanager
def _prepare(stage: Stage) -> Iterator[Prepared]:
    import asyncssh

    from airflow_mwaa_provider.local.stand_ins.ssh_server import ssh_server

    key = asyncssh.generate_private_key("ssh-ed25519")
    private = key.export_private_key("openssh").decode("ascii")
    public = key.export_public_key("openssh").decode("ascii")
    stage.put_secret(SECRET, private)
    with ssh_server({USER: public}) as server:
        extra = {"private_key_from": f"secretsmanager://{SECRET}", "host_key": server.host_key}
        stage.environment.connections.set(
            Connection(CONNECTION, "ssh", server.host, USER, port=server.port, extra=json.dumps(extra))
        )

        def outcome(run: DagRun) -> list[tuple[str, str]]:
            log = stage.log(run, "ssh_task")
            [command] = server.commands
            shown = any(line in log for line in private.splitlines()[1:-1])
            return [
                ("command", f"{command.command}: exit status {command.exit_status}"),
                ("it printed", command.stdout.strip()),
                ("user", command.user),
                (
                    "key of the user",
                    "the one in the secret" if command.fingerprint == key.get_fingerprint() else "another",
                ),
                ("key of the server", "not checked" if "was not checked" in log else "checked"),
                ("the private key in the task's log", "yes" if shown else "no"),
            ]

        yield Prepared(outcome)


SAMPLE = Sample(
    name="ssh_command",
    dag_id="ssh_operator_example",
    guide="Creating an SSH connection using the SSHOperator",
    shows="A task runs a command on another machine, with a private key from Secrets Manager.",
    against="an SSH server (asyncssh), with the key in Secrets Manager (moto)",
    packages={
        "airflow.providers.ssh": "apache-airflow-providers-ssh>=3.10",
        "asyncssh": "asyncssh>=2.14",
    },
    prepare=_prepare,
)
