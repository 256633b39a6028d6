# SPDX-License-Identifier: Apache-2.0
"""Environment variables from options: what they may refer to, which names are refused; and preloaded libraries."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy
import pytest
from airflow.configuration import conf

from airflow_mwaa_provider._compat import AIRFLOW_V_3
from airflow_mwaa_provider.plugins import env_secrets
from airflow_mwaa_provider.plugins.env_values import RESERVED, set_variables
from airflow_mwaa_provider.plugins.env_vars import EnvironmentVariablesPlugin
from airflow_mwaa_provider.secrets import diagnosis, misses, store
from scripts.lib import canary
from tests.plugins.conftest import Lines

if TYPE_CHECKING:
    from tests.secrets.conftest import SecretsService

PREFIX = "AIRFLOW__MWAA_ENV__"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
CANARY = canary.value()


@pytest.mark.parametrize(
    ("options", "before", "expected"),
    [
        ({"JAVA_HOME": "/usr/lib/jvm/jre"}, {}, {"JAVA_HOME": "/usr/lib/jvm/jre"}),
        ({"JAVA_HOME": "/new"}, {"JAVA_HOME": "/old"}, {"JAVA_HOME": "/new"}),
        ({"PATH": "/opt/a:${PATH}"}, {"PATH": "/bin:/usr/bin"}, {"PATH": "/opt/a:/bin:/usr/bin"}),
        ({"PATH": "${PATH}:/opt/a"}, {"PATH": "/bin"}, {"PATH": "/bin:/opt/a"}),
        ({"PATH": "/a:${PATH}:/b"}, {"PATH": "/bin"}, {"PATH": "/a:/bin:/b"}),
        # What happens to exist already.
        ({"FLAGS": "-v${FLAGS}"}, {"FLAGS": "-verbose"}, {"FLAGS": "-v-verbose"}),
        ({"X": "/usr/local${X}"}, {"X": "/usr/local/bin"}, {"X": "/usr/local/usr/local/bin"}),
        # In any order, and along a chain.
        ({"PATH": "${BIN}:${PATH}", "BIN": "${HOME}/bin", "HOME": "/h"}, {"PATH": "/x"}, {"PATH": "/h/bin:/x"}),
        ({"A": "${B}", "B": "${C}-${C}", "C": "c"}, {}, {"A": "c-c", "B": "c-c"}),
        # A reference to a refused name, and to one that is written in small letters, are those of the process.
        ({"WHERE": "${AWS_REGION}"}, {"AWS_REGION": "eu-west-1"}, {"WHERE": "eu-west-1"}),
        ({"A": "${http_proxy}"}, {"http_proxy": "p"}, {"A": "p"}),
        # No shell: everything else is literal.
        ({"A": "$5 $$5 $HOME $${HOME} `id` ~ %d 'x' \\n"}, {}, {"A": "$5 $5 $HOME ${HOME} `id` ~ %d 'x' \\n"}),
        ({"A": "007", "B": "True", "C": "1.10"}, {}, {"A": "007", "B": "True", "C": "1.10"}),
        # An inserted value is not expanded again.
        ({"A": "${B}"}, {"B": "${PATH}", "PATH": "x"}, {"A": "${PATH}"}),
    ],
)
def test_values(options: dict[str, str], before: dict[str, str], expected: dict[str, str], lines: Lines) -> None:
    variables = dict(before)
    set_variables(options, variables)
    assert {name: variables[name] for name in expected} == expected
    # A process that inherits them, and loads the plugin again, has the same.
    again = dict(variables)
    set_variables(options, again)
    assert again == variables
    assert lines() == []


@pytest.mark.once
def test_what_was_added_is_added_again_only_where_it_is_gone() -> None:
    options = {"PATH": "/opt/a:${PATH}:/opt/b"}
    variables = {"PATH": "/bin"}
    set_variables(options, variables)
    for inherited, expected in [
        ("/opt/a:/venv:/bin:/opt/b", "/opt/a:/venv:/bin:/opt/b"),
        ("/venv", "/opt/a:/venv:/opt/b"),
        ("/opt/b", "/opt/a:/opt/b:/opt/b"),
    ]:
        child = {**variables, "PATH": inherited}
        set_variables(options, child)
        assert child["PATH"] == expected
    # Another variable that refers to itself is none that has been added to.
    child = {**variables, "FLAGS": "-verbose"}
    set_variables({**options, "FLAGS": "-v${FLAGS}"}, child)
    assert child["FLAGS"] == "-v-verbose"
    assert child["AIRFLOW_MWAA_ENV_ADDED"] == "FLAGS,PATH"
    assert child["PATH"] == variables["PATH"]


@pytest.mark.parametrize(
    ("options", "expected", "line"),
    [
        (
            {"A1": "x${NOWHERE}y"},
            {"A1": "xy"},
            "mwaa_env.a1: no variable NOWHERE exists; it was replaced by nothing.",
        ),
        (
            {"A2": "-x ${A2}"},
            {"A2": "-x ", "AIRFLOW_MWAA_ENV_ADDED": "A2"},
            "mwaa_env.a2: no variable A2 exists; it was replaced by nothing.",
        ),
        (
            {"A9": "${java_home}", "JAVA_HOME": "/j"},
            {"A9": "", "JAVA_HOME": "/j"},
            "mwaa_env.a9: no variable java_home exists; it was replaced by nothing. Write ${JAVA_HOME}.",
        ),
        (
            {"B9": "secretsmanager://${STAGE}/db"},
            {},
            "mwaa_env.b9: ${NAME} is not replaced in a reference to a secret. Write the full name of the secret.",
        ),
        (
            {"C9": "secretsmanager://arn:aws:secretsmanager:a:1:secret:db-AbCdEf:password::"},
            {},
            "this is the form of ECS for a key of JSON. Write secretsmanager://arn:aws:secretsmanager:a:1:secret:db-AbCdEf#password.",
        ),
        ({"A3": "${B3}", "B3": "${A3}"}, {}, "mwaa_env.b3: A3 and B3 refer to each other in a circle. Write one"),
        ({"A4": "${A-B}"}, {}, "mwaa_env.a4: a ${ does not begin a ${NAME}."),
        ({"A.5": "x"}, {}, "mwaa_env.a.5: not a valid variable name"),
        ({"6A": "x"}, {}, "mwaa_env.6a: not a valid variable name"),
        ({"": "x"}, {}, "mwaa_env.: not a valid variable name"),
        (
            {"A7": "${B7}", "B7": "secretsmanager://"},
            {},
            "mwaa_env.a7: it refers to B7, which is not set. Correct mwaa_env",
        ),
        ({"B8": "secretsmanager://#k"}, {}, "mwaa_env.b8: it does not name a secret. Write secretsmanager://NAME"),
        (
            {"TZ": "Asia/Tokyo"},
            {},
            "mwaa_env.tz: a running process does not notice a change. Set the option mwaa_provider.",
        ),
        ({"AIRFLOW__CORE__DAG_CONCURRENCY": "9"}, {}, "Set the option core.dag_concurrency instead."),
        ({"AIRFLOW__X": "9"}, {}, "mwaa_env.airflow__x: Airflow reads its options before plugins."),
        ({"MWAA__CORE__X": "9"}, {}, "mwaa_env.mwaa__core__x: MWAA reserves MWAA__CORE__X."),
    ],
)
def test_what_is_wrong_is_one_line_and_the_others_are_set(
    options: dict[str, str], expected: dict[str, str], line: str, lines: Lines
) -> None:
    variables: dict[str, str] = {}
    set_variables({**options, "LAST": "z"}, variables)
    assert variables == {**expected, "LAST": "z"}
    assert sum(line in each for each in lines()) == 1
    assert {each.partition(": ")[0] for each in lines()} <= {f"mwaa_env.{name.lower()}" for name in options}
    assert len(lines()) == len(options) - len(expected.keys() & {"JAVA_HOME"})


@pytest.mark.once
def test_the_docs_list_the_reserved_names() -> None:
    (row,) = re.findall(r"(?m)^\| `AIRFLOW_CONN_AWS_DEFAULT`.*$", PAGE.read_text(encoding="utf-8"))
    named = set(re.findall(r"`([A-Z_0-9]+)`", row))
    assert named == RESERVED - {"PYTHONPATH"}  # which has its own row
    # Those of the user guide that are no options.
    assert named >= {
        *("MWAA_AIRFLOW_COMPONENT", "AIRFLOW_HOME", "SQL_ALCHEMY_CONN", "AIRFLOW_VERSION", "AIRFLOW_CONN_AWS_DEFAULT"),
        *("AWS_DEFAULT_REGION", "AWS_REGION", "PYTHONUNBUFFERED"),
    }


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(RESERVED))
def test_each_reserved_name_is_refused(name: str, lines: Lines) -> None:
    variables: dict[str, str] = {}
    set_variables({name: "x"}, variables)
    assert variables == {}
    (line,) = lines()
    assert line.startswith(f"mwaa_env.{name.lower()}: MWAA reserves {name}. ")


@pytest.mark.usefixtures("is_scheduler")
def test_a_path_of_libraries_is_set_and_the_way_out_is_named(lines: Lines) -> None:
    variables: dict[str, str] = {}
    set_variables({"LD_LIBRARY_PATH": "/x"}, variables)
    assert variables == {"LD_LIBRARY_PATH": "/x"}
    if not AIRFLOW_V_3:  # its tasks are separate programs on MWAA, and inherit it
        assert lines() == []
        return
    (line,) = lines()
    assert line.startswith(
        "mwaa_env.ld_library_path: programs that a task starts see LD_LIBRARY_PATH, but not the task"
    )
    assert "startup script" in line
    assert "mwaa_provider.preload_libraries" in line


def test_options_come_from_variables_and_from_the_file(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    conf.read_dict({"mwaa_env": {"in_file": "10%%", "in_both": "file", "odd": "%(x)s", "start_cmd": "exit 1"}})
    try:
        os.environ |= {f"{PREFIX}IN_BOTH": "$$variable", f"{PREFIX}LIST_SECRET": "no/name", f"{PREFIX}NUMBER": "010"}
        EnvironmentVariablesPlugin.on_load()
    finally:
        conf.remove_section("mwaa_env")
    names = ("IN_FILE", "IN_BOTH", "ODD", "START_CMD", "LIST_SECRET", "NUMBER")
    assert [os.environ[name] for name in names] == ["10%", "$variable", "%(x)s", "exit 1", "no/name", "010"]
    assert lines() == []


def test_a_value_that_no_variable_can_have(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setenv("AFTER_IT", "x")
    set_variables({"WITH_NUL": "a\0b", "AFTER_IT": "y"}, os.environ)
    assert "WITH_NUL" not in os.environ
    assert os.environ["AFTER_IT"] == "y"
    (line,) = lines()
    assert line.startswith("mwaa_env.with_nul: the value has characters that a variable cannot contain.")


@pytest.mark.once
def test_a_value_that_no_program_can_be_started_with(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setattr(os, "environ", {})
    whole = 131_072
    options = {"LONG": "x" * (whole - len("LONG=") - 1), "LONGER": "é" * (whole // 2 - 3)}
    set_variables(options, os.environ)
    assert os.environ == {"LONG": options["LONG"]}
    subprocess.run(["/bin/true"], env=os.environ, check=True)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["/bin/true"], env=options, check=True)
    (line,) = lines()
    assert line.startswith(
        "mwaa_env.longer: the variable would have 131,073 bytes, but programs accept at most 131,071. "
    )


def test_secrets_are_read_once_and_masked(
    secrets: SecretsService, lines: Lines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    masked: list[str] = []
    monkeypatch.setattr(env_secrets, "keep_masked", masked.extend)
    options = {
        "DB_URL": "postgresql://u:${DB_PASSWORD}@host:${DB_PORT}/db",
        "DB_PASSWORD": "secretsmanager://db#password",
        "DB_PORT": "secretsmanager://db#port",
        "DB_ON": "secretsmanager://db#on",
        "PLAIN": "secretsmanager://plain",
    }
    for _ in range(3):
        variables: dict[str, str] = {}
        set_variables(options, variables)
        assert variables["DB_URL"] == f"postgresql://u:{CANARY}@host:5432/db"
        assert [variables["DB_ON"], variables["PLAIN"]] == ["true", f"{CANARY}-plain"]
    assert secrets.reads() == 2
    # No numbers in JSON, because each 5432 in a log would be masked.
    assert set(masked) == {CANARY, f"{CANARY}-plain"}
    assert lines() == []
    assert CANARY not in caplog.text


PEM = f"-----BEGIN KEY-----\r\n{CANARY}\r\nAB==\r\n-----END KEY-----\r\n"


@pytest.mark.parametrize(
    ("text", "key", "value", "masked"),
    [
        (f"{CANARY}\n", "", f"{CANARY}\n", {CANARY, f"{CANARY}\n"}),
        (PEM, "", PEM, {PEM, PEM.strip(), CANARY, "-----BEGIN KEY-----", "-----END KEY-----"}),
        (json.dumps({"pem": PEM}), "pem", PEM, {PEM, PEM.strip(), CANARY, "-----BEGIN KEY-----", "-----END KEY-----"}),
        # JSON as a whole, and the values that a task extracts from it.
        ('{"a": ["x\\"y-z", {"b": " tail "}], "n": 54321, "s": "abcd"}', "", None, {'x"y-z', " tail "}),
        ('{"o": {"a": "quo\\"te", "n": 54321}}', "o", '{"a": "quo\\"te", "n": 54321}', {'quo"te'}),
        # Masking a short string would remove it from all logs.
        ("abcd", "", "abcd", set()),
        ("54321", "", "54321", {"54321"}),
    ],
)
def test_what_is_masked_of_a_secret(
    secrets: SecretsService,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    key: str,
    value: str | None,
    masked: set[str],
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(env_secrets, "keep_masked", asked.extend)
    secrets.put("masked", text)
    variables: dict[str, str] = {}
    set_variables({"V": f"secretsmanager://masked{key and '#'}{key}"}, variables)
    whole = text if value is None else value
    assert variables == {"V": whole}
    assert set(asked) == masked | ({whole} if len(whole) > 4 else set())


def test_more_than_airflow_masks_in_time_is_refused(secrets: SecretsService, lines: Lines) -> None:
    secrets.put("masked", "\n".join(f"line {number:04}" for number in range(200)))
    variables: dict[str, str] = {}
    set_variables({"MANY": "secretsmanager://masked"}, variables)
    assert variables == {}
    (line,) = lines()
    assert line.startswith(
        "mwaa_env.many: the value has 201 lines and strings, but Airflow masks at most 200 in good time. "
    )


@pytest.mark.parametrize(
    ("reference", "fault", "line"),
    [
        ("nowhere", None, "Secrets Manager has no secret nowhere. Create it, or correct the reference."),
        ("db#other", None, "the JSON of the secret db has no 'other'. Correct the reference, or the secret."),
        ("db#none", None, "the JSON of the secret db has no 'none'. Correct the reference, or the secret."),
        (
            "plain#key",
            None,
            "the secret plain is not a JSON object. Remove #key from the reference, or correct the secret.",
        ),
        (
            "db",
            (400, "AccessDeniedException"),
            "access to db was denied (AccessDeniedException). Allow the execution role",
        ),
        (
            "db",
            (500, "InternalServiceError"),
            "Secrets Manager did not answer for db (InternalServiceError). Try again",
        ),
    ],
)
def test_a_secret_that_cannot_be_read_is_one_line(
    secrets: SecretsService,
    lines: Lines,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    reference: str,
    fault: tuple[int, str] | None,
    line: str,
) -> None:
    def answer(action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        return fault and (fault[0], {"__type": fault[1], "message": "no"}) if action == "GetSecretValue" else None

    secrets.fault = answer
    for module in (diagnosis, misses):
        monkeypatch.setattr(module, "subject", lambda _identity: "What was looked up")
    name = f"SECRET_{uuid.uuid4().hex.upper()}"
    variables: dict[str, str] = {}
    set_variables({name: f"secretsmanager://{reference}", "LAST": "z"}, variables)
    assert variables == {"LAST": "z"}
    (told,) = lines()
    assert told.startswith(f"mwaa_env.{name.lower()}: {line}")
    assert [record.getMessage() for record in caplog.records if record.name.startswith("airflow")] == [told]
    assert CANARY not in caplog.text


def test_when_nobody_answers_one_is_asked_for_once_in_half_a_minute(
    secrets: SecretsService, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_all() -> dict[str, str]:
        variables: dict[str, str] = {}
        set_variables(options, variables)
        return variables

    def go_on(seconds: float) -> None:
        now_s = store.now_s
        monkeypatch.setattr(store, "now_s", lambda: now_s() + seconds)

    options = {"KNOWN": "secretsmanager://plain"}
    assert set_all() == {"KNOWN": f"{CANARY}-plain"}
    go_on(400)
    secrets.calls.clear()
    secrets.fault = lambda _action, _request: (500, {"__type": "InternalServiceError"})
    options = {"Q1": "secretsmanager://db#password", "Q2": "secretsmanager://other", **options}
    assert set_all() == {"KNOWN": f"{CANARY}-plain"}
    assert secrets.reads() == 3  # a request and its repetitions
    first, second = lines()
    assert first.startswith("mwaa_env.q1: Secrets Manager did not answer for db (InternalServiceError). ")
    assert second.startswith(
        "mwaa_env.q2: not requested within 30 s of a failure: Secrets Manager did not answer for db"
    )
    # Like any other process.
    assert set_all() == {"KNOWN": f"{CANARY}-plain"}
    assert secrets.reads() == 3
    go_on(40)
    secrets.fault = None
    assert set_all() == {"KNOWN": f"{CANARY}-plain", "Q1": CANARY}


def test_a_process_that_loads_plugins_twice_asks_once(
    secrets: SecretsService, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, f"{PREFIX}TWICE": "secretsmanager://db"})
    secrets.fault = lambda _action, _request: (500, {"__type": "InternalServiceError"})
    EnvironmentVariablesPlugin.on_load()
    now_s = store.now_s
    monkeypatch.setattr(store, "now_s", lambda: now_s() + 60)
    EnvironmentVariablesPlugin.on_load()
    assert secrets.reads() == 3
    assert len(lines()) == 1
    secrets.fault = None
    monkeypatch.setattr(os, "getpid", lambda: 1)  # a process that was forked from it
    EnvironmentVariablesPlugin.on_load()
    assert CANARY in os.environ["TWICE"]


class Lifecycle:
    """Airflow's own is in a different place in each version."""

    @staticmethod
    @pluggy.HookspecMarker("airflow")
    def on_starting(component: Any) -> None: ...


