# SPDX-License-Identifier: Apache-2.0
"""The stand-in for SQL Server, as the real driver finds it: log-ins, values, transactions, errors, broken clients."""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pymssql
import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymssql import _mssql

from airflow_mwaa_provider.local.stand_ins import tds_messages
from airflow_mwaa_provider.local.stand_ins.tds_server import TdsServer
from airflow_mwaa_provider.local.stand_ins.tds_types import SqlServerError


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with TdsServer() as server:
        yield server


def connect(server: TdsServer, **options: Any) -> Any:
    options = {"password": server.password, "autocommit": True, "login_timeout": 10, **options}
    return pymssql.connect(server=server.host, port=str(server.port), user="admin", **options)


def certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def rows(connection: Any, text: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def number_of(connection: Any, text: str) -> int:
    """Return the number of the error that a statement ends with."""
    with connection.cursor() as cursor, pytest.raises(pymssql.Error) as caught:
        cursor.execute(text)
    return int(caught.value.args[0])


# Log-ins


@pytest.mark.parametrize(
    ("encrypts", "required", "encrypted"), [(False, False, "nothing"), (True, False, "login"), (True, True, "all")]
)
def test_a_driver_logs_in(encrypts: bool, required: bool, encrypted: str) -> None:
    with TdsServer(tls=certificate() if encrypts else None, require_encryption=required) as server:
        with connect(server, database="tempdb") as connection:
            assert rows(connection, "SELECT DB_NAME(), SUSER_SNAME()") == [("tempdb", "admin")]
            # More than a record of TLS holds.
            assert rows(connection, "SELECT %s", ("x" * 50_000,)) == [("x" * 50_000,)]
        [login] = server.logins
        assert (login.user, login.database, login.version, login.accepted) == ("admin", "tempdb", "7.4", True)
        assert login.encrypted == encrypted
        assert server.password not in repr(server) + repr(server.logins) + repr(server.requests)


@pytest.mark.parametrize(
    "options",
    [{"password": "wrong"}, {"password": ""}, {"database": "no_such"}],
    ids=["wrong password", "no password", "no such database"],
)
def test_a_wrong_login_is_refused(server: TdsServer, options: dict[str, str]) -> None:
    with pytest.raises(pymssql.OperationalError) as caught:
        connect(server, **options)
    assert "18456" in str(caught.value)
    assert [login.accepted for login in server.logins] == [False]
    assert server.requests == []


def test_a_login_that_says_why(server: TdsServer) -> None:
    """What the driver makes of it differs with the connections that it had before: read the answer itself."""
    with socket.create_connection((server.host, server.port), timeout=10) as client:
        client.sendall(b"".join(tds_messages.packets(0x12, tds_messages.prelogin_answer(2), 4096)))
        assert client.recv(4096)[0] == 4
        client.sendall(b"".join(tds_messages.packets(0x10, login7("sa", "x"), 4096)))
        answer = client.recv(4096)
        assert "Login failed for user 'sa'.".encode("utf-16-le") in answer
        assert struct.pack("<iBB", 18456, 1, 14) in answer
        assert client.recv(4096) == b""


def login7(user: str, password: str, version: int = 0x74000004) -> bytes:
    """Write LOGIN7 as a client would."""
    fields = [
        b"",
        user.encode("utf-16-le"),
        bytes(((b << 4 | b >> 4) & 0xFF) ^ 0xA5 for b in password.encode("utf-16-le")),
    ]
    fields += [b""] * 6
    head, body, at = b"", b"", 94
    for data in fields:
        head += struct.pack("<HH", at + len(body), len(data) // 2)
        body += data
    rest = b"\0" * 6 + struct.pack("<HH", at, 0) * 3 + struct.pack("<I", 0)
    start = struct.pack("<IIIIII4xiI", at + len(body), version, 4096, 0, 0, 0, 0, 0)
    return start + head + rest + body


def test_what_is_no_tds_ends_its_own_connection_only(server: TdsServer) -> None:
    prelogin = b"".join(tds_messages.packets(0x12, tds_messages.prelogin_answer(2), 4096))
    old = b"".join(tds_messages.packets(0x10, login7("admin", server.password, 0x71000001), 4096))
    for sent in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x12\x01\x00\x04\x00\x00\x00\x00",
        prelogin + b"\x10\x01\x00\x0a\0\0\0\0xx",
        prelogin + old,
    ):
        with socket.create_connection((server.host, server.port), timeout=10) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    with connect(server) as connection:
        assert rows(connection, "SELECT 1") == [(1,)]


# Values

STEP = 1000 if pymssql.__version__ >= "2.3" else 10_000
TYPES: dict[str, st.SearchStrategy[Any]] = {
    "tinyint": st.integers(0, 255),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "bit": st.booleans(),
    "float": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    "decimal(18,4)": st.decimals(-(10**13), 10**13, places=4),
    "decimal(38,10)": st.decimals(-(10**27), 10**27, places=10),
    "varchar(50)": st.text(st.sampled_from("abcXYZ äéßñ€'%\"\n\t0"), max_size=50),
    "nvarchar(60)": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    "nvarchar(max)": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    "varbinary(40)": st.binary(min_size=1, max_size=39).map(lambda data: data + b"\0"),
    # The driver sends milliseconds, and before 2.3 it reads hundredths of a second.
    "datetime2(6)": st.datetimes().map(lambda when: when.replace(microsecond=when.microsecond // STEP * STEP)),
    "date": st.dates(),
}
ROWS = st.fixed_dictionaries({kind: st.none() | values for kind, values in TYPES.items()})


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    with TdsServer() as server, connect(server) as connection:
        columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(TYPES))
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE kinds (id int NOT NULL PRIMARY KEY, {columns})")
        yield connection


@given(row=ROWS)
@example(row=dict.fromkeys(TYPES))
@settings(max_examples=60, deadline=None)
def test_what_is_inserted_by_parameters_is_read_again(table: Any, row: dict[str, Any]) -> None:
    values = [row[kind] for kind in TYPES]  # Hypothesis changes the order
    with table.cursor() as cursor:
        cursor.execute("DELETE FROM kinds")
        places = ", ".join(["%s"] * len(row))
        cursor.execute(f"INSERT INTO kinds VALUES (1, {places})", tuple(values))
        assert cursor.rowcount == 1
    [(_, *found)] = rows(table, "SELECT * FROM kinds")
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]
    for column, (kind, value) in enumerate(zip(TYPES, values, strict=True)):
        if value is None:
            assert rows(table, f"SELECT id FROM kinds WHERE c{column} IS NULL") == [(1,)], kind
        elif "(" not in kind or not kind.startswith(("varbinary", "nvarchar")):
            assert rows(table, f"SELECT id FROM kinds WHERE c{column} = %s", (value,)) == [(1,)], kind


def test_datetime_has_three_hundredths_of_a_second(server: TdsServer) -> None:
    given = datetime.datetime(2026, 1, 31, 23, 59, 59, 998_000)
    with connect(server) as connection:
        [(found,)] = rows(connection, "SELECT CAST(%s AS datetime)", (given,))
        assert found == datetime.datetime(2026, 1, 31, 23, 59, 59, 997_000)
        [(found,)] = rows(connection, "SELECT CAST('2026-01-31 23:59:59.123456' AS datetime2(6))")
        assert found == datetime.datetime(2026, 1, 31, 23, 59, 59, 123_456 if STEP == 1000 else 123_000)
        assert number_of(connection, "SELECT CAST('1700-01-01' AS datetime)") == 242
        assert number_of(connection, "SELECT CAST('2026-02-30' AS datetime2)") == 242


def test_text_of_a_code_page_loses_what_that_does_not_have(server: TdsServer) -> None:
    with connect(server) as connection:
        assert rows(connection, "SELECT 'Ж€', N'Ж€', CAST(N'Ж' AS varchar(5))") == [("?€", "Ж€", "?")]


def test_expressions_have_the_types_of_sql_server(server: TdsServer) -> None:
    with connect(server) as connection:
        assert rows(connection, "SELECT 7/2, -7/2, -7%3, 7/2.0, 1.5*2, 1+'2', 'a'+N'b', 2147483648, 1e0/4") == [
            (3, -3, -1, Decimal("3.500000"), Decimal("3.0"), 3, "ab", Decimal(2147483648), 0.25)
        ]
        assert rows(
            connection, "SELECT LEN('ab  '), UPPER('a'), ISNULL(NULL, 5), COALESCE(NULL, 'x', 'y'), 'a' + NULL"
        ) == [(2, "A", 5, "x", None)]


# Packets


@pytest.mark.parametrize("size", [1, 2000, 4000, 4084, 4085, 20_000, 300_000])
def test_rows_are_split_over_packets(server: TdsServer, size: int) -> None:
    texts = [chr(ord("a") + number) * size for number in range(5)]
    with connect(server) as connection:
        rows(connection, "CREATE TABLE big (id int, body nvarchar(max), short varchar(8000)); SELECT 1")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO big VALUES (%s, %s, %s)", [(n, text, text[:8000]) for n, text in enumerate(texts)]
            )
        assert rows(connection, "SELECT body, short FROM big ORDER BY id") == [(text, text[:8000]) for text in texts]


