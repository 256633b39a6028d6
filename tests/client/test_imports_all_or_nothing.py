# SPDX-License-Identifier: Apache-2.0
"""An import is applied completely or not at all, no matter what fails, on every transport."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mwaa_provider.client.stored.kinds import StoredConnections, StoredVariables
from airflow_mwaa_provider.client.transactional_import import import_stored
from airflow_mwaa_provider.exceptions import ImportFailed, MwaaError
from tests.client.imports import REST, SECRET, TARGETS, put, state, values, variables
from tests.client.world import TRANSPORTS, FakeTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.world import World

FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
SEEDS, SIZE = (200, 500) if FULL else (20, 60)


def fault_of(chance: random.Random, transport: str, keys: list[str], stored: list[str]) -> dict[str, Any]:
    """A fault at a random point: any call, a call that creates, or the calls for one existing key."""
    kind: dict[str, Any] = chance.choice(
        [
            {"kind": "status", "status": 400, "times": 1},
            {"kind": "status", "status": 403, "times": 1},
            {"kind": "status", "status": 404, "times": 1},
            # Long enough to exhaust the retries of one call.
            {"kind": "status", "status": 503, "times": 9},
            {"kind": "html", "status": 502, "times": 9},
            {"kind": "reset_before", "times": 9},
            {"kind": "reset_after", "times": 9},
            {"kind": "status_after", "status": 502, "times": 9},
        ]
    )
    if transport == "cli" and chance.random() < 0.6:
        kind = {"kind": "status", "status": 400, "times": 1}  # no command names a key, so few kinds can be persistent
    anywhere = {**kind, "probability": 2 / len(keys), "seed": chance.randrange(10**6)}
    which = chance.random()
    if which < 0.2:
        return anywhere
    if transport == "cli":
        return {**anywhere, "path": chance.choice(["variables set", "variables set", "variables get"])}
    if which < 0.4:
        return {**anywhere, "path": "*/variables", "method": "POST"}
    return {**kind, "path": f"*/variables/{chance.choice(stored)}"}


def old_variables(chance: random.Random, keys: list[str]) -> dict[str, dict[str, Any]]:
    rows = {}
    for key in chance.sample(keys, len(keys) // 2):
        value = chance.choice(["", "old ünï ' $", '{"a":  1}', "2.10", " spaces ", f"old {key}"])
        rows[key] = {"key": key, "value": value, "description": chance.choice([None, "old", "it's"])}
    rows["unconcerned"] = {"key": "unconcerned", "value": "v", "description": None}
    return rows


@pytest.mark.timeout(7200 if FULL else 300)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_there_or_all_as_before(world: World, transport: str) -> None:
    """The stub shows the exact values that it stores, so "as before" means byte for byte."""
    failed = 0
    for seed in range(TRANSPORTS.index(transport), SEEDS, len(TRANSPORTS)):
        chance = random.Random(f"{transport} {seed}")
        size = SIZE if FULL or transport != "cli" else SIZE // 3
        env_name = chance.choice(["env3", "env2"])
        world.clear()
        environment = world.environment(env_name, transport, airflow_major=int(env_name[-1]))
        keys = [f"key_{n:03}" for n in range(size)]
        document: dict[str, Any] = {key: chance.choice([f"new {seed}", {"n": [seed]}, seed, None]) for key in keys}
        for key in chance.sample(keys, size // 4):
            document[key] = {"value": document[key], "description": f"new {seed}"}
        stored = old_variables(chance, keys)
        if transport == "cli":  # which cannot restore a description
            stored = {key: {**row, "description": None} for key, row in stored.items()}
        world.airflow(env_name).objects["variables"] = stored
        before = state(world, env_name)
        world.fault(TARGETS[transport], environment=env_name, **fault_of(chance, transport, keys, sorted(stored)))
        error: MwaaError | None = None
        try:
            result = variables(environment, document, overwrite_hidden=True)
        except MwaaError as caught:
            error = caught
        if error is not None:
            failed += 1
            assert state(world, env_name) == before, (seed, error)
            if isinstance(error, ImportFailed) and transport != "cli":
                assert error.restored, (seed, error)
                assert error.left == ()
            continue
        wanted = StoredVariables(environment).parse(document)
        assert {key: row["value"] for key, row in state(world, env_name).items()} == {
            "unconcerned": "v",
            **{key: variable.value for key, variable in wanted.items()},
        }, seed
        assert len(result["created"]) + len(result["changed"]) + len(result["same"]) == size
    assert failed > SEEDS / len(TRANSPORTS) / 5


@pytest.mark.parametrize("transport", REST)
def test_what_cannot_be_put_back_is_told_in_one_error(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    put(world, "env3", b="old")
    put(world, "env3", e="old")
    world.fault(TARGETS[transport], "status", status=400, path="*/variables/e", method="PATCH", times=1)
    world.fault(TARGETS[transport], "status", status=400, path="*/variables/a", method="DELETE")
    with pytest.raises(ImportFailed, match=r"variable 'a' may not have been restored") as caught:
        variables(environment, dict.fromkeys("abcde", SECRET), restore_timeout_s=100)
    assert (caught.value.left, caught.value.restored, caught.value.ambiguous) == (("a",), False, True)
    assert SECRET not in repr(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, MwaaError)
    assert values(world, "env3") == {"a": SECRET, "b": "old", "e": "old"}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_outage_ends_in_time_and_names_all(world: World, transport: str) -> None:
    environment = world.environment("env3", transport)
    environment.variables.list()
    world.fault(
        TARGETS[transport],
        "html",
        status=502,
        path="variables set*" if transport == "cli" else None,
        method=None if transport == "cli" else "POST",
    )
    with pytest.raises(ImportFailed) as caught:
        variables(environment, {f"key_{n}": "v" for n in range(4)})
    # None was written, as the stored values show.
    assert caught.value.restored
    world.airflow().objects["variables"].clear()


def test_an_outage_that_goes_on_is_told(world: World) -> None:
    environment = world.environment("env3", "web_session")
    put(world, "env3", a="old")
    kind, time = StoredVariables(environment), FakeTime()
    write = kind.write
    written: list[str] = []

    def write_and_lose_the_server(item: Any, there: Any) -> None:
        write(item, there)
        written.append(item.key)
        if len(written) == 2:
            world.fault("rest", "html", status=502)

    kind.write = write_and_lose_the_server  # type: ignore[method-assign]
    with pytest.raises(ImportFailed) as caught:
        import_stored(kind, kind.parse({"a": "new", "b": "new"}), sleep=time.sleep, clock=time.clock)
    assert caught.value.left == ("a", "b")
    assert not caught.value.transient


def test_somebody_elses_write_is_found(world: World) -> None:
    environment = world.environment("env3", "web_session")
    kind, time = StoredVariables(environment), FakeTime()
    write = kind.write

    def write_otherwise(item: Any, there: Any) -> None:
        write(item, there)
        put(world, "env3", a="somebody else's")

    kind.write = write_otherwise  # type: ignore[method-assign]
    with pytest.raises(ImportFailed, match="'a' differ from what was written"):
        import_stored(kind, kind.parse({"a": "new"}), sleep=time.sleep, clock=time.clock)


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_somebody_elses_creation_is_found(world: World, env_name: str) -> None:
    """Created between the read and the write: it is not replaced or deleted, although Airflow 2 would replace it."""
    environment = world.environment(env_name, "web_session")
    kind, time = StoredVariables(environment), FakeTime()
    write = kind.write

    def write_too_late(item: Any, there: Any) -> None:
        put(world, env_name, a="somebody else's")
        write(item, there)

    kind.write = write_too_late  # type: ignore[method-assign]
    with pytest.raises(ImportFailed, match=r"everything is as before.*'a'.*already exists"):
        import_stored(kind, kind.parse({"a": "new"}), sleep=time.sleep, clock=time.clock)
    assert values(world, env_name) == {"a": "somebody else's"}


# -- interruptions -------------------------------------------------------------------------------------


class Killed(BaseException):
    """Raised as by Airflow's own signal handler."""


