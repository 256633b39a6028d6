# SPDX-License-Identifier: Apache-2.0
"""A fakesnow Snowflake, with a table of the sample database, that accepts one user. Run by ``scripts/fakesnow``.

Writes its port, and then each login as JSON, to stdout; ends when its stdin does, whose first line is the user
as JSON: what a login must tell, by its names in Snowflake's protocol.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import sys
import threading
from typing import Any

import uvicorn
from fakesnow.server import app, shared_fs
from starlette.requests import Request
from starlette.responses import JSONResponse

SEED = (
    "create database SNOWFLAKE_SAMPLE_DATA",
    "create schema SNOWFLAKE_SAMPLE_DATA.TPCH_SF1",
    "create table SNOWFLAKE_SAMPLE_DATA.TPCH_SF1.NATION (N_NATIONKEY int, N_NAME varchar, N_REGIONKEY int)",
    "insert into SNOWFLAKE_SAMPLE_DATA.TPCH_SF1.NATION values (0, 'ALGERIA', 0), (1, 'ARGENTINA', 1), (2, 'BRAZIL', 1)",
)
TOLD = {"databaseName", "schemaName", "warehouse", "roleName", "LOGIN_NAME", "PASSWORD", "ACCOUNT_NAME"}


class Door:
    """The server, behind a check of logins: fakesnow accepts all users."""

    def __init__(self, user: dict[str, str]) -> None:
        self._user = user

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/session/v1/login-request":
            await app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        text = gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body
        told = {**request.query_params, **json.loads(text)["data"]}
        told = {name: value for name, value in told.items() if name in TOLD}
        print(json.dumps(told), flush=True)
        if told != self._user:
            refused = {"success": False, "code": "390100", "message": "Incorrect username or password.", "data": {}}
            await JSONResponse(refused)(scope, receive, send)
            return

        async def again() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        await app(scope, again, send)


def main() -> None:
    connection = shared_fs.connect()
    for statement in SEED:
        connection.cursor().execute(statement)
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    user = json.loads(sys.stdin.readline())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    config = uvicorn.Config(Door(user), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