def test_a_message_becomes_packets_of_the_size_agreed_on() -> None:
    for length in (0, 1, 504, 505, 1008, 1009):
        made = list(tds_messages.packets(4, b"x" * length, 512))
        assert b"".join(packet[8:] for packet in made) == b"x" * length
        assert [packet[1] for packet in made] == [0] * (len(made) - 1) + [1]
        assert all(len(packet) == struct.unpack_from(">H", packet, 2)[0] <= 512 for packet in made)


# Statements and errors


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SELECT * FROM pet LIMIT 1", 102),
        ("SELECT 1 FROM", 102),
        ("SELECT FROM pet", 156),
        ("SELECT * FROM pet JOIN pet", 156),
        ("SELECT name FROM pet GROUP BY name", 156),
        ("CREATE TABLE IF NOT EXISTS t (x int)", 156),
        ("CREATE TABLE order (x int)", 156),
        ("INSERT OR REPLACE INTO pet VALUES (1)", 156),
        ("SELECT 'a' || 'b'", 102),
        ("SELECT (SELECT 1)", 156),
        ("SELECT 1; FOO BAR", 102),
        ("PRAGMA user_version", 2812),
        ("EXEC sp_who", 2812),
        ("SELECT 'a", 105),
        ("SELECT name FROM pet WHERE name", 4145),
        ("SELECT 1 WHERE", 156),
        ("SET FANCY ON", 195),
        ("SELECT sqlite_version()", 195),
        ("SELECT @x", 137),
        ("SELECT @@nothing", 137),
        ("SELECT nothing FROM pet", 207),
        ("SELECT other.name FROM pet", 4104),
        ("SELECT * FROM sqlite_master2", 208),
        ("SELECT * FROM nowhere.dbo.pet", 208),
        ("SELECT * FROM guest.pet", 208),
        ("SELECT COUNT(*), name FROM pet", 8120),
        ("SELECT 1/0", 8134),
        ("SELECT 2147483647 + 1", 8115),
        ("SELECT 'x' + 1", 245),
        ("SELECT CAST('x' AS decimal(5,2))", 8114),
        ("SELECT CAST(1000 AS decimal(5,3))", 8115),
        ("INSERT INTO pet VALUES ('a')", 213),
        ("INSERT INTO pet (name) VALUES ('a', 'b')", 110),
        ("INSERT INTO pet (name, owner) VALUES ('a')", 109),
        ("INSERT INTO pet VALUES ('a', '123456789012345678901')", 2628),
        ("INSERT INTO pet VALUES (NULL, 'a')", 515),
        ("INSERT INTO pet (owner) VALUES ('a')", 515),
        ("UPDATE pet SET name = NULL", 515),
        ("INSERT INTO pet VALUES ('OLAF ', 'a')", 2627),
        ("CREATE TABLE pet (x int)", 2714),
        ("CREATE TABLE t (x geography)", 2715),
        ("DROP TABLE nothing", 3701),
        ("DROP DATABASE nothing", 3701),
        ("DROP DATABASE master", 3708),
        ("DROP DATABASE tempdb", 3708),
        ("CREATE DATABASE Master", 1801),
        ("USE nothing", 911),
        ("COMMIT", 3902),
        ("ROLLBACK TRAN", 3903),
    ],
)
def test_an_error_is_that_of_sql_server(server: TdsServer, text: str, number: int) -> None:
    server.query("CREATE TABLE pet (name varchar(20) NOT NULL PRIMARY KEY, owner varchar(20))")
    server.query("INSERT pet VALUES ('Olaf', 'Disney')")
    with connect(server) as connection:
        assert number_of(connection, text) == number
        assert rows(connection, "SELECT * FROM pet") == [("Olaf", "Disney")]