@pytest.fixture
def _kill_signal() -> Iterator[None]:
    def handler(*_: Any) -> None:
        raise Killed

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("after", [1, 6, 11])
@pytest.mark.usefixtures("_kill_signal")
def test_a_signal_in_the_middle_puts_all_back(world: World, transport: str, after: int) -> None:
    environment = world.environment("env3", transport)
    put(world, "env3", key_3="old")
    before = state(world, "env3")
    kind = StoredVariables(environment)
    write, numbers = kind.write, itertools.count(1)

    def write_and_kill(item: Any, there: Any) -> None:
        write(item, there)
        if next(numbers) == after:
            os.kill(os.getpid(), signal.SIGUSR1)

    kind.write = write_and_kill  # type: ignore[method-assign]
    with pytest.raises(Killed):
        import_stored(kind, kind.parse({f"key_{n}": "new" for n in range(16)}), overwrite_hidden=True)
    assert state(world, "env3") == before


@pytest.mark.usefixtures("_kill_signal")
def test_a_second_signal_is_told_with_all_that_may_be_left(world: World) -> None:
    environment = world.environment("env3", "web_session")
    kind = StoredVariables(environment)
    write, delete = kind.write, kind.delete

    def write_and_kill(item: Any, there: Any) -> None:
        write(item, there)
        os.kill(os.getpid(), signal.SIGUSR1)

    def delete_and_kill(key: str) -> None:
        delete(key)
        os.kill(os.getpid(), signal.SIGUSR1)

    kind.write = write_and_kill  # type: ignore[method-assign]
    kind.delete = delete_and_kill  # type: ignore[method-assign]
    with pytest.raises(ImportFailed, match="interrupted by Killed") as caught:
        import_stored(kind, kind.parse({"a": "new"}))
    assert caught.value.left == ("a",)


