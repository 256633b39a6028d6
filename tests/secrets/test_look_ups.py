# SPDX-License-Identifier: Apache-2.0
"""Answers come from the cache until they expire, and from Secrets Manager otherwise."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaInputError, SecretsUnavailable
from airflow_mwaa_provider.secrets import look_up_cache
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend
from tests.secrets.conftest import CANARY, FERNET_KEY, Clock, SecretsService, error, make


def test_one_call_for_many_look_ups(service: SecretsService, folder: Path) -> None:
    service.put("airflow/connections/db", "postgres://u:p@h/db")
    service.put("airflow/variables/v", "1")
    service.put("airflow/config/c", "2")
    for _ in range(5):
        backend = make(folder)
        assert backend.get_conn_value("db") == "postgres://u:p@h/db"
        assert backend.get_variable("v") == "1"
        assert backend.get_config("c") == "2"
    assert service.reads() == 3
    found = backend.cache.statistics.read()
    assert (found["hits"], found["misses"], found["calls"]) == (12, 3, 3)


def test_a_connection_is_what_the_amazon_provider_makes_of_it(backend: Any, service: SecretsService) -> None:
    service.put("airflow/connections/j", json.dumps({"engine": "postgres", "username": "u", "server": "h"}))
    for _ in range(2):
        assert json.loads(backend.get_conn_value("j"))["conn_type"] == "postgres"
        connection = backend.get_connection("j")
        assert (connection.conn_type, connection.login, connection.host) == ("postgres", "u", "h")


def test_an_absence_is_remembered_for_a_shorter_time(service: SecretsService, folder: Path, clock: Clock) -> None:
    backend = make(folder, negative_ttl_s=60)
    assert [backend.get_variable("new") for _ in range(3)] == [None] * 3
    assert service.reads() == 1
    service.put("airflow/variables/new", "here")
    clock.pass_s(50)
    assert backend.get_variable("new") is None
    clock.pass_s(11)
    assert backend.get_variable("new") == "here"


def test_a_changed_value_is_seen_after_the_time_to_live(service: SecretsService, folder: Path, clock: Clock) -> None:
    backend = make(folder, cache_ttl_s="300")
    service.put("airflow/variables/v", "old")
    assert backend.get_variable("v") == "old"
    service.put("airflow/variables/v", "new")
    clock.pass_s(269)
    assert backend.get_variable("v") == "old"
    clock.pass_s(32)
    assert backend.get_variable("v") == "new"


def test_the_times_to_live_of_many_end_one_after_the_other(service: SecretsService, folder: Path) -> None:
    backend = make(folder)
    for number in range(30):
        backend.get_variable(f"v{number}")
    shares = {entry.jitter for entry in backend.cache.store.entries()}
    assert len(shares) > 20
    assert all(0.9 <= share <= 1 for share in shares)


def test_a_refresh_is_seen_at_once_and_made_once(service: SecretsService, backend: Any, clock: Clock) -> None:
    service.put("airflow/connections/db", "postgres://u:old@h/db")
    backend.get_conn_value("db")
    service.put("airflow/connections/db", "postgres://u:new@h/db")
    clock.pass_s(11)
    service.calls.clear()
    assert backend.refresh("connection", "db") is True
    assert backend.get_conn_value("db") == "postgres://u:new@h/db"
    assert backend.refresh("connection", "db") is False
    assert service.reads() == 1


def test_a_refresh_that_fails_keeps_the_old_value(service: SecretsService, backend: Any, clock: Clock) -> None:
    service.put("airflow/connections/db", "postgres://u:old@h/db")
    backend.get_conn_value("db")
    clock.pass_s(11)
    service.fault = lambda action, request: error("InternalServiceError", status=500)
    assert backend.refresh("connection", "db") is False
    assert backend.get_conn_value("db") == "postgres://u:old@h/db"


def test_what_is_forgotten_is_read_again(service: SecretsService, backend: Any) -> None:
    service.put("airflow/variables/v", "1")
    backend.get_variable("v")
    assert backend.invalidate("variable", "v")
    assert not backend.invalidate("variable", "v")
    assert backend.get_variable("v") == "1"
    assert service.reads() == 2


THROTTLED = error("ThrottlingException", "Rate exceeded")


@pytest.mark.parametrize("answer", [THROTTLED, error("InternalServiceError", status=500), error("", status=503)])
def test_while_nobody_answers_the_last_answer_is_used(
    service: SecretsService, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    backend = make(folder, cache_ttl_s=300, serve_stale_s=1000)
    service.put("airflow/variables/v", "old")
    backend.get_variable("v")
    service.fault = lambda action, request: answer
    service.calls.clear()
    clock.pass_s(400)
    with caplog.at_level(logging.WARNING):
        assert [backend.get_variable("v") for _ in range(5)] == ["old"] * 5
    [line] = [record.getMessage() for record in caplog.records if record.name == "airflow_mwaa_provider.secrets"]
    assert re.search(r"Using the answer from 40\d s ago, for (900|89\d) s more\.$", line)
    assert service.reads() <= 3  # one look-up with its retries
    clock.pass_s(31)
    assert backend.get_variable("v") == "old"
    assert service.reads() > 3
    service.fault = None
    service.put("airflow/variables/v", "new")
    clock.pass_s(31)
    assert backend.get_variable("v") == "new"


def test_after_that_the_error_is_a_clear_one(service: SecretsService, folder: Path, clock: Clock) -> None:
    backend = make(folder, cache_ttl_s=300, serve_stale_s=1000)
    service.put("airflow/variables/v", "old")
    backend.get_variable("v")
    service.fault = lambda action, request: THROTTLED
    clock.pass_s(1301)
    with pytest.raises(SecretsUnavailable, match=r"did not answer for airflow/variables/v \(Throttling"):
        backend.get_variable("v")


def test_access_denied_is_told_with_what_to_allow(
    service: SecretsService, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service.fault = lambda action, request: (
        error("AccessDeniedException", "no identity-based policy") if action == "GetSecretValue" else None
    )
    for _ in range(3):
        with pytest.raises(
            AccessDenied, match="GetSecretValue on arn:aws:secretsmanager:eu-west-1:123456789012:secret"
        ):
            backend.get_conn_value("db")
    assert service.reads() == 1
    assert sum("was denied" in record.getMessage() for record in caplog.records) == 1


def test_a_lost_permission_is_not_hidden_by_the_last_answer(
    service: SecretsService, backend: Any, clock: Clock
) -> None:
    service.put("airflow/connections/db", "postgres://u:p@h/db")
    backend.get_conn_value("db")
    service.fault = lambda action, request: error("AccessDeniedException", "explicit deny")
    clock.pass_s(400)
    with pytest.raises(AccessDenied):
        backend.get_conn_value("db")


def test_what_is_used_is_read_again_together(service: SecretsService, folder: Path, clock: Clock) -> None:
    for number in range(30):
        service.put(f"airflow/variables/v{number}", str(number))
    backend = make(folder)
    for _ in range(2):
        for number in range(30):
            backend.get_variable(f"v{number}")
    service.calls.clear()
    clock.pass_s(301)
    assert [backend.get_variable(f"v{number}") for number in range(30)] == [str(number) for number in range(30)]
    assert service.calls["BatchGetSecretValue"] == 2
    assert service.calls["GetSecretValue"] == 0


def test_where_batches_are_refused_they_are_read_alone(service: SecretsService, folder: Path, clock: Clock) -> None:
    backend = make(folder)
    for number in range(3):
        service.put(f"airflow/variables/v{number}", str(number))
    for number in [0, 1, 2] * 2:
        backend.get_variable(f"v{number}")
    service.fault = lambda action, request: (
        error("AccessDeniedException", "batch") if action == "BatchGetSecretValue" else None
    )
    for _ in range(2):
        clock.pass_s(301)
        assert [backend.get_variable(f"v{number}") for number in range(3)] == ["0", "1", "2"]
    assert service.calls["BatchGetSecretValue"] == 1


def test_secrets_under_a_prefix_are_read_along(service: SecretsService, folder: Path) -> None:
    for number in range(45):
        service.put(f"airflow/connections/c{number}", f"http://u:{number}@h")
    backend = make(folder, prefetch="airflow/connections/")
    assert [backend.get_conn_value(f"c{number}") for number in range(45)] == [f"http://u:{n}@h" for n in range(45)]
    assert service.calls["BatchGetSecretValue"] == 3
    assert service.calls["GetSecretValue"] == 0


def test_ids_that_do_not_match_are_not_looked_up(service: SecretsService, folder: Path) -> None:
    backend = make(folder, connections_lookup_pattern="^(?!aws_default$).*$", variables_prefix=None)
    assert backend.get_conn_value("aws_default") is None
    assert backend.get_variable("v") is None
    assert service.reads() == 0
    assert not folder.exists()


def test_without_a_prefix_the_id_is_the_name(service: SecretsService, folder: Path) -> None:
    service.put("plain", "1")
    assert make(folder, variables_prefix="").get_variable("plain") == "1"


def test_one_configuration_does_not_see_the_answers_of_another(service: SecretsService, folder: Path) -> None:
    service.put("airflow/variables/v", "one")
    service.put("other/v", "two")
    assert make(folder).get_variable("v") == "one"
    assert make(folder, variables_prefix="other").get_variable("v") == "two"
    assert make(folder, region_name="us-east-1").get_variable("v") is None


def test_teams_have_secrets_of_their_own(service: SecretsService, folder: Path) -> None:
    backend = make(folder)
    if not hasattr(backend, "_names_a_team_namespace"):
        pytest.skip("the amazon provider of this image knows no teams")
    service.put("airflow/variables/red--v", "red")
    service.put("airflow/variables/v", "all")
    for _ in range(2):
        assert backend.get_variable("v", team_name="red") == "red"
        assert backend.get_variable("v", team_name="blue") == "all"
        assert backend.get_variable("v") == "all"


def test_within_one_parse_a_value_stays_the_same(
    service: SecretsService, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", "dag-processor"])
    backend = make(folder, dag_processor_ttl_s=0)
    service.put("airflow/variables/v", "old")
    assert backend.get_variable("v") == "old"
    service.put("airflow/variables/v", "new")
    assert backend.get_variable("v") == "old"
    clock.pass_s(61)
    assert backend.get_variable("v") == "new"


def test_without_a_key_nothing_is_written(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    service.put("airflow/variables/v", "1")
    for _ in range(3):
        assert make(folder).get_variable("v") == "1"
    assert service.reads() == 1
    assert not folder.exists()
    assert sum("no Fernet key" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cache_ttl_s", "soon"), ("cache_ttl_s", -1), ("negative_ttl_s", "nan"), ("serve_stale_s", "inf"),
        ("max_entries", 0), ("max_bytes", "1.5"), ("prefetch", 3), ("prefetch", "[a"),
        ("access_denied_ends_search", "maybe"), ("dag_processor_ttl_s", "-3"), ("extra_conn_words", "[]"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(MwaaInputError, match=f"^{option}: "):
        CachedSecretsManagerBackend(**{option: value})


def test_all_keywords_take_text(service: SecretsService, folder: Path) -> None:
    service.put("my/c", json.dumps({"kind": "http", "user": "u"}))
    backend = make(
        folder,
        connections_prefix="my",
        sep="/",
        extra_conn_words='{"conn_type": ["kind"]}',
        cache_ttl_s="30",
        negative_ttl_s="5.5",
        serve_stale_s="0",
        dag_processor_ttl_s="null",
        max_entries="10",
        max_bytes="1e6",
        prefetch='["my/"]',
        access_denied_ends_search="False",
        log_not_found="true",
        use_ssl="false",
        region_name="eu-west-1",
    )
    assert json.loads(backend.get_conn_value("c"))["conn_type"] == "http"


def test_a_time_to_live_of_nothing_asks_each_time_and_for_that_alone(service: SecretsService, folder: Path) -> None:
    backend = make(folder, cache_ttl_s=0)
    for number in range(3):
        service.put(f"airflow/variables/v{number}", str(number))
    for number in [0, 1, 2] * 3:
        assert backend.get_variable(f"v{number}") == str(number)
    assert service.calls["GetSecretValue"] == 9
    assert service.calls["BatchGetSecretValue"] == 0


def test_a_refresh_reaches_a_parse(
    service: SecretsService, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", "dag-processor"])
    backend = make(folder)
    service.put("airflow/variables/v", "old")
    assert backend.get_variable("v") == "old"
    service.put("airflow/variables/v", "new")
    clock.pass_s(11)
    assert backend.refresh("variable", "v")
    assert backend.get_variable("v") == "new"


def test_json_that_is_nested_too_deeply_is_told(
    service: SecretsService, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service.put("airflow/connections/deep", '{"extra": ' + "[" * 30_000 + "]" * 30_000 + "}")
    assert backend.get_conn_value("deep") is None
    assert any("nested too deeply" in record.getMessage() for record in caplog.records)


def test_values_are_in_no_debug_log(
    service: SecretsService, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """At this level, botocore logs every complete answer."""
    for number in range(3):
        service.put(f"airflow/variables/v{number}", f"{CANARY} {number}")
    for logger in ("", "botocore", "urllib3", "airflow_mwaa_provider"):
        caplog.set_level(logging.DEBUG, logger)
    caplog.clear()
    backend = make(folder, prefetch="airflow/other/")
    for _ in range(2):
        for number in [0, 1, 2] * 2:
            assert backend.get_variable(f"v{number}") == f"{CANARY} {number}"
        clock.pass_s(301)
    assert service.calls["BatchGetSecretValue"] > 1
    assert "from the cache" in caplog.text
    assert CANARY not in caplog.text


def test_each_process_is_told_once_that_a_secret_was_rotated(
    service: SecretsService, folder: Path, clock: Clock
) -> None:
    """Only one of those that fail together makes the call; all must try the new value."""
    service.put("airflow/connections/db", "postgres://u:old@h/db")
    tasks = [make(folder) for _ in range(3)]
    given = []
    for task in tasks:
        task.get_conn_value("db")
        given.append(dict(look_up_cache._given))
    service.put("airflow/connections/db", "postgres://u:new@h/db")
    clock.pass_s(11)
    service.calls.clear()
    for task, known in zip(tasks, given, strict=True):
        look_up_cache._given.clear()
        look_up_cache._given.update(known)  # each is a separate process
        assert task.refresh("connection", "db") is True
        assert task.get_conn_value("db") == "postgres://u:new@h/db"
        assert task.refresh("connection", "db") is False
    assert service.reads() == 1


@pytest.mark.parametrize("answer", [(200, {}), (200, {"Name": "airflow/variables/v"}), (502, {"html": 1})])
def test_what_is_no_answer_replaces_none(
    service: SecretsService, backend: Any, clock: Clock, answer: tuple[int, dict[str, Any]]
) -> None:
    service.put("airflow/variables/v", "good")
    assert backend.get_variable("v") == "good"
    service.fault = lambda action, request: answer
    clock.pass_s(11)
    assert backend.refresh("variable", "v") is False
    clock.pass_s(400)
    assert backend.get_variable("v") == "good"


@pytest.mark.parametrize("name", ["AWS_SHARED_CREDENTIALS_FILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE"])
def test_other_credentials_see_no_answer_of_these(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    service.put("airflow/variables/v", "1")
    assert make(folder).get_variable("v") == "1"
    (tmp_path / "other").write_text("[profile other]\n[other]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "other"))
    monkeypatch.setenv(name, "other" if name.endswith("PROFILE") else str(tmp_path / "other"))
    assert make(folder).get_variable("v") == "1"
    assert service.reads() == 2


def test_while_batches_are_not_answered_nobody_asks_twice(service: SecretsService, folder: Path, clock: Clock) -> None:
    backend = make(folder)
    for number in [0, 1] * 2:
        service.put(f"airflow/variables/v{number}", str(number))
        backend.get_variable(f"v{number}")
    service.fault = lambda action, request: error("InternalServiceError", status=500)
    service.calls.clear()
    clock.pass_s(400)
    assert backend.get_variable("v0") == "0"
    assert service.calls["BatchGetSecretValue"] == 3  # what boto3 repeats
    assert service.calls["GetSecretValue"] == 0


def test_messages_are_of_one_line_whatever_the_name(
    service: SecretsService, backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for secret_id in ("a\nb", "\x1b[31m", "\u2028"):
        assert backend.get_variable(secret_id) is None
    texts = [record.getMessage() for record in caplog.records if record.name == "airflow_mwaa_provider.secrets"]
    assert len(texts) == 3
    assert not [text for text in texts if len(text.splitlines()) > 1 or "\x1b" in text]


def test_a_key_that_is_a_secret_is_told_as_no_lack(
    service: SecretsService, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service.put("airflow/config/fernet", FERNET_KEY)
    service.put("airflow/variables/v", "1")
    backend = make(folder)

    class Configuration:
        def get(self, section: str, name: str, **keywords: Any) -> str | None:
            return backend.get_config("fernet")

    monkeypatch.delenv("AIRFLOW__CORE__FERNET_KEY")
    for module in ("airflow.sdk.configuration", "airflow.configuration"):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(conf=Configuration()))
    assert backend.get_variable("v") == "1"
    assert list(folder.rglob("*.entry"))
    assert "no Fernet key" not in caplog.text