def test_a_batch_with_wrong_syntax_does_nothing(server: TdsServer) -> None:
    with connect(server) as connection:
        assert number_of(connection, "CREATE TABLE t (x int); SELEC 1") == 102
        assert number_of(connection, "SELECT * FROM t") == 208


def test_conditions(server: TdsServer) -> None:
    server.query("CREATE TABLE n (x int, s varchar(10))")
    server.query("INSERT INTO n VALUES (1, 'One'), (2, 'two'), (3, NULL), (10, '10')")
    for condition, expected in {
        "x > 1 AND x < 10": [2, 3],
        "NOT (x = 1 OR x = 2)": [3, 10],
        "(x + 1) * 2 = 6": [2],
        "s = 'ONE '": [1],
        "s LIKE '%o%'": [1, 2],
        "s NOT LIKE 't_o'": [1, 10],
        "s IS NULL": [3],
        "s IS NOT NULL AND x BETWEEN 2 AND 10": [2, 10],
        "x IN (1, 3)": [1, 3],
        "x NOT IN (1, NULL)": [],
        "s <> 'two'": [1, 10],
        "[x] >= '10'": [10],
    }.items():
        assert [x for (x,) in server.query(f"SELECT x FROM n WHERE {condition} ORDER BY x")] == expected, condition
    assert server.query("SELECT TOP (2) x AS y FROM n AS a WHERE a.x > 0 ORDER BY y DESC") == [(10,), (3,)]
    assert server.query("SELECT COUNT(*), COUNT(s), SUM(x), AVG(x), MIN(s), MAX(x) FROM n") == [(4, 3, 16, 4, "10", 10)]


