# SPDX-License-Identifier: Apache-2.0
"""A server for real drivers of SQL Server: TDS 7.2 to 7.4, and a part of Transact-SQL, on SQLite in memory."""

from __future__ import annotations

import itertools
import secrets
import socket
import ssl
import struct
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from airflow_mwaa_provider.local.stand_ins import tds_messages as tds
from airflow_mwaa_provider.local.stand_ins.tds_types import SqlServerError, SqlType, Value
from airflow_mwaa_provider.local.stand_ins.tsql_engine import Databases, Session
from airflow_mwaa_provider.local.stand_ins.tsql_parser import parse_declarations
from airflow_mwaa_provider.local.stand_ins.tsql_results import (
    Affected,
    DatabaseChanged,
    Result,
    Rows,
    TransactionChanged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["LoginAttempt", "SqlRequest", "TdsServer"]

_ENDS = {"begin": tds.BEGIN, "commit": tds.COMMIT, "rollback": tds.ROLLBACK}
_HANDSHAKE_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class LoginAttempt:
    """A log-in, whether it succeeded or not."""

    user: str
    database: str
    application: str
    version: str
    encrypted: str
    """What is encrypted: ``"nothing"``, ``"login"`` or ``"all"``."""
    accepted: bool


@dataclass(frozen=True)
class SqlRequest:
    """A batch of statements as it was sent, and who sent it to which database."""

    text: str
    user: str
    database: str
    session: int


class TdsServer:
    """A SQL Server of one login, on 127.0.0.1, whose databases are in memory and end with it.

    :param user: the login.
    :param password: its password; without one, a random one is made.
    :param tls: the server's certificate, with which log-ins are encrypted, and all of a connection if the client wants
        that. Without it, the server says that it does not support encryption.
    :param require_encryption: refuse clients that do not encrypt all of a connection, as ``rds.force_ssl`` does.
    """

    def __init__(
        self,
        user: str = "admin",
        password: str = "",
        *,
        tls: ssl.SSLContext | None = None,
        require_encryption: bool = False,
    ) -> None:
        self.user = user
        self.password = password or secrets.token_urlsafe(12)
        self.logins: list[LoginAttempt] = []
        self.requests: list[SqlRequest] = []
        if tls is not None:
            tls.maximum_version = ssl.TLSVersion.TLSv1_2  # the newest one that TDS 7 knows
        self._tls = tls
        self._require_encryption = require_encryption
        self._databases = Databases()
        self._numbers = itertools.count(51)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = False

    def __repr__(self) -> str:
        return f"TdsServer({self.user!r} at 127.0.0.1:{self.port})"

    @property
    def host(self) -> str:
        """The address."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The port."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping = True
            open_connections = list(self._connections)
        self._databases.closing.set()
        for connection in (self._listener, *open_connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        self._databases.close()

    def query(self, text: str, database: str = "") -> list[tuple[Value, ...]]:
        """Execute a batch in a session of its own, and return the rows of its last query.

        :raises SqlServerError: it failed.
        """
        rows: list[tuple[Value, ...]] = []
        with closing(self.open_session(database)) as session:
            for result in session.execute(text):
                if isinstance(result, Rows):
                    rows = result.rows
        return rows

    def open_session(self, database: str = "") -> Session:
        """Open a session without a connection; the caller closes it.

        :raises SqlServerError: no such database.
        """
        return self._databases.open_session(database, next(self._numbers), self.user)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping:
                    connection.close()
                    return
                self._connections.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            # A client that ends, or sends what is no TDS, ends its own connection.
            with (
                connection,
                suppress(OSError, EOFError, ssl.SSLError, struct.error, UnicodeDecodeError, tds.ProtocolError),
            ):
                _Conversation(self, connection).run()
        finally:
            with self._lock:
                self._connections.discard(connection)


class _Wire:
    """A connection, encrypted or not."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._wraps = False

    def handshake(self, context: ssl.SSLContext) -> None:
        """Agree on keys; the records of the handshake are inside of PRELOGIN packets."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._wraps = True
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
        self._flush()
        self._wraps = False

    def end_encryption(self) -> None:
        """Go on in clear: only the log-in was encrypted."""
        self._tls = None

    def read(self, size: int) -> bytes:
        """Read so many bytes.

        :raises EOFError: the client has ended the connection.
        """
        parts = []
        while size:
            part = self._read_some(size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _read_some(self, size: int) -> bytes:
        if self._tls is None:
            return self._connection.recv(size)
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._feed()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._tls is None:
            self._connection.sendall(data)
            return
        self._tls.write(data)
        self._flush()

    def _feed(self) -> None:
        if self._wraps:
            header = self._read_clear(tds.HEADER_BYTES)
            data = self._read_clear(struct.unpack_from(">H", header, 2)[0] - tds.HEADER_BYTES)
        else:
            # No more than one record: what follows the log-in may be in clear.
            header = self._read_clear(5)
            data = header + self._read_clear(struct.unpack_from(">H", header, 3)[0])
        self._incoming.write(data)

    def _read_clear(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _flush(self) -> None:
        data = self._outgoing.read()
        if not data:
            return
        if self._wraps:
            data = b"".join(tds.packets(tds.PRELOGIN, data, tds.DEFAULT_PACKET_BYTES))
        self._connection.sendall(data)


class _Conversation:
    """One connection, from its first packet to its last."""

    def __init__(self, server: TdsServer, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._wire = _Wire(connection)
        self._packet_bytes = tds.DEFAULT_PACKET_BYTES
        self._number = next(server._numbers)
        self._encrypted = "nothing"

    def run(self) -> None:
        self._connection.settimeout(_HANDSHAKE_TIMEOUT_S)
        session = self._log_in()
        if session is None:
            return
        self._connection.settimeout(None)
        with closing(session):
            while True:
                kind, payload = self._receive()
                if kind == tds.SQL_BATCH:
                    self._batch(session, tds.batch_text(payload))
                elif kind == tds.RPC:
                    self._procedure(session, payload)
                elif kind == tds.ATTENTION:
                    self._send(tds.done(tds.DONE, tds.ATTENTION_ACKNOWLEDGED))
                else:
                    raise tds.ProtocolError(f"message {kind}")

    # Messages

    def _receive(self) -> tuple[int, bytes]:
        parts = []
        while True:
            kind, status, size = struct.unpack_from(">BBH", header := self._wire.read(tds.HEADER_BYTES))
            if size < len(header):
                raise tds.ProtocolError("a packet shorter than its header")
            parts.append(self._wire.read(size - len(header)))
            if status & 1:
                return kind, b"".join(parts)

    def _send(self, payload: bytes) -> None:
        for packet in tds.packets(tds.RESPONSE, payload, self._packet_bytes, self._number):
            self._wire.write(packet)

    # Log-in

    def _log_in(self) -> Session | None:
        kind, payload = self._receive()
        if kind != tds.PRELOGIN:
            raise tds.ProtocolError("no PRELOGIN")
        wanted = tds.prelogin_options(payload).get(1, b"\x02")[0]
        answer = self._encryption_for(wanted)
        self._send(tds.prelogin_answer(answer))
        if answer != tds.ENCRYPT_NOT_SUPPORTED and self._server._tls is not None:
            self._wire.handshake(self._server._tls)
            self._encrypted = "login" if answer == tds.ENCRYPT_OFF else "all"
        kind, payload = self._receive()
        if kind != tds.LOGIN7:
            raise tds.ProtocolError("no LOGIN7")
        if answer == tds.ENCRYPT_OFF:
            self._wire.end_encryption()
        login = tds.Login.parse(payload)
        try:
            session = self._authenticate(login)
        except SqlServerError as error:
            refused = tds.message(
                18456, f"Login failed for user '{login.user}'.", severity=14
            ) if error.number != 18456 else b""  # fmt: skip
            self._send(tds.error(error) + refused + tds.done(tds.DONE, tds.ERROR))
            return None
        size = str(login.packet_bytes)
        name = session.database.name
        self._send(
            tds.changed(tds.DATABASE, name, "master")
            + tds.message(5701, f"Changed database context to '{name}'.", state=2)
            + tds.changed_collation()
            + tds.login_acknowledged(login.version)
            + tds.changed(tds.PACKET_SIZE, size, str(tds.DEFAULT_PACKET_BYTES))
            + tds.done(tds.DONE, 0)
        )
        self._packet_bytes = login.packet_bytes
        return session

    def _encryption_for(self, wanted: int) -> int:
        if self._server._tls is None:
            return tds.ENCRYPT_NOT_SUPPORTED
        if wanted in (tds.ENCRYPT_ON, tds.ENCRYPT_REQUIRED):
            return tds.ENCRYPT_ON
        if self._server._require_encryption:
            return tds.ENCRYPT_REQUIRED
        return tds.ENCRYPT_OFF if wanted == tds.ENCRYPT_OFF else tds.ENCRYPT_NOT_SUPPORTED

    def _authenticate(self, login: tds.Login) -> Session:
        version = tds.VERSIONS.get(login.version, f"0x{login.version:08x}")
        right = secrets.compare_digest(login.password.encode(), self._server.password.encode())
        session = None
        try:
            if login.version not in tds.VERSIONS:
                raise tds.ProtocolError(f"TDS {version}")
            if login.integrated or login.user.lower() != self._server.user.lower() or not right:
                raise SqlServerError(18456, f"Login failed for user '{login.user}'.", 14)
            session = self._server._databases.open_session(login.database, self._number, login.user)
        finally:
            self._server.logins.append(
                LoginAttempt(
                    login.user, login.database, login.application, version, self._encrypted, session is not None
                )
            )
        return session

    # Requests

    def _batch(self, session: Session, text: str) -> None:
        self._keep(session, text)
        answer = bytearray()
        for part in self._answers(session, text, {}, tds.DONE):
            answer += part
        self._send(bytes(answer))

    def _procedure(self, session: Session, payload: bytes) -> None:
        answer = bytearray()
        try:
            call = tds.Procedure.parse(payload)
            text, variables = _statement_of(call)
        except SqlServerError as error:
            self._send(tds.error(error) + tds.done(tds.DONE_PROCEDURE, tds.ERROR))
            return
        self._keep(session, text)
        for part in self._answers(session, text, variables, tds.DONE_IN_PROCEDURE):
            answer += part
        failed = answer.endswith(tds.done(tds.DONE_IN_PROCEDURE, tds.ERROR | tds.MORE))
        answer += tds.return_status(int(failed)) + tds.done(tds.DONE_PROCEDURE, tds.ERROR if failed else 0)
        self._send(bytes(answer))

    def _keep(self, session: Session, text: str) -> None:
        self._server.requests.append(SqlRequest(text, session.user, session.database.name, session.number))

    def _answers(
        self, session: Session, text: str, variables: Mapping[str, tuple[SqlType, Value]], token: int
    ) -> Iterator[bytes]:
        """Yield the answer to a batch: the last DONE says that nothing more comes, unless a procedure goes on."""
        goes_on = tds.MORE if token != tds.DONE else 0
        waiting = b""
        try:
            for result in session.execute(text, variables):
                before, count, status = _tokens_of(result)
                yield waiting and _with_more(waiting)
                yield before
                inside = tds.IN_TRANSACTION if session.transactions and token == tds.DONE else 0
                waiting = b"" if count is None else tds.done(token, status | inside | goes_on, count)
        except SqlServerError as error:
            yield waiting and _with_more(waiting)
            yield tds.error(error) + tds.done(token, tds.ERROR | goes_on)
            return
        yield waiting or tds.done(token, goes_on)


def _with_more(done: bytes) -> bytes:
    return done[:1] + bytes([done[1] | tds.MORE]) + done[2:]


def _tokens_of(result: Result) -> tuple[bytes, int | None, int]:
    """Return what is sent before DONE, its count (no DONE follows if there is none), and its status."""
    if isinstance(result, Rows):
        head = tds.columns(result.columns)
        return head + b"".join(tds.row(result.columns, row) for row in result.rows), len(result.rows), tds.COUNT
    if isinstance(result, Affected):
        return b"", result.count, tds.COUNT
    if isinstance(result, DatabaseChanged):
        text = f"Changed database context to '{result.name}'."
        return tds.changed(tds.DATABASE, result.name, result.before) + tds.message(5701, text, state=2), 0, 0
    if isinstance(result, TransactionChanged):
        return tds.changed_transaction(_ENDS[result.what], result.number), None, 0
    return b"", 0, 0


def _statement_of(call: tds.Procedure) -> tuple[str, dict[str, tuple[SqlType, Value]]]:
    """Return what a call of ``sp_executesql`` executes, and with which variables.

    :raises SqlServerError: another procedure, or parameters that do not match their declaration.
    """
    if call.name.lower().rpartition(".")[2] != "sp_executesql":
        raise SqlServerError(2812, f"Could not find stored procedure '{call.name}'.", state=62)
    values = [value for _, _, value in call.parameters]
    if not values or not isinstance(values[0], str):
        raise SqlServerError(214, "Procedure expects parameter '@statement' of type 'ntext/nchar/nvarchar'.", state=2)
    declared = parse_declarations(str(values[1])) if len(values) > 1 else []
    given = call.parameters[2:]
    names = {name.lower(): (kind, value) for name, kind, value in given if name}
    variables = {}
    for position, (name, kind) in enumerate(declared):
        found = names.get(name.lower())
        if found is None and position < len(given) and not given[position][0]:
            found = given[position][1:]
        if found is None:
            raise SqlServerError(
                8178,
                f"The parameterized query '{values[0][:100]}' expects the parameter '{name}', which was not supplied.",
            )
        variables[name.lower()] = (kind, kind.convert(found[1], found[0]))
    return values[0], variables