def test_a_stop_ends_it_and_puts_all_back(world: World) -> None:
    environment = world.environment("env3", "web_session")
    put(world, "env3", key_3="old")
    before, stop = state(world, "env3"), threading.Event()
    kind = StoredVariables(environment)
    write = kind.write

    def write_and_stop(item: Any, there: Any) -> None:
        write(item, there)
        stop.set()

    kind.write = write_and_stop  # type: ignore[method-assign]
    with pytest.raises(ImportFailed, match="The import was stopped") as caught:
        import_stored(kind, kind.parse({f"key_{n}": "new" for n in range(16)}), stop=stop)
    assert caught.value.restored
    assert state(world, "env3") == before


# -- whose it is, after a lost answer ------------------------------------------------------------------

LOST = [  # the answer to the creation is lost; it took effect, or another client's did
    pytest.param(True, id="ours"),
    pytest.param(False, id="somebody else's"),
]
DB = {"conn_type": "postgres", "host": "h", "login": "l"}


def lose_the_answer(world: World, name: str, *, ours: bool, row: dict[str, Any]) -> None:
    """Lose the answer to the first POST, and reject later ones, because the object exists."""
    world.airflow().shows_like_airflow_3 = True
    if not ours:
        stored, create = world.airflow().objects[name], world.airflow()._object

        def create_too_late(method: str, collection: str, *more: Any) -> Any:
            if method == "POST" and collection == name:
                stored[row.get("key") or row["connection_id"]] = row
            return create(method, collection, *more)

        world.airflow()._object = create_too_late  # type: ignore[method-assign]
    world.fault("rest", "reset_after" if ours else "reset_before", path=f"*/{name}", method="POST", times=1)


@pytest.fixture
def _own_method(world: World) -> Iterator[None]:
    yield
    vars(world.airflow()).pop("_object", None)


@pytest.mark.usefixtures("_own_method")
@pytest.mark.parametrize("ours", LOST)
@pytest.mark.parametrize("asks_cli", [True, False])
def test_a_masked_variable_after_a_lost_answer(world: World, ours: bool, asks_cli: bool) -> None:
    """The CLI shows what the REST API masks; if it is not available, nothing is claimed."""
    theirs = {"key": "a_secret", "value": "theirs", "description": None}
    lose_the_answer(world, "variables", ours=ours, row=theirs)
    if not asks_cli:
        world.deny("CreateCliToken")
    environment = world.environment("env3", "web_session")
    if ours and asks_cli:
        assert variables(environment, {"a_secret": SECRET})["created"] == ["a_secret"]
        return
    with pytest.raises(ImportFailed) as caught:
        variables(environment, {"a_secret": SECRET})
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert values(world, "env3") == {"a_secret": SECRET if ours else "theirs"}
    if asks_cli:
        assert caught.value.restored
        return
    assert (caught.value.left, caught.value.restored) == (("a_secret",), False)
    assert "Whether this import created variable 'a_secret' is unknown (Airflow masks its value" in str(caught.value)


