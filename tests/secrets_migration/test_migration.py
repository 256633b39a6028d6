# SPDX-License-Identifier: Apache-2.0
"""Each one is planned first, written once, read back, and continued after an interruption."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from cryptography.fernet import Fernet

from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.secrets_migration.items import Kind, Patterns, variable_found
from airflow_mwaa_provider.client.secrets_migration.migration import Step
from airflow_mwaa_provider.client.secrets_migration.options import MigrationOptions, Names
from airflow_mwaa_provider.client.secrets_migration.reading_back import reader
from airflow_mwaa_provider.client.secrets_migration.source import EnvironmentSource
from airflow_mwaa_provider.exceptions import (
    AccessDenied,
    DatabaseRefused,
    MigrationRefused,
    MwaaInputError,
    SecretsError,
    Throttled,
)
from airflow_mwaa_provider.secrets.read_back import ReadBack
from scripts.lib import canary
from tests.client.page_server import PageServer, _page_server, page_server
from tests.client.world import World
from tests.secrets.conftest import FERNET_KEY, SecretsService, error
from tests.secrets_migration.conftest import ALL, Metadata, documents, once_each

__all__ = ["_page_server", "page_server"]

CANARY = canary.value()
CONNECTIONS = {"db": f"postgres://u:{CANARY}@h/s", "web": {"conn_type": "http", "host": "https://h"}}
VARIABLES: dict[str, Any] = {"a": CANARY, "b": {"value": "1", "description": "of b"}, "c": ["x"]}
WRITES = ("CreateSecret", "PutSecretValue", "RestoreSecret", "UpdateSecret", "DeleteSecret", "TagResource")


def written(service: SecretsService) -> int:
    return sum(service.calls[action] for action in WRITES)


def secret(service: SecretsService, name: str) -> str:
    return str(service.client().get_secret_value(SecretId=name)["SecretString"])


def test_a_dry_run_plans_and_writes_nothing(service: SecretsService, move: Callable[..., Any]) -> None:
    service.put("airflow/variables/a", CANARY)
    service.put("airflow/variables/b", "other")
    service.calls.clear()
    planned = move(documents(CONNECTIONS, VARIABLES), dry_run=True).as_dict()
    assert written(service) == 0
    assert planned["dry_run"] is True
    assert planned["connections"]["created"] == ["db", "web"]
    assert (planned["variables"]["created"], planned["variables"]["same"]) == (["c"], ["a"])
    assert planned["variables"]["conflict"] == ["b"]
    assert CANARY not in json.dumps(planned)
    assert service.calls["BatchGetSecretValue"] == 1


@pytest.mark.parametrize(("on_conflict", "b"), [("skip", "other"), ("overwrite", "1")])
def test_what_is_there_and_differs(service: SecretsService, move: Callable[..., Any], on_conflict: str, b: str) -> None:
    service.put("airflow/variables/b", "other")
    service.calls.clear()
    with pytest.raises(
        MigrationRefused, match=r"1 already in Secrets Manager with another value.*variable 'b'.*on_conflict"
    ) as refused:
        move(documents({}, VARIABLES))
    assert refused.value.keys == ("b",)
    assert written(service) == 0
    moved = move(documents({}, VARIABLES), on_conflict=on_conflict)
    assert moved.steps[Kind.VARIABLE]["b"] is (Step.SKIPPED if on_conflict == "skip" else Step.OVERWRITTEN)
    assert secret(service, "airflow/variables/b") == b
    assert secret(service, "airflow/variables/c") == json.dumps(["x"], indent=2)


def test_the_same_connection_in_another_form_is_the_same(service: SecretsService, move: Callable[..., Any]) -> None:
    service.put("airflow/connections/db", f"postgres://u:{CANARY}@h/s")
    service.put("airflow/connections/web", '{"engine": "http", "server": "https://h"}')
    assert move(documents(CONNECTIONS), form="json").counts() == "2 same"


def test_names_tags_key_and_description(service: SecretsService, move: Callable[..., Any]) -> None:
    names = Names("one/c/", "two/v", "/")
    moved = move(
        documents({"db": {"conn_type": "aws", "description": "of db"}}, {"b": VARIABLES["b"]}),
        names=names, tags={"team": "sales"}, kms_key_id="alias/mine",
    )  # fmt: skip
    assert moved.counts() == "2 created"
    for name, text in (("one/c/db", "of db"), ("two/v/b", "of b")):
        found = service.client().describe_secret(SecretId=name)
        assert found["Tags"] == [{"Key": "team", "Value": "sales"}]
        assert found["KmsKeyId"] == "alias/mine"
        assert found["Description"] == text


@pytest.mark.parametrize(
    ("connections", "variables", "says"),
    [
        ({"a:b": "aws://"}, {}, r"connection 'a:b': Secrets Manager accepts only letters, .* not ':'"),
        ({}, {"ä b": "x"}, r"variable 'ä b': .* not ' ' 'ä'"),
        ({}, {"big": CANARY.ljust(77_000)}, r"variable 'big': it has 77,000 bytes, and a secret holds 65,536"),
        ({}, {"empty": ""}, "variable 'empty': it is empty"),
        ({}, {"n" * 240: "x", "x": "***"}, "variable 'x': its value is, or contains, the mask"),
        ({"p": {"conn_type": "aws", "password": "***"}}, {}, "connection 'p': contains the mask"),
        ({"e": {"conn_type": "aws", "extra": '{"k": "***"}'}}, {}, "connection 'e': contains the mask"),
        ({"t": {"conn_type": "my-type"}}, {}, "connection 't': a secret cannot hold the type 'my-type'"),
        ({"u": f"nonsense {CANARY}"}, {}, "connection 'u': its URI cannot be read"),
        ({}, {"nul": f"{CANARY}\0"}, "variable 'nul': its value contains a NUL"),
    ],
)
def test_what_cannot_be_moved_is_named_before_anything_is_written(
    service: SecretsService, move: Callable[..., Any], connections: Any, variables: Any, says: str
) -> None:
    source = documents(connections, {**variables, "fine": "1"})
    with pytest.raises(MigrationRefused, match=f"1 cannot be moved, so nothing was written: {says}") as refused:
        move(source)
    assert CANARY not in str(refused.value)
    assert written(service) == 0
    moved = move(source, leave_out_refused=True)
    assert moved.keys(Kind.VARIABLE, Step.CREATED)[-1] in ("fine", "n" * 240)
    assert len(moved.reasons) == 1


def test_a_uri_holds_no_type_with_capital_letters(move: Callable[..., Any]) -> None:
    source = documents({"c": {"conn_type": "Http"}})
    with pytest.raises(MigrationRefused, match=r"a URI cannot represent the type 'Http'.*; keep it as JSON"):
        move(source, form="uri")
    assert move(source, form="json").counts() == "1 created"


def test_a_secret_that_is_to_be_deleted(service: SecretsService, move: Callable[..., Any]) -> None:
    for name, text in (("a", "old"), ("c", json.dumps(["x"], indent=2))):
        service.put(f"airflow/variables/{name}", text)
        service.client().delete_secret(SecretId=f"airflow/variables/{name}", RecoveryWindowInDays=7)
    service.calls.clear()
    with pytest.raises(
        MigrationRefused,
        match="'airflow/variables/a' is scheduled for deletion; wait until it is deleted, or set restore_deleted",
    ):
        move(documents({}, VARIABLES))
    assert written(service) == 0
    moved = move(documents({}, VARIABLES), restore_deleted=True)
    assert moved.keys(Kind.VARIABLE, Step.RESTORED) == ["a", "c"]
    assert secret(service, "airflow/variables/a") == CANARY
    assert service.calls["PutSecretValue"] == 1


def test_one_that_ended_half_way_goes_on(service: SecretsService, move: Callable[..., Any]) -> None:
    source = documents({}, {f"v{number}": str(number) for number in range(20)})
    seen: list[str] = []

    def refuse(action: str, request: dict[str, Any]) -> Any:
        if action == "CreateSecret":
            seen.append(request["Name"])
            if len(seen) > 9:
                return error("LimitExceededException", "too many secrets")
        return None

    service.fault = refuse
    with pytest.raises(SecretsError, match="CreateSecret: Secrets Manager answered LimitExceededException") as failed:
        move(source)
    assert failed.value.code == "LimitExceededException"
    service.fault = None
    there = len(service.client().list_secrets(MaxResults=100)["SecretList"])
    assert 0 < there < 20
    service.calls.clear()
    assert move(source).counts() == f"{20 - there} created, {there} same"
    assert service.calls["CreateSecret"] == 20 - there


def test_a_stop_ends_it_between_two_secrets(service: SecretsService, move: Callable[..., Any]) -> None:
    stop = threading.Event()
    source = documents({}, {f"v{number}": "1" for number in range(20)})
    with pytest.raises(SecretsError, match=r"stopped after 4 of 20 secrets. Run it again"):
        move(source, stop=stop, progress=lambda done, total: stop.set())
    assert move(source).counts() == "16 created, 4 same"


def test_an_answer_that_was_lost_is_no_conflict(service: SecretsService, move: Callable[..., Any]) -> None:
    """The first attempt creates the secret, but returns a failure."""
    client = service.client()

    def once(action: str, request: dict[str, Any]) -> Any:
        if action == "CreateSecret":
            service.fault = None
            client.create_secret(Name=request["Name"], SecretString=request["SecretString"])
            return error("InternalServiceError", status=500)
        return None

    service.fault = once
    assert move(documents({}, {"a": CANARY})).counts() == "1 created"


def test_throttling_is_waited_out_until_a_deadline(service: SecretsService, move: Callable[..., Any]) -> None:
    left = [5]

    def throttle(action: str, request: dict[str, Any]) -> Any:
        left[0] -= 1
        return error("ThrottlingException", "Rate exceeded") if left[0] >= 0 else None

    service.fault = throttle
    assert move(documents({}, VARIABLES)).counts() == "3 created"
    service.fault = lambda action, request: error("ThrottlingException", "Rate exceeded")
    with pytest.raises(Throttled, match=r"throttled \(Rate exceeded\)\. Make fewer calls"):
        move(documents({}, VARIABLES))


@pytest.mark.parametrize(
    ("action", "answer", "says"),
    [
        ("CreateSecret", error("AccessDeniedException", "no"), "Allow secretsmanager:CreateSecret"),
        ("GetSecretValue", error("AccessDeniedException", "no"), "Allow secretsmanager:GetSecretValue"),
        ("CreateSecret", error("AccessDeniedException", "not authorized: kms:Encrypt"), "Allow kms:GenerateDataKey"),
        ("CreateSecret", error("EncryptionFailure", "key"), "the KMS key may not be used"),
        ("CreateSecret", error("UnrecognizedClientException", "x"), "the AWS credentials were rejected"),
    ],
)
def test_what_is_refused_names_what_to_allow(
    service: SecretsService, move: Callable[..., Any], action: str, answer: Any, says: str
) -> None:
    service.fault = lambda asked, request: answer if asked == action else None
    with pytest.raises(AccessDenied, match=says) as denied:
        move(documents({}, {"a": CANARY}))
    assert CANARY not in str(denied.value)
    assert len(str(denied.value).splitlines()) == 1


def test_a_listing_leaves_nothing_of_its_secrets_in_logs(
    service: SecretsService, move: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    move(documents({}, {"a": {"value": "x", "description": f"about {CANARY}"}}))
    client = boto3.client(
        "secretsmanager",
        endpoint_url=service.url,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        aws_session_token="a-session-token",
    )
    caplog.set_level(logging.DEBUG)
    assert SecretsManager(client).list("airflow/variables/") == {"airflow/variables/a": f"about {CANARY}"}
    assert CANARY not in caplog.text
    assert "a-session-token" not in caplog.text
    client.get_random_password()
    assert "a-session-token" in caplog.text, "botocore writes it otherwise"


def test_a_page_that_answers_instead_of_secrets_manager_is_named_when_reading_back(page_server: PageServer) -> None:
    client = page_server.client("secretsmanager")
    SecretsManager(client)
    names = Names()
    backend = ReadBack(
        client, connections_prefix=names.connections_prefix, variables_prefix=names.variables_prefix, sep=names.sep
    )
    with pytest.raises(SecretsError, match=r"'airflow/variables/x'.* what answered is not Secrets Manager"):
        reader(backend, names)(Kind.VARIABLE, "x")


def test_a_problem_names_its_key_once_whatever_spaces_are_in_it() -> None:
    assert variable_found("a  b", "***").problem.startswith("its value is, or contains, the mask")


def test_without_batches_secrets_are_read_one_by_one(service: SecretsService, move: Callable[..., Any]) -> None:
    refused = error("AccessDeniedException", "batch")
    service.fault = lambda action, request: refused if action == "BatchGetSecretValue" else None
    service.put("airflow/variables/a", CANARY)
    assert move(documents({}, VARIABLES)).counts() == "2 created, 1 same"
    assert service.calls["BatchGetSecretValue"] == 1


def test_what_a_task_would_not_read_fails(service: SecretsService, move: Callable[..., Any]) -> None:
    deleted: list[str] = []
    source = documents({}, {"a": CANARY})
    source.can_delete = True
    source.delete = lambda found: deleted.append(found.key)  # type: ignore[method-assign]
    for read_back in (lambda kind, key: None, lambda kind, key: "another"):
        with pytest.raises(SecretsError, match="a task that reads variable 'a' would get another one") as failed:
            move(source, read_back=read_back, delete_source=True)
        assert CANARY not in str(failed.value)
    other = Connection("db", "postgres", "h", "u", "another", "s")
    with pytest.raises(SecretsError, match=r"connection 'db' would get another one \(password\)"):
        move(documents(CONNECTIONS), read_back=lambda kind, key: other, wanted=[Patterns(Kind.CONNECTION, ["db"])])
    assert deleted == []


def test_patterns(move: Callable[..., Any]) -> None:
    source = documents({"aws_default": "aws://", "db": "aws://"}, {"sales_1": "1", "sales_2": "2", "other": "3"})
    assert move(source, dry_run=True).keys(Kind.CONNECTION, Step.CREATED) == ["db"]
    some = [Patterns(Kind.CONNECTION, ["aws_default"]), Patterns(Kind.VARIABLE, ["sales_*"])]
    planned = move(source, wanted=some, dry_run=True)
    assert planned.keys(Kind.CONNECTION, Step.CREATED) == ["aws_default"]
    assert planned.keys(Kind.VARIABLE, Step.CREATED) == ["sales_1", "sales_2"]
    with pytest.raises(MwaaInputError, match=r"connections: the source has no 'nope'. Check the names"):
        move(source, wanted=[Patterns(Kind.CONNECTION, ["nope", "d*"])])
    with pytest.raises(MwaaInputError, match="variables='x' is not a list of names or patterns"):
        Patterns(Kind.VARIABLE, "x")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MigrationOptions("replace"), "on_conflict='replace' must be one of 'fail', 'skip', 'overwrite'"),
        (lambda: MigrationOptions(form="yaml"), "form='yaml' must be one of 'json', 'uri'"),
        (lambda: Names("a b"), "connections_prefix='a b': Secrets Manager accepts only letters"),
        (lambda: Names("a", "a/"), "are the same"),
        (lambda: Names("").prefix(Kind.CONNECTION), "connections_prefix is empty, which would select every secret"),
    ],
)
def test_options_that_cannot_be(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(MwaaInputError, match=says):
        make()


# -- a database ----------------------------------------------------------------------------------------


def test_another_fernet_key_reads_nothing_and_says_so(
    metadata: Metadata, service: SecretsService, move: Callable[..., Any]
) -> None:
    metadata.fill([Connection("c", "aws", password=CANARY), Connection("plain", "aws")], {"v": (CANARY, None)})
    other = Fernet.generate_key().decode()
    with pytest.raises(MigrationRefused, match="'c': it is encrypted with another Fernet key") as refused:
        move(metadata.source(other))
    assert refused.value.keys == ("c", "v")
    with pytest.raises(
        MigrationRefused, match=r"'c': it is encrypted, and no Fernet key .AIRFLOW__CORE__FERNET_KEY. is given"
    ):
        move(metadata.source(None))
    with pytest.raises(MwaaInputError, match="The Fernet key is invalid"):
        metadata.source("nonsense")
    assert written(service) == 0
    assert move(metadata.source(f"{other}, {FERNET_KEY}")).counts() == "3 created"


def test_the_source_is_deleted_once_a_secret_holds_it(
    metadata: Metadata, service: SecretsService, move: Callable[..., Any]
) -> None:
    metadata.fill(
        [Connection("c1", "aws", password="p"), Connection("c2", "aws")], {"v1": ("1", None), "v2": ("2", "")}
    )
    service.put("airflow/variables/v2", "another")
    moved = move(metadata.source(), delete_source=True, on_conflict="skip")
    assert metadata.keys() == ["v2"]
    assert moved.as_dict()["connections"]["deleted"] == ["c1", "c2"]
    assert moved.as_dict()["variables"]["deleted"] == ["v1"]


def test_what_was_changed_since_it_was_read_is_not_deleted(
    metadata: Metadata, service: SecretsService, move: Callable[..., Any]
) -> None:
    metadata.fill([], {"v": ("1", None)})
    source = metadata.source()
    metadata.lab.execute(metadata.name, "UPDATE variable SET val = 'other', is_encrypted = false")
    with pytest.raises(DatabaseRefused, match="variable 'v' has changed since it was read, and was not deleted"):
        move(source, delete_source=True)
    assert metadata.keys() == ["v"]


def test_nothing_can_be_deleted_from_a_file(service: SecretsService, move: Callable[..., Any]) -> None:
    with pytest.raises(MwaaInputError, match=r"The file: nothing can be deleted from it. Leave out delete_source"):
        move(documents({}, VARIABLES), delete_source=True)
    assert written(service) == 0


# -- another environment -------------------------------------------------------------------------------


def test_what_the_api_masks_is_never_stored(world: World, service: SecretsService, move: Callable[..., Any]) -> None:
    airflow = world.airflow("env3")
    airflow.shows_like_airflow_3 = True
    environment = world.environment("env3", "web_session")
    for item in (
        Connection("open", "http", host="https://H", extra='{"a": 1}'),
        Connection("closed", "http", password=CANARY),
        Connection("hidden", "http", extra='{"password": "***"}'),
    ):
        environment.connections.set(item, is_new=True)
    for key, value in (("plain", "x"), ("my_secret", CANARY), ("version", "1.10"), ("doc", '{"a":   1.10}')):
        environment.variables.set(key, value, is_new=True)
    source = EnvironmentSource(world.environment("env3", "web_session"))
    with pytest.raises(MigrationRefused, match="2 cannot be moved") as refused:
        move(source)
    assert "connection 'closed': the REST API masks its password; run MigrateToSecretsManagerOperator" in str(
        refused.value
    )
    assert "connection 'hidden': the REST API masks its extra" in str(refused.value)
    moved = move(source, leave_out_refused=True, delete_source=True)
    assert moved.keys(Kind.CONNECTION, Step.CREATED) == ["open"]
    assert {
        name: secret(service, f"airflow/variables/{name}") for name in ("plain", "my_secret", "version", "doc")
    } == {
        "plain": "x",
        "my_secret": CANARY,
        "version": "1.10",
        "doc": '{"a":   1.10}',
    }
    assert sorted(airflow.objects["connections"]) == ["closed", "hidden"]
    assert airflow.objects["variables"] == {}


def test_where_the_cli_cannot_be_asked_a_masked_variable_is_not_moved(
    world: World, service: SecretsService, move: Callable[..., Any]
) -> None:
    world.airflow("env3").shows_like_airflow_3 = True
    world.environment("env3", "web_session").variables.set("my_secret", CANARY, is_new=True)
    world.deny("CreateCliToken")
    with pytest.raises(MigrationRefused, match=r"masks it, and the CLI cannot be asked \(AccessDenied\)"):
        move(EnvironmentSource(world.environment("env3", "web_session")))
    assert written(service) == 0


def test_of_airflow_2_no_connection_is_read_for_certain(
    world: World, service: SecretsService, move: Callable[..., Any]
) -> None:
    environment = world.environment("env2", "web_session")
    environment.connections.set(Connection("c", "http", password=CANARY), is_new=True)
    environment.variables.set("v", "1", is_new=True)
    with pytest.raises(MigrationRefused, match="connection 'c': the REST API of Airflow 2 does not show whether"):
        move(EnvironmentSource(environment))
    moved = move(EnvironmentSource(environment), wanted=ALL[1:])
    assert moved.counts() == "1 created"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_value_is_set_even_if_another_creates_the_secret_in_between(
    service: SecretsService, *, is_there: bool
) -> None:
    name = "airflow/variables/token"
    if is_there:
        service.put(name, "of another")
    missing = [error("ResourceNotFoundException", "no such secret")]
    service.fault = lambda action, request: missing.pop() if action == "PutSecretValue" and missing else None
    SecretsManager(once_each(service)).put(name, CANARY, "of the token")
    assert secret(service, name) == CANARY


def test_an_error_of_a_batch_counts_its_secrets_and_one_of_a_single_secret_names_it(service: SecretsService) -> None:
    service.fault = lambda action, request: error("InvalidRequestException", "no")
    secrets = SecretsManager(once_each(service))
    with pytest.raises(SecretsError, match=r"^2 secrets: BatchGetSecretValue"):
        secrets.read(["a", "b, c"])
    with pytest.raises(SecretsError, match=r"^Secret 'b, c': PutSecretValue"):
        secrets.replace("b, c", "x")
