# SPDX-License-Identifier: Apache-2.0
"""The embedded PostgreSQL."""

from __future__ import annotations

import asyncio
import re

import psycopg2
import pytest

from airflow_mwaa_provider.local.airflow.metadata_databases import hash_password
from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import postgres, processes


def make_server(folder):
    return postgres.PostgresServer(folder / "postgres", processes.marked(folder), processes.PortAllocator())


def connect(server, database, password=None):
    return psycopg2.connect(
        host="127.0.0.1",
        port=server.port,
        user=postgres.AIRFLOW_USER,
        password=server.password if password is None else password,
        dbname=database,
    )


def test_life(tmp_path):
    async def scenario():
        server = make_server(tmp_path)
        await server.start()
        try:
            assert not await server.database_exists("one")
            await server.create_database("one")
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                connect(server, "one", "wrong")
            connection = connect(server, "one")
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE t AS SELECT 7 AS n")
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute("CREATE ROLE other")
            connection.close()
            await server.create_database("two", template="one")
            assert await server.execute("SELECT n FROM t", database="two") == [(7,)]
            await server.rename_database("two", "three")
            await server.drop_database("one")
            await server.drop_database("one")
            with pytest.raises(LocalMwaaError, match=r'PostgreSQL refused: .*"one"'):
                await server.execute("SELECT 1", database="one")
            first = server.port
        finally:
            await server.stop()
        assert processes.find(tmp_path) == []
        # The same data, port and passwords at the next start, by a new object.
        server = make_server(tmp_path)
        await server.start()
        try:
            assert await server.database_exists("three")
            assert server.port == first
            connect(server, "three").close()
        finally:
            await server.stop()

    asyncio.run(scenario())
    assert processes.find(tmp_path) == []
    assert (tmp_path / "postgres" / "record.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "postgres" / "data").stat().st_mode & 0o077 == 0


def test_a_killed_server_starts_again(tmp_path):
    async def scenario():
        server = make_server(tmp_path)
        await server.start()
        await server.create_database("kept")
        await asyncio.to_thread(processes.end_all, tmp_path, None, 0)
        server = make_server(tmp_path)
        await server.start()
        try:
            assert await server.database_exists("kept")
        finally:
            await server.stop()

    asyncio.run(scenario())


def test_an_interrupted_initdb_is_made_good(tmp_path):
    data = tmp_path / "postgres" / "data"
    (data / "base").mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")

    async def scenario():
        server = make_server(tmp_path)
        await server.start()
        await server.stop()

    asyncio.run(scenario())


def test_data_of_another_version_are_refused(tmp_path):
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(LocalMwaaError, match=r"are from PostgreSQL 9, but \d+ is installed: .*--purge"):
        asyncio.run(make_server(tmp_path).start())


def test_a_server_that_does_not_start_shows_its_log(tmp_path):
    async def scenario():
        server = make_server(tmp_path)
        await server.start()
        await server.stop()
        config = tmp_path / "postgres" / "data" / "postgresql.conf"
        config.write_text("no_such_setting = 1\n")
        await make_server(tmp_path).start()

    with pytest.raises(LocalMwaaError, match="PostgreSQL ended with status") as caught:
        asyncio.run(scenario())
    assert "no_such_setting" in caught.value.log_tail
    assert processes.find(tmp_path) == []


def test_database_names_are_apart_and_valid():
    names = {postgres.database_name(name) for name in ("a-b", "a_b", "A_B", "x" * 80, "x" * 79)}
    assert len(names) == 5
    assert all(re.fullmatch(r"airflow_[a-z0-9_]{1,55}", name) for name in names)


def test_password_hashes_are_werkzeugs():
    werkzeug = pytest.importorskip("werkzeug.security")
    assert werkzeug.check_password_hash(hash_password("secret"), "secret")
    assert not werkzeug.check_password_hash(hash_password("secret"), "other")
