# SPDX-License-Identifier: Apache-2.0
"""Locate and open a metadata database: by a URL, an engine's connections, or the variables of an MWAA container."""

from __future__ import annotations

import json
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg2
import psycopg2.extensions

from airflow_mwaa_provider.exceptions import (
    DatabaseRefused,
    DatabaseUnavailable,
    MetadataError,
    MwaaInputError,
    NoMetadataRoute,
)
from airflow_mwaa_provider.metadata.interruptible import InterruptibleCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

__all__ = ["BEGIN", "Database", "ask_if_it_can", "database_errors"]

# The values of MWAA's own images, with which a network that drops packets is detected within a minute.
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 5}
_CONNECT_TIMEOUT_S = 15
_LOCK_TIMEOUT_S = 10
_IAM_USER = "airflow_user"
# Not supported, not in this state, not allowed, not there.
_CANNOT = {"0A000", "55000", "42501", "42883"}
_METADATA_TIMEOUT_S = 5.0

# One transaction for everything, with every value written in the same format whatever the server's defaults are. SET
# LOCAL, because MWAA's database is behind RDS Proxy, where session settings would pin the connection.
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    # Both make the order of rows random, but a repeated export must write the same objects.
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
}


BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Begin a transaction that sees what others commit while it runs, whatever the server's default is."""


