# SPDX-License-Identifier: Apache-2.0
"""Reach Airflow's metadata database, given connections and settings, by the route that works from here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider._compat import (
    AIRFLOW_V_3,
    AIRFLOW_VERSION,
    BaseHook,
    connection_not_found,
    metadata_connection,
    metadata_dialect,
)
from airflow_mwaa_provider.client.parameters import check_database_timeout, check_duration
from airflow_mwaa_provider.exceptions import MwaaInputError, NoMetadataRoute
from airflow_mwaa_provider.hooks.mwaa import MwaaEnvironmentHook
from airflow_mwaa_provider.metadata.cleaning.options import check_wait_timeout, read_place
from airflow_mwaa_provider.metadata.database import Database
from airflow_mwaa_provider.metadata.environment_source import measuring_ways, opened, source_ways
from airflow_mwaa_provider.metadata.export.run import ExportOptions, export_metadata
from airflow_mwaa_provider.metadata.measures import measure_database
from airflow_mwaa_provider.metadata.routes import CLEANUP_ROUTES, ROUTES, Way, check_route, choose_route
from airflow_mwaa_provider.metadata.sources import DatabaseSource
from airflow_mwaa_provider.metadata.storage.bucket import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.metadata.cleaners import Cleaner
    from airflow_mwaa_provider.metadata.cleanup import CleanupOptions
    from airflow_mwaa_provider.metadata.export.source import Progress, RowSource, ServerSource
    from airflow_mwaa_provider.metadata.manifest import Manifest
    from airflow_mwaa_provider.metadata.measures import Measures
    from airflow_mwaa_provider.metadata.routes import Choice

__all__ = ["CLEANUP_ROUTES", "ROUTES", "MetadataHook"]

_OF_ENVIRONMENT = ("api", "rest", "cli")

# The fields of a postgres connection's extra that are libpq's; the others are for Airflow's own hook.
_LIBPQ = {
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives", "keepalives_count",
    "keepalives_idle", "keepalives_interval", "options", "sslcert", "sslcrl", "sslkey", "sslmode", "sslpassword",
    "sslrootcert", "target_session_attrs", "tcp_user_timeout",
}  # fmt: skip


class MetadataHook(BaseHook):
    """Access to the metadata database of an Airflow.

    :param metadata_conn_id: a connection of type ``postgres`` to it. With ``"iam": true`` in its extra, an RDS token
        is generated for each connection instead of a password. ``None``: on Airflow 2, the environment's own database.
    :param route: ``"database"``, ``"mwaa_environment"`` (the settings of MWAA's containers, which are private details
        of its images), ``"api"`` (the plugin ``metadata_api`` of the web server of ``env_name``, which writes the rows
        to S3 itself), ``"rest"`` (the stock REST API of ``env_name``, which shows some tables; exports only),
        ``"cli"`` (Airflow's own ``db clean`` there; cleanups only), or ``"auto"``: the first that can be used. The log
        has a line for each route.
    :param env_name: the MWAA environment of routes ``api``, ``rest`` and ``cli``; ``None``: the one in which the task
        runs.
    :param aws_conn_id: connection for S3, for RDS tokens, and for the environment; of type ``aws`` or ``mwaa``.
    :param region_name: their region.
    :param verify: ``False`` or the path of a CA bundle, for AWS.
    :param botocore_config: keywords of botocore's ``Config``.
    """

    conn_name_attr = "metadata_conn_id"

    def __init__(
        self,
        metadata_conn_id: str | None = None,
        route: str = "auto",
        env_name: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_route(route, metadata_conn_id=metadata_conn_id)
        self.metadata_conn_id = metadata_conn_id
        self.route = route
        self.env_name = env_name or os.environ.get("AIRFLOW_ENV_NAME") or None
        self._aws_settings = (region_name, verify, botocore_config)
        self._aws = MwaaEnvironmentHook(aws_conn_id, *self._aws_settings)

    def get_conn(self) -> Any:
        """Open a psycopg2 connection in autocommit mode; the caller closes it."""
        return self.database()[0].open()

    def database(self) -> tuple[Database, str]:
        """Return the database and the route to it, without opening anything.

        :raises NoMetadataRoute: no database can be reached from here; the message says why.
        """
        if self.route in _OF_ENVIRONMENT:
            raise NoMetadataRoute(f"Route {self.route} opens no database here. Use route database or mwaa_environment.")
        choice = choose_route(self.route, self._database_ways(), self.log.debug)
        return choice.taken, choice.plan.route

    def _database_ways(self) -> list[Way[Database]]:
        def label(database: Database) -> str:
            return database.label

        return [
            Way("database", self._own_or_of_connection, label),
            Way("mwaa_environment", lambda: Database.from_mwaa_environment(os.environ), label),
        ]

    def _own_or_of_connection(self) -> Database:
        if self.metadata_conn_id:
            return self._of_connection(self.metadata_conn_id)
        if AIRFLOW_V_3:
            raise NoMetadataRoute(
                "No route to the metadata database: tasks of Airflow 3 cannot access it. Set metadata_conn_id, a "
                "postgres connection to it, or route='mwaa_environment' on MWAA; or env_name, for routes api and rest."
            )
        dialect = metadata_dialect()
        if dialect != "postgresql":
            raise NoMetadataRoute(
                f"The environment's own metadata database is {dialect or 'none'}, and MWAA's is PostgreSQL. Set "
                "metadata_conn_id, a postgres connection."
            )
        return Database(metadata_connection, "The environment's own metadata database")

    def _environment(self) -> MwaaEnvironment:
        if self.env_name is None:
            raise NoMetadataRoute(f"Route {self.route} needs an environment. Set env_name.")
        return self._aws.environment(self.env_name)

    def _chosen(self, *by_environment: Way[Any]) -> Choice[Any]:
        """Take a route: to the database, or by the environment's web server if an environment is named."""
        ways = self._database_ways()
        if self.route in _OF_ENVIRONMENT or self.env_name is not None:
            return choose_route(self.route, [*ways, *by_environment], self.log.info)
        left_out = {way.route: "no environment is named (env_name)" for way in by_environment}
        return choose_route(self.route, ways, self.log.info, left_out=left_out)

    @contextmanager
    def source(
        self, *, statement_timeout: timedelta = timedelta(hours=1), destination: tuple[str, str] | None = None
    ) -> Iterator[RowSource | ServerSource]:
        """Open a snapshot of the database, or an API that shows it.

        :param destination: bucket and prefix to write to; route ``api`` is used only if the server may write there.
        :raises NoMetadataRoute: no route can be used from here.
        :raises DatabaseUnavailable: the database could not be opened.
        """
        check_database_timeout(statement_timeout, "statement_timeout")
        check_route(self.route, ROUTES)
        choice = self._chosen(*source_ways(self._environment, destination))
        if not isinstance(choice.taken, Database):
            with opened(choice.taken) as source:
                yield source
            return
        with DatabaseSource(
            choice.taken,
            statement_timeout_s=statement_timeout.total_seconds(),
            route=choice.plan.route,
            airflow_version=None if self.metadata_conn_id else AIRFLOW_VERSION,  # the task's own environment
        ) as source:
            yield source

    def measure(self, *, statement_timeout: timedelta = timedelta(seconds=30)) -> Measures:
        """Measure the current contents of the database: runs and tasks by state, ages, and sizes.

        :param statement_timeout: the database cancels a query that takes longer, and its number is left out; route
            ``api`` has the web server's own limit, and ``rest`` has none.
        :raises NoMetadataRoute: no route can be used from here.
        :raises DatabaseUnavailable: the database could not be opened, or the connection was lost.
        """
        check_database_timeout(statement_timeout, "statement_timeout")
        check_route(self.route, ROUTES)
        taken = self._chosen(*measuring_ways(self._environment)).taken
        if isinstance(taken, Database):
            return measure_database(taken, statement_timeout_s=statement_timeout.total_seconds())
        measures: Measures = taken()
        return measures

    def export(
        self,
        bucket: str,
        options: ExportOptions,
        *,
        kms_key_id: str | None = None,
        bucket_owner: str | None = None,
        s3_conn_id: str | None = None,
        statement_timeout: timedelta = timedelta(hours=1),
        progress: Progress | None = None,
    ) -> Manifest:
        """Export tables to S3; see :func:`~airflow_mwaa_provider.metadata.export.run.export_metadata`.

        :param kms_key_id: encrypt the objects with this KMS key; ``None`` leaves it to the bucket.
        :param bucket_owner: account that must own the bucket.
        :param s3_conn_id: connection for S3, if it is not ``aws_conn_id``.
        """
        aws = self._aws if s3_conn_id is None else MwaaEnvironmentHook(s3_conn_id, *self._aws_settings)
        client = aws.aws_client("s3")
        with (
            self.source(statement_timeout=statement_timeout, destination=(bucket, options.prefix.strip("/"))) as source,
            Storage(client, bucket, kms_key_id=kms_key_id, owner=bucket_owner) as storage,
        ):
            return export_metadata(source, storage, options, progress=progress)

    def cleaner(
        self,
        options: CleanupOptions,
        *,
        archive_to: str | None = None,
        s3_conn_id: str | None = None,
        kms_key_id: str | None = None,
        bucket_owner: str | None = None,
        wait_timeout: timedelta = timedelta(0),
    ) -> Cleaner:
        """Choose a route, and return an object that plans a cleanup and runs it by this route.

        Opens no database. With route ``auto`` the environment's web server is asked whether it cleans.

        :param archive_to: ``s3://BUCKET/PREFIX``: archive rows there first, and delete only what was archived.
        :param wait_timeout: how long to wait for another cleanup to end.
        :raises NoMetadataRoute: no route can be used from here.
        :raises MwaaInputError: this route cannot archive, or the time to wait is negative.
        """
        # Imported here, because an export does not need it.
        from airflow_mwaa_provider.metadata.cleaners import DatabaseCleaner, environment_ways

        check_duration(wait_timeout, "wait_timeout", or_zero=True)
        check_route(self.route, CLEANUP_ROUTES)
        wait_timeout_s = wait_timeout.total_seconds()
        check_wait_timeout(wait_timeout_s)
        place = read_place(archive_to) if archive_to else None

        def environment() -> MwaaEnvironment:
            found = self._environment()
            if place is not None:
                raise MwaaInputError(
                    "archive_to needs a route to the database itself, such as metadata_conn_id: routes api and cli do "
                    "not archive. Export with MetadataToS3Operator first, and leave archive_to out."
                )
            return found

        ways = environment_ways(environment, self.route, options, self.log.info, wait_timeout_s=wait_timeout_s)
        choice = self._chosen(*ways)
        if not isinstance(choice.taken, Database):
            cleaner: Cleaner = choice.taken
            return cleaner
        archive = None
        if place is not None:
            aws = self._aws if s3_conn_id is None else MwaaEnvironmentHook(s3_conn_id, *self._aws_settings)
            client = aws.aws_client("s3")
            archive = (Storage(client, place.bucket, kms_key_id=kms_key_id, owner=bucket_owner), place.prefix)
        return DatabaseCleaner(
            choice.taken,
            options,
            self.log.info,
            route=choice.plan.route,
            archive=archive,
            wait_timeout_s=wait_timeout_s,
        )

    def _of_connection(self, conn_id: str) -> Database:
        try:
            connection = self.get_connection(conn_id)
        except connection_not_found():
            raise MwaaInputError(
                f"Connection {conn_id!r} is not defined, or may not be read. Define it with type postgres, or "
                "leave metadata_conn_id out."
            ) from None
        if connection.conn_type not in {"postgres", "postgresql"}:
            raise MwaaInputError(
                f"Connection {conn_id!r} is of type {connection.conn_type!r}, but the metadata database of MWAA is "
                "PostgreSQL. Use a connection of type postgres."
            )
        extra = dict(connection.extra_dejson)
        options: dict[str, Any] = {
            "host": connection.host or "localhost",
            "port": connection.port or 5432,
            "dbname": connection.schema or "airflow",
            **({"user": connection.login} if connection.login else {}),
            **{name: value for name, value in extra.items() if name in _LIBPQ},
        }
        if str(extra.get("iam", "")).lower() != "true":
            return Database.from_options(options, lambda: connection.password)
        rds = self._aws.aws_client("rds")

        def token() -> Any:
            return rds.generate_db_auth_token(
                DBHostname=options["host"], Port=options["port"], DBUsername=options.get("user")
            )

        return Database.from_options({"sslmode": "require", **options}, token)