@pytest.mark.usefixtures("_own_method")
@pytest.mark.parametrize("ours", LOST)
def test_a_number_whose_digits_airflow_rewrites_after_a_lost_answer(world: World, ours: bool) -> None:
    theirs = {"key": "version", "value": "2.1", "description": None}
    lose_the_answer(world, "variables", ours=ours, row=theirs)
    environment = world.environment("env3", "web_session")
    if ours:
        assert variables(environment, {"version": "2.10"})["created"] == ["version"]
        return
    with pytest.raises(ImportFailed, match="everything is as before"):
        variables(environment, {"version": "2.10"})
    assert values(world, "env3") == {"version": "2.1"}


@pytest.mark.usefixtures("_own_method")
@pytest.mark.parametrize(
    ("mine", "theirs", "hidden"),
    [
        ({"password": "mine"}, {"password": "theirs"}, "Airflow does not show its password"),
        (
            {"extra": '{"secret": "mine"}'},
            {"password": None, "extra": '{"secret": "***"}'},
            "Airflow masks a part of its extra",
        ),
        # A visible difference proves that another client created it.
        ({"password": "mine"}, {"password": None}, None),
        ({}, {"password": "theirs"}, None),
        ({"password": "mine"}, {"password": "mine", "host": "other"}, None),
        ({"extra": '{"secret": "mine", "a": 1}'}, {"password": None, "extra": '{"secret": "***", "a": 2}'}, None),
    ],
)
def test_a_connection_of_somebody_else_after_a_lost_answer(
    world: World, mine: dict[str, Any], theirs: dict[str, Any], hidden: str | None
) -> None:
    row = {"connection_id": "db", **DB, **theirs}
    lose_the_answer(world, "connections", ours=False, row=row)
    kind, time = StoredConnections(world.environment("env3", "web_session")), FakeTime()
    with pytest.raises(ImportFailed) as caught:
        import_stored(kind, kind.parse({"db": {**DB, **mine}}), sleep=time.sleep, clock=time.clock)
    assert world.airflow().objects["connections"] == {"db": row}
    assert (caught.value.left, caught.value.restored) == ((), True) if hidden is None else (("db",), False)
    assert hidden is None or f"created connection 'db' is unknown ({hidden})" in str(caught.value)


@pytest.mark.parametrize("env_name", ["env3", "env2"])
def test_a_connection_without_a_password_after_a_lost_answer(world: World, env_name: str) -> None:
    """Airflow 3 shows that it has none; Airflow 2 shows nothing, so it may have another one."""
    world.fault("rest", "reset_after", path="*/connections", method="POST", times=1)
    kind, time = StoredConnections(world.environment(env_name, "web_session")), FakeTime()
    document = kind.parse({"db": DB})
    if env_name == "env3":
        assert import_stored(kind, document, sleep=time.sleep, clock=time.clock).created == ("db",)
        return
    with pytest.raises(ImportFailed, match=r"connection 'db' is unknown \(Airflow does not show its password\)"):
        import_stored(kind, document, sleep=time.sleep, clock=time.clock)


def test_what_is_hidden_is_left_when_the_answer_never_came(world: World) -> None:
    """All tries end without an answer: what exists in the end is not deleted on a guess."""
    world.airflow().shows_like_airflow_3 = True
    world.deny("CreateCliToken")
    environment = world.environment("env3", "web_session")
    world.fault("rest", "status_after", status=502, path="*/variables", method="POST", times=1)
    world.fault("rest", "html", status=502, path="*/variables", method="POST", times=99)
    with pytest.raises(ImportFailed) as caught:
        variables(environment, {"a_secret": SECRET})
    assert caught.value.left == ("a_secret",)
    assert "is unknown (Airflow masks its value" in str(caught.value)
    assert values(world, "env3") == {"a_secret": SECRET}