def test_the_process_that_writes_the_log_of_a_task_is_told_what_to_mask(
    secrets: SecretsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, f"{PREFIX}TOLD": "secretsmanager://plain"})
    monkeypatch.setattr(EnvironmentVariablesPlugin, "listeners", [])
    EnvironmentVariablesPlugin.on_load()
    assert bool(EnvironmentVariablesPlugin.listeners) is AIRFLOW_V_3  # in tasks of Airflow 2 it is the same process
    if AIRFLOW_V_3:
        told: list[str] = []
        monkeypatch.setattr(env_secrets, "mask_secret", told.extend)
        listeners = pluggy.PluginManager("airflow")
        listeners.add_hookspecs(Lifecycle)
        for listener in EnvironmentVariablesPlugin.listeners:
            listeners.register(listener)
        listeners.hook.on_starting(component=None)
        assert f"{CANARY}-plain" in told


def test_an_error_of_one_option_keeps_no_other_from_being_set(secrets: SecretsService, lines: Lines) -> None:
    secrets.put("deep", "[" * 60_000)
    options = {"DEEP": "secretsmanager://deep#k", "DEEP_TEXT": "secretsmanager://deep", "LAST": "z"}
    variables: dict[str, str] = {}
    set_variables(options, variables)
    assert variables == {"DEEP_TEXT": "[" * 60_000, "LAST": "z"}
    (line,) = lines()
    assert line.startswith("mwaa_env.deep: the secret deep is not a JSON object.")