class Database:
    """A PostgreSQL database that can be opened any number of times. Creating the object opens nothing.

    :param connect: makes a new psycopg2 connection with currently valid credentials.
    :param label: its name in messages, never with a password.
    """

    def __init__(self, connect: Callable[[], Any], label: str = "the metadata database") -> None:
        self._connect = connect
        self.label = label

    def __repr__(self) -> str:
        return f"Database({self.label})"

    @classmethod
    def from_url(cls, url: str) -> Database:
        """Create it from a URL: ``postgresql://user:password@host:5432/airflow?sslmode=require``.

        A driver's name in it (``postgresql+psycopg2``) is ignored; parameters of the query are libpq's.

        :raises MwaaInputError: it is not a URL of a PostgreSQL database.
        """
        parts = urlsplit(url)
        if parts.scheme.partition("+")[0] not in {"postgres", "postgresql"}:
            raise MwaaInputError(
                f"Metadata of a {parts.scheme.partition('+')[0] or 'nameless'} database cannot be read: MWAA's is "
                "PostgreSQL. Use postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
            )
        try:
            port = parts.port or 5432
        except ValueError:
            raise MwaaInputError("The port in the database's URL is not a number. Correct it.") from None
        options = {
            "host": unquote(parts.hostname or "localhost"),
            "port": port,
            "dbname": unquote(parts.path.lstrip("/")) or "airflow",
            **({"user": unquote(parts.username)} if parts.username else {}),
            **dict(parse_qsl(parts.query)),
        }
        password = unquote(parts.password) if parts.password else None
        return cls.from_options(options, lambda: password)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], password: Callable[[], str | None]) -> Database:
        """Create it from libpq's parameters: ``host``, ``port``, ``dbname``, ``user``, ``sslmode`` ...

        :param password: returns the password, or a new token, for each connection; ``None`` leaves it to libpq, which
            reads PGPASSWORD and the password file.
        """
        given = {"connect_timeout": _CONNECT_TIMEOUT_S, **_KEEPALIVE, **options}

        def connect() -> Any:
            secret = password()
            everything = {**given, "password": secret} if secret else given
            return psycopg2.connect(**everything)

        return cls(connect, _label(given))

    @classmethod
    def from_mwaa_environment(cls, variables: Mapping[str, str]) -> Database:
        """Create it from the variables of an MWAA container, which are private details of its images.

        With ``USE_IAM_CREDENTIALS`` every connection gets a new RDS token (valid for 15 minutes), signed with the
        credentials of the container's own role, as the images of 2.9.2 to 3.3.1 do.

        :param variables: the process's environment.
        :raises NoMetadataRoute: they are not set, so this is not an MWAA container, or it has a newer image.
        Source: ``mwaa/config/database.py`` and ``airflow_rds_iam_patch.py`` of aws/amazon-mwaa-docker-images, 2026-11.
        """
        wanted = [f"MWAA__DB__POSTGRES_{name}" for name in ("HOST", "PORT", "DB")]
        missing = [name for name in wanted if not variables.get(name)]
        if missing:
            raise NoMetadataRoute(
                f"Route mwaa_environment: {missing[0]} is not set, so this is not an MWAA container that runs tasks."
            )
        host, port, name = (variables[name] for name in wanted)
        where: dict[str, Any] = {
            "host": host,
            "port": port,
            "dbname": name,
            "sslmode": variables.get("MWAA__DB__POSTGRES_SSLMODE") or "require",
        }
        if variables.get("USE_IAM_CREDENTIALS", "").lower() == "true" and variables.get("RDS_IAM_TOKEN_HOSTNAME"):
            return cls.from_options({**where, "user": _IAM_USER}, lambda: _rds_token(variables))
        user, password = _mwaa_credentials(variables)
        return cls.from_options({**where, "user": user}, lambda: password)

    def open(self) -> Any:
        """Open a psycopg2 connection in autocommit mode; the caller closes it.

        A query ends when a signal handler raises in the main thread.

        :raises DatabaseUnavailable: it could not be opened.
        """
        with database_errors(self.label, "opening it"):
            connection = self._connect()
            # So that each BEGIN is written by this package, with all its options.
            connection.autocommit = True
            connection.cursor_factory = connection.cursor_factory or InterruptibleCursor
        return connection

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Open a connection as :meth:`open` does, and close it at the end of the context."""
        connection = self.open()
        try:
            yield connection
        finally:
            with suppress(psycopg2.Error):
                connection.close()

    @contextmanager
    def snapshot(self, *, statement_timeout_s: float = 3600.0) -> Iterator[Any]:
        """Open a read-only transaction that sees the database in its current state, however long it lasts.

        :param statement_timeout_s: the server ends a statement that takes longer.
        :return: the psycopg2 connection; what it reads is in UTF-8, in UTC, and in ISO formats.
        :raises DatabaseUnavailable: it could not be opened.
        """
        with self.connection() as connection:
            settings = {
                **_SETTINGS,
                "statement_timeout": f"{statement_timeout_s * 1000:.0f}",
                "lock_timeout": f"{_LOCK_TIMEOUT_S * 1000}",
            }
            with database_errors(self.label, "beginning a transaction"), connection.cursor() as cursor:
                cursor.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                for name, value in settings.items():
                    cursor.execute(f"SET LOCAL {name} TO %s", (value,))
            yield connection
            # Nothing was written, so nothing is lost if ending the transaction fails.
            with suppress(psycopg2.Error), connection.cursor() as cursor:
                cursor.execute("COMMIT")


def ask_if_it_can(connection: Any, query: str, *, excused: Collection[str] = ()) -> Any:
    """Run a query that not every server or user may run: Aurora has none of the functions about its log.

    :param connection: psycopg2's, in a transaction.
    :param excused: further error codes that mean no answer, and not a failure.
    :return: a row; ``None`` if the query cannot be run.
    """
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT question")
        try:
            cursor.execute(query)
            found = cursor.fetchone()
        except psycopg2.Error as error:
            if error.pgcode not in {*_CANNOT, *excused}:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT question")
            found = None
        cursor.execute("RELEASE SAVEPOINT question")
    return found


@contextmanager
def database_errors(label: str, doing: str) -> Iterator[None]:
    """Turn psycopg2's errors into ours, whose one line names what was being done.

    :raises DatabaseUnavailable: the connection could not be opened, or was lost; it is ``transient``.
    :raises DatabaseRefused: the server rejected a statement.
    """
    try:
        yield
    except psycopg2.Error as error:
        raise _translated(error, label, doing) from error


def _translated(error: psycopg2.Error, label: str, doing: str) -> MetadataError:
    state = error.pgcode
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    words = words.removeprefix("ERROR:").removeprefix("FATAL:").strip().rstrip(".")
    advice, transient = "", False
    # libpq reports no code if it cannot connect.
    if (state is None and "authentication failed" in words) or (state or "").startswith("28"):
        return DatabaseUnavailable(
            f"{label}: {doing} failed: {words}. Check the connection's user and password.", sqlstate=state
        )
    if state is None or state.startswith(("08", "57P")) or state in {"53300"}:
        advice = _ADVICE.get("unreachable", "")
        return DatabaseUnavailable(f"{label}: {doing} failed: {words}.{advice}", sqlstate=state, transient=True)
    for start, text in _ADVICE.items():
        if state.startswith(start):
            advice = text
    transient = state.startswith(("40", "55P03", "57014"))
    return DatabaseRefused(f"{label}: {doing} failed: {words}.{advice}", sqlstate=state, transient=transient)


_ADVICE = {
    "unreachable": " Check its address, its security group and that it is running; then try again.",
    "42501": " Grant the user the right to read it, or leave the table out.",
    "57014": " Give it more time with statement_timeout, or fewer days with since and until.",
    "53100": " The database's disk is full. Free some space first.",
    "53200": " The database is out of memory. Export fewer tables or days at a time.",
    "55P03": " Another session, such as an upgrade, holds a lock on it. Try again later.",
}


def _label(options: Mapping[str, Any]) -> str:
    return f"Database {options.get('dbname')!r} on {options.get('host')}:{options.get('port', 5432)}"


def _mwaa_credentials(variables: Mapping[str, str]) -> tuple[str, str]:
    written = variables.get("MWAA__DB__CREDENTIALS")
    user, password = variables.get("MWAA__DB__POSTGRES_USER"), variables.get("MWAA__DB__POSTGRES_PASSWORD")
    if written:
        try:
            found = json.loads(written)
            user, password = found["username"], found["password"]
        except (ValueError, KeyError, TypeError):
            # Chained or shown, the error would include the password.
            raise NoMetadataRoute(
                "Route mwaa_environment: MWAA__DB__CREDENTIALS is not a JSON object with username and password, so "
                "this MWAA image is not supported."
            ) from None
    if not user or not password:
        raise NoMetadataRoute("Route mwaa_environment: neither MWAA__DB__CREDENTIALS nor a user and password are set.")
    return user, password


def _rds_token(variables: Mapping[str, str]) -> str:
    """Generate a token for one new connection, with the role of the container and not that of the tasks."""
    import boto3

    try:
        base = urlsplit(variables["ECS_CONTAINER_METADATA_URI"])
        address = f"{base.scheme}://{base.netloc}{variables['AWS_TASK_EXEC_CREDENTIALS_RELATIVE_URI']}"
    except KeyError as error:
        raise NoMetadataRoute(
            f"Route mwaa_environment: {error.args[0]} is not set; RDS tokens are signed with the credentials behind it."
        ) from None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # link-local, so never through a proxy
    try:
        with opener.open(address, timeout=_METADATA_TIMEOUT_S) as answer:
            found = json.loads(answer.read())
        keys = {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["Token"],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatabaseUnavailable(
            f"Route mwaa_environment: the container's role could not be read ({type(error).__name__}). Try again.",
            transient=True,
        ) from None
    client: Any = boto3.client("rds", region_name=variables.get("AWS_REGION"), **keys)
    token: str = client.generate_db_auth_token(
        DBHostname=variables["RDS_IAM_TOKEN_HOSTNAME"], Port=5432, DBUsername=_IAM_USER
    )
    return token