def test_several_results_of_a_batch(server: TdsServer) -> None:
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS a, 2 AS b; SELECT 'end'")
        assert [column[0] for column in cursor.description] == ["a", "b"]
        assert cursor.fetchall() == [(1, 2)]
        assert cursor.nextset()
        assert cursor.fetchall() == [("end",)]
        assert not cursor.nextset()


def test_a_procedure_with_parameters(server: TdsServer) -> None:
    connection = _mssql.connect(server=server.host, port=str(server.port), user="admin", password=server.password)
    try:
        call = connection.init_procedure("sp_executesql")
        call.bind("SELECT @name, @age", _mssql.SQLVARCHAR, "@stmt")
        call.bind("@name nvarchar(20), @age int", _mssql.SQLVARCHAR, "@params")
        call.bind("Olaf", _mssql.SQLVARCHAR, "@name")
        call.bind(7, _mssql.SQLINT4, "@age")
        call.execute()
        assert [tuple(row[n] for n in range(2)) for row in connection] == [("Olaf", 7)]
        other = connection.init_procedure("sp_who")
        with pytest.raises(_mssql.MSSQLDatabaseException) as caught:
            other.execute()
        assert caught.value.number == 2812
    finally:
        connection.close()


# Transactions and sessions


def test_databases_are_created_outside_of_transactions_only(server: TdsServer) -> None:
    with connect(server, autocommit=False) as connection:
        assert number_of(connection, "CREATE DATABASE testdb") == 226
        connection.rollback()
        assert number_of(connection, "DROP DATABASE IF EXISTS testdb") == 574
        connection.rollback()
        connection.autocommit(True)
        with connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE testdb")
            cursor.execute("USE testdb")
        assert rows(connection, "SELECT DB_NAME(), @@TRANCOUNT") == [("testdb", 0)]
        with pytest.raises(SqlServerError, match="currently in use"):
            server.query("DROP DATABASE testdb")
        with connection.cursor() as cursor:
            cursor.execute("USE master; DROP DATABASE testdb")
        assert rows(connection, "SELECT DB_ID('testdb')") == [(None,)]