@pytest.mark.once
def test_an_unforeseen_error_names_its_option(monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    def broken(name: str, key: str) -> tuple[str, str]:
        raise RuntimeError("words")

    monkeypatch.setattr(env_secrets, "read_secret", broken)
    variables: dict[str, str] = {}
    set_variables({"X1": "secretsmanager://x", "Y1": "${X1}", "LAST": "z"}, variables)
    assert variables == {"LAST": "z"}
    first, second = lines()
    assert first.startswith("mwaa_env.x1: not applied: RuntimeError at ")
    assert second == "mwaa_env.y1: it refers to X1, which is not set. Correct mwaa_env.x1."
    assert "words" not in first


PRELOAD = """
import ctypes, logging, os, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from airflow_mwaa_provider.plugins.libraries import preload
assert "airflow" not in sys.modules
needs, libraries = sys.argv[1:]
preload(libraries)
try:
    ctypes.CDLL(needs)
    print("loaded")
except OSError as error:
    print("missing", str(error).partition(":")[0])
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two libraries in separate folders; the first needs the second, as Oracle's client needs libaio."""
    spec = util.find_spec("psycopg2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parents[1] / "psycopg2_binary.libs"
    found = []
    for name in ("libssl", "libcrypto"):
        (path,) = folder.glob(f"{name}-*")
        found.append(Path(shutil.copy(path, tmp_path_factory.mktemp(name))))
    return found[0], found[1]


def test_a_library_is_found_by_those_that_need_it(libraries: tuple[Path, Path]) -> None:
    def run(paths: str) -> list[str]:
        command = [sys.executable, "-c", PRELOAD, str(libraries[0]), paths]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    ssl, crypto = libraries
    assert run("") == [f"missing {crypto.name}"]
    assert run(f" {crypto} ,") == ["loaded"]
    option = "mwaa_provider.preload_libraries"
    missing = "cannot open shared object file: No such file or directory"
    advice = "List its dependencies before it, and check that it is for this processor."
    long = f"/{'x' * 300}.so"
    assert run(f"libx.so, {long}, /nowhere/liby.so,{ssl},{__file__},{crypto}") == [
        f"{option}: libx.so: not a full path. Begin with /, as in /usr/local/airflow/plugins/libaio.so.1.",
        f"{option}: {long}: not loaded ([Errno 36] File name too long: {long!r}). Correct the path.",
        f"{option}: /nowhere/liby.so: no such file. Correct the path, or put the file into plugins.zip.",
        f"{option}: {ssl}: not loaded ({crypto.name}: {missing}). {advice}",
        f"{option}: {__file__}: not loaded ({__file__}: invalid ELF header). {advice}",
        "loaded",
    ]


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        ({}, ["airflow", "scheduler"], True),
        ({}, ["airflow", "webserver"], False),
        ({}, ["airflow", "api-server"], False),
        ({"MWAA_AIRFLOW_COMPONENT": "webserver"}, ["gunicorn"], False),
        ({"MWAA_AIRFLOW_COMPONENT": "worker"}, ["airflow", "celery", "worker"], True),
    ],
)
def test_web_servers_load_no_libraries(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, variables: dict[str, str], arguments: list[str], expected: bool
) -> None:
    path = f"/nowhere/{len(variables)}{'-'.join(arguments)}.so"
    for name, value in {**variables, "AIRFLOW__MWAA_PROVIDER__PRELOAD_LIBRARIES": path}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", arguments)
    EnvironmentVariablesPlugin.on_load()
    assert [path in line for line in lines()] == [True] * expected
