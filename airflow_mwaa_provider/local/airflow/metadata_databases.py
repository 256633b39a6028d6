# SPDX-License-Identifier: Apache-2.0
"""Metadata databases: one migrated template per Airflow installation, copied for every environment.

Creating Airflow's schema and roles takes an interpreter 10-20 s; a copy takes PostgreSQL half a second. The
template outlives the environments, so that only the very first start of an Airflow version pays for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.airflow import setup
from airflow_mwaa_provider.local.airflow.settings import Database
from airflow_mwaa_provider.local.machine import postgres

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_mwaa_provider.local.airflow.interpreter import Interpreter

log = logging.getLogger(__name__)

# The password has 190 random bits: more rounds would only make logins slow.
_PASSWORD_HASH_ROUNDS = 1000


_MEASURE = """
SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
       coalesce(extract(epoch FROM now() - min(queued_dttm) FILTER (WHERE state = 'queued')), 0),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
FROM task_instance WHERE state IN ('queued', 'running')
"""


@dataclass(frozen=True)
class DatabaseState:
    """The load of an environment's database: task instances by state, and connections."""

    queued: int
    running: int
    oldest_queued_s: float
    """How many seconds the first queued task has waited; 0 if none is queued."""
    connections: int


class MetadataDatabases:
    """The databases of all environments on one server."""

    def __init__(self, server: postgres.PostgresServer) -> None:
        self._server = server
        self._template_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def database(self, env_name: str, interpreter: Interpreter) -> Database:
        """Return the location of an environment's metadata, which may not exist."""
        name, driver = postgres.database_name(env_name), interpreter.async_driver
        return Database(
            url=self._server.url(name),
            # Empty: Airflow runs without its asynchronous engine, which only "wait for a DAG run" needs.
            async_url=self._server.url(name, driver) if driver else "",
            host=postgres.HOST,
            port=self._server.port,
            name=name,
            user=postgres.AIRFLOW_USER,
            password=self._server.password,
        )

    def url_without_password(self, env_name: str) -> str:
        """Return libpq's URL of an environment's database; the password is for PGPASSWORD."""
        return self._server.url_without_password(postgres.database_name(env_name))

    async def exists(self, env_name: str) -> bool:
        """Return whether the environment has a database."""
        return await self._server.database_exists(postgres.database_name(env_name))

    async def create(self, env_name: str, interpreter: Interpreter, set_up: Callable[[], Awaitable[None]]) -> None:
        """Create an environment's database, including schema and roles, and replace any existing one.

        :param set_up: lets the environment's Airflow fill the empty database; called for the first environment of
            an installation only, and must leave no connection open.
        """
        name, template = postgres.database_name(env_name), _template_name(interpreter)
        await self._server.drop_database(name)
        async with self._template_locks[template]:
            if await self._server.database_exists(template):
                await self._server.create_database(name, template)
                return
            log.info("creating the metadata schema of Airflow %s", interpreter.airflow_version)
            await self._server.create_database(name)
            await set_up()
            # Under another name first: a template with the right name is a finished one.
            unfinished = f"{template}_unfinished"
            await self._server.drop_database(unfinished)
            await self._server.create_database(unfinished, name)
            await self._server.rename_database(unfinished, template)

    async def drop(self, env_name: str) -> None:
        """Drop an environment's database, if it has one."""
        await self._server.drop_database(postgres.database_name(env_name))

    async def measure(self, env_name: str) -> DatabaseState:
        """Return the load of an environment's database.

        :raises LocalMwaaError: it cannot be read.
        """
        ((queued, running, oldest_s, connections),) = await self._server.execute(
            _MEASURE, (), postgres.database_name(env_name)
        )
        return DatabaseState(queued, running, max(0.0, float(oldest_s)), connections)

    async def set_admin_password(self, env_name: str, password: str) -> None:
        """Let the administrator log in with this password."""
        await self._server.execute(
            "UPDATE ab_user SET password = %s WHERE username = %s",
            (hash_password(password), setup.ADMIN),
            postgres.database_name(env_name),
        )


def hash_password(password: str) -> str:
    """Return a password's hash in werkzeug's form, which Airflow's user table uses."""
    salt = secrets.token_hex(8)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), _PASSWORD_HASH_ROUNDS)
    return f"pbkdf2:sha256:{_PASSWORD_HASH_ROUNDS}${salt}${digest.hex()}"


def make_fernet_key() -> str:
    """Return a random key for Airflow's encryption."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii")


def _template_name(interpreter: Interpreter) -> str:
    # Its providers may add tables and permissions, so there is one template per installation.
    identity = f"{interpreter.prefix}|{interpreter.airflow_version}|{interpreter.fab_version}"
    version = interpreter.airflow_version.replace(".", "_")
    return f"template_{version}_{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
