# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL with the schema of the Airflow that runs the tests, and a real S3 (moto) over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import psycopg2
from botocore.config import Config

from airflow_mwaa_provider.local.machine.moto_server import MotoServer
from airflow_mwaa_provider.local.machine.postgres import AIRFLOW_USER, PostgresServer
from airflow_mwaa_provider.local.machine.processes import PortAllocator
from airflow_mwaa_provider.metadata.database import Database
from scripts.lib import canary
from tests.metadata.kept_server import KeptServer

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

REGION = "eu-west-1"
TEMPLATE = "airflow_template"


class _NewPorts(PortAllocator):
    """Never returns a port twice: all copies of one server would use the server's port."""

    def take(self, preferred: int | None = None) -> int:
        return super().take()


class Lab:
    """Both servers, and the event loop that starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        ports = _NewPorts()
        marker = {"AIRFLOW_MWAA_TEST_LAB": str(folder)}
        self.postgres = PostgresServer(folder / "postgres", marker, ports)
        self.moto = MotoServer(folder, marker, ports, REGION)
        self._started_moto = False
        self._s3: Any = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=120)

    def start_postgres(self) -> None:
        self.run(self.postgres.start())

    def start_with_template(self) -> None:
        """Start PostgreSQL with the migrated database :data:`TEMPLATE`, created now or kept from another run."""
        settings = {name: value for name, value in _settings().items() if name.startswith("AIRFLOW__")}
        kept, server = KeptServer(json.dumps([settings, CELERY_TABLES], sort_keys=True)), self.folder / "postgres"
        if not kept.copy_to(server):
            with kept.alone():
                if not kept.copy_to(server):
                    self.start_postgres()
                    self.migrate(TEMPLATE)
                    self.run(self.postgres.stop())
                    kept.keep(server)
        self.start_postgres()

    def start_moto(self) -> None:
        if not self._started_moto:
            self.run(self.moto.start())
            self._started_moto = True

    def stop(self) -> None:
        if self._s3 is not None:
            self._s3.close()
        if self._started_moto:
            self.run(self.moto.stop())
        self.run(self.postgres.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        try:
            canary.check(self.folder)
        finally:
            shutil.rmtree(self.folder)

    def migrate(self, name: str, python: str = sys.executable) -> None:
        """Create a database with Airflow's own tables, and celery's as its worker would create them."""
        self.run(self.postgres.create_database(name))
        variables = {
            **_settings(),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url(name),
            "AIRFLOW_HOME": str(self.folder / f"airflow-{name}"),
        }
        subprocess.run(
            [python, "-m", "airflow", "db", "migrate"], env=variables, check=True, capture_output=True, timeout=200
        )
        self.execute(name, CELERY_TABLES)

    def copy(self, template: str = TEMPLATE) -> str:
        name = f"airflow_{uuid.uuid4().hex[:12]}"
        # Copied as files: the default logs all pages, which takes twice as long.
        self.run(
            self.postgres.execute(f"CREATE DATABASE {name} OWNER {AIRFLOW_USER} TEMPLATE {template} STRATEGY file_copy")
        )
        return name

    def drop(self, name: str) -> None:
        """Drop a database that is no longer needed, before all of its hundreds of files are flushed to the disk."""
        self.run(self.postgres.drop_database(name))

    def connect(self, name: str) -> Any:
        connection = psycopg2.connect(self.postgres.url(name, "x").replace("postgresql+x", "postgresql"))
        connection.autocommit = True
        return connection

    def execute(self, name: str, *statements: str) -> None:
        connection = self.connect(name)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def database(self, name: str) -> Database:
        return Database.from_url(self.postgres.url(name))

    def s3(self) -> Any:
        """Return the client that all tests share: creating one, with its connection, takes longer than most calls."""
        self.start_moto()
        if self._s3 is None:
            self._s3 = boto3.client(
                "s3",
                endpoint_url=self.moto.url,
                region_name=REGION,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
                config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}),
            )
        return self._s3

    def bucket(self) -> str:
        name = f"export-{uuid.uuid4().hex[:12]}"
        self.s3().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name


def _settings() -> dict[str, str]:
    return {**os.environ, "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False"}


# As celery 5's database backend creates them.
CELERY_TABLES = """
CREATE TABLE IF NOT EXISTS celery_taskmeta (
    id integer PRIMARY KEY, task_id varchar(155) UNIQUE, status varchar(50), result bytea,
    date_done timestamp without time zone, traceback text, name varchar(155), args bytea, kwargs bytea,
    worker varchar(155), retries integer, queue varchar(155));
CREATE TABLE IF NOT EXISTS celery_tasksetmeta (
    id integer PRIMARY KEY, taskset_id varchar(155) UNIQUE, result bytea, date_done timestamp without time zone)
"""
