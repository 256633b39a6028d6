# SPDX-License-Identifier: Apache-2.0
"""The SSH sample in running Airflows: what the server has run, and by which key."""

from __future__ import annotations

import socket

from tests.integration import samples
from tests.integration.world import World


def test_ssh_command(world: World, env_name: str) -> None:
    assert samples.run(world, env_name, "ssh_command") == {
        "command": "hostname: exit status 0",
        "it printed": socket.gethostname(),
        "user": "ec2-user",
        "key of the user": "the one in the secret",
        "key of the server": "checked",
        "the private key in the task's log": "no",
    }