def test_a_database_created_again_is_empty(server: TdsServer) -> None:
    with connect(server) as connection, connection.cursor() as cursor:
        for _ in range(15):  # more than SQLite attaches at once
            cursor.execute("CREATE DATABASE testdb")
            cursor.execute("CREATE TABLE testdb.dbo.t (x int); INSERT testdb..t VALUES (1)")
            cursor.execute("DROP DATABASE testdb")


def test_what_is_not_committed_is_rolled_back(server: TdsServer) -> None:
    with connect(server, autocommit=False) as connection:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t (x int)")
            cursor.execute("INSERT INTO t VALUES (1)")
        connection.commit()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (2)")
            cursor.execute("CREATE TABLE u (x int)")
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (3)")
    # The driver has closed the connection with a transaction open.
    assert server.query("SELECT x FROM t") == [(1,)]
    with pytest.raises(SqlServerError, match="Invalid object name 'u'"):
        server.query("SELECT * FROM u")


def test_two_connections_at_once(server: TdsServer) -> None:
    server.query("CREATE TABLE t (who int, x int)")
    failures: list[BaseException] = []

    def insert(who: int) -> None:
        try:
            with connect(server, autocommit=False) as connection:
                for number in range(40):
                    with connection.cursor() as cursor:
                        cursor.execute("INSERT INTO t VALUES (%s, %s)", (who, number))
                    connection.commit()
                    rows(connection, "SELECT COUNT(*) FROM t")
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    threads = [threading.Thread(target=insert, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert server.query("SELECT COUNT(*), SUM(x) FROM t") == [(120, 3 * 780)]


def test_what_another_has_not_committed_is_not_read(server: TdsServer) -> None:
    server.query("CREATE TABLE t (x int); CREATE TABLE other (x int)")
    with connect(server, autocommit=False) as writer:
        with writer.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (1)")
        later = threading.Timer(0.3, writer.commit)
        later.start()
        assert server.query("SELECT COUNT(*) FROM t") == [(1,)]  # has waited
        later.join()  # the driver's connections are for one thread at a time


def test_a_client_that_ends_in_the_middle(server: TdsServer) -> None:
    """Of a packet, of a message, and with a transaction open: what it held is free again."""
    with connect(server, autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (x int)")
        connection.commit()
        cursor.execute("INSERT INTO t VALUES (1)")
    prelogin = b"".join(tds_messages.packets(0x12, tds_messages.prelogin_answer(2), 4096))
    login = b"".join(tds_messages.packets(0x10, login7("admin", server.password), 4096))
    text = "INSERT INTO t VALUES (2)".encode("utf-16-le")
    batch = struct.pack("<IIHQI", 22, 18, 2, 0, 1) + text
    whole = b"".join(tds_messages.packets(1, batch, 4096))
    begin = struct.pack("<IIHQI", 22, 18, 2, 0, 1) + "BEGIN TRAN INSERT INTO t VALUES (3)".encode("utf-16-le")
    for sent in (whole[:20], whole[:1] + b"\0" + whole[2:], b"".join(tds_messages.packets(1, begin, 4096))):
        with socket.create_connection((server.host, server.port), timeout=10) as client:
            for message in (prelogin, login):
                client.sendall(message)
                assert client.recv(4096)[0] == 4
            client.sendall(sent)
    with connect(server) as connection:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (4)")
        assert rows(connection, "SELECT x FROM t") == [(4,)]


def test_nothing_is_left_when_it_ends() -> None:
    threads = threading.active_count()
    with TdsServer() as server:
        port = server.port
        connection = connect(server)
        assert threading.active_count() > threads
    assert threading.active_count() == threads
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with pytest.raises(pymssql.Error):
        rows(connection, "SELECT 1")
