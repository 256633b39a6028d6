# SPDX-License-Identifier: Apache-2.0
"""The handler in a bare Python, against the local MWAA: one event starts one run, however often it is delivered."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.aws_lambda_events import messages_of, runs_of
from tests.aws_lambda import samples
from tests.aws_lambda.function import ACCOUNT, RUNTIME, Function, Runtime
from tests.client.world import HAS_INVOKE_REST_API, World

without_invoke_rest_api = pytest.mark.skipif(HAS_INVOKE_REST_API, reason="the installed boto3 has InvokeRestApi")
with_invoke_rest_api = pytest.mark.skipif(not HAS_INVOKE_REST_API, reason="the installed boto3 has no InvokeRestApi")

EVENTS: dict[str, Any] = {
    "nothing": None,
    "direct": {"conf": {"day": "2026-11-22"}, "note": "by hand"},
    "direct-named": {"run_id": "chosen", "dag_id": "etl", "env_name": "env2"},
    "eventbridge": samples.eventbridge(),
    "s3": samples.s3_notification(),
    "s3-by-eventbridge": samples.s3_by_eventbridge(),
    "sqs": samples.sqs({"order": 17}),
    "s3-by-sqs": samples.sqs(samples.s3_notification()),
    "eventbridge-by-sqs": samples.sqs(samples.eventbridge()),
}


def runs(world: World) -> list[dict[str, Any]]:
    return [run for airflow in world.factory.made.values() for run in airflow.runs]


def _digest(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def same(event: Any, times: int = 3) -> list[tuple[str, Any]]:
    return [("request-1", event)] * times


def test_an_event_that_comes_three_times_warm_and_once_cold_is_one_run(trigger: Function, world: World) -> None:
    warm = [(name, event) for name, event in EVENTS.items() for _ in range(3)]
    answers = [answer.get("result") for answer in trigger.invoke(*warm) + trigger.invoke(*EVENTS.items())]
    run_ids: dict[str, set[str]] = {}
    for number, name in enumerate([name for name, _ in warm] + list(EVENTS)):
        if "sqs" in name:
            assert answers[number] == {"batchItemFailures": []}, name
        else:
            [run] = answers[number].get("runs", [answers[number]])
            run_ids.setdefault(name, set()).add(run["run_id"])
    assert {name: len(ids) for name, ids in run_ids.items()} == dict.fromkeys(run_ids, 1)
    # S3's event is the same by any path, and so is EventBridge's.
    assert run_ids["s3"] == run_ids["s3-by-eventbridge"]
    assert len(runs(world)) == len(["nothing", "direct", "direct-named", "eventbridge", "s3", "sqs"])
    [first, second, third] = [run["created"] for run in answers[:3]]
    assert (first, second, third) == (True, False, False)


def test_two_functions_that_get_one_event_make_two_runs(trigger: Function, world: World) -> None:
    for account in ("123456789012", "210987654321"):
        trigger.invoke(*((name, event) for name, event in EVENTS.items() if name != "direct-named"), account=account)
    assert len(runs(world)) == 2 * len(["nothing", "direct", "eventbridge", "s3", "sqs"])


def test_an_event_that_comes_again_after_an_upgrade_finds_its_run(trigger: Function, world: World) -> None:
    """The IDs are those of release 0.1, and the events are delivered to the current one."""
    former = {
        "nothing": ("lambda__" + _digest("request-1"), {}),
        "eventbridge": ("eventbridge__" + _digest(EVENTS["eventbridge"]["id"]), None),
        "s3": ("s3__" + _digest('["objectcreated", "landing", "in/a b\\u00e4.csv", null, "0A1B2C"]'), None),
        "sqs": ("sqs__" + _digest(samples.ids(EVENTS["sqs"])[0]), None),
    }
    for name, (run_id, conf) in former.items():
        wanted = messages_of(EVENTS[name])
        [asked] = runs_of(EVENTS[name], "r") if wanted is None else wanted[0].runs()
        world.airflow().create("etl", run_id, asked.conf if conf is None else conf)
    trigger.invoke(*(("request-1", EVENTS[name]) for name in former))
    assert len(runs(world)) == len(former)


def test_new_tags_are_a_run_although_an_earlier_release_gave_them_the_id_of_others(
    trigger: Function, world: World
) -> None:
    old, new = (
        samples.s3_notification(
            {**samples.s3_record(versionId="v1", sequencer=None), "eventName": "ObjectTagging:Put", "eventTime": at}
        )
        for at in ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
    )
    [asked] = runs_of(old, None)
    assert asked.former_run_id == runs_of(new, None)[0].former_run_id
    world.airflow().create("etl", asked.former_run_id, asked.conf)
    trigger.invoke(("r", old), ("r", new), ("r", new))
    assert [run["conf"]["time"] for run in runs(world)] == ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"]


def test_a_run_id_that_is_chosen_twice_with_another_conf_is_refused(trigger: Function, world: World) -> None:
    event = {"run_id": "chosen", "conf": {"day": 1}}
    answers = trigger.invoke(("r1", event), ("r2", event), ("r3", {**event, "conf": {"day": 2}}))
    assert [answer["result"]["created"] for answer in answers[:2]] == [True, False]
    assert answers[2]["error"]["type"] == "DagRunAlreadyExists"
    assert "its conf has another 'day'" in answers[2]["error"]["message"]
    assert len(runs(world)) == 1


def test_a_message_that_comes_again_after_the_function_was_set_up_anew_is_one_run(
    trigger: Function, world: World
) -> None:
    event = EVENTS["sqs"]
    answers = trigger.invoke(("r", event), ("r", event, {"MWAA_CONF": '{"team": "data"}'}))
    assert answers == [{"result": {"batchItemFailures": []}}] * 2
    assert len(runs(world)) == 1


def test_what_sns_delivers_twice_is_one_run_and_two_objects_are_two(trigger: Function, world: World) -> None:
    text = samples.by_sns({"order": 17})
    objects = samples.by_sns(samples.s3_notification(samples.s3_record("a"), samples.s3_record("b")), "another")
    event, again = samples.sqs(text, objects), samples.sqs(text, objects, queue="orders-2")
    assert trigger.invoke(("r", event), ("r", again)) == [{"result": {"batchItemFailures": []}}] * 2
    assert [run["conf"].get("key") for run in runs(world)] == [None, "a", "b"]


def test_two_events_are_two_runs(trigger: Function, world: World) -> None:
    trigger.invoke(("request-1", {}), ("request-2", {}))
    other = samples.eventbridge(id="27793124-05d4-b198-2fde-7ededc63b104")
    trigger.invoke(("r", samples.eventbridge()), ("r", other), ("r", samples.sqs("a", "b")))
    assert len(runs(world)) == 6


def test_the_zip_brings_in_nothing_but_itself_and_boto3(
    trigger: Function, runtime_without_boto3_in_memory: Runtime
) -> None:
    trigger.runtime = runtime_without_boto3_in_memory
    [answer] = trigger.invoke(("request-1", {}))
    assert "result" in answer
    own = {"airflow_mwaa_provider"}
    if "MWAA_TRANSPORT" in trigger.variables:
        own |= {"requests", "certifi", "charset_normalizer", "idna"}
    assert own <= set(trigger.roots) <= own | set(RUNTIME)


@pytest.mark.parametrize("kind", ["status_after", "reset_after"])
def test_an_answer_that_gets_lost_makes_no_second_run(trigger: Function, world: World, kind: str) -> None:
    target = "rest" if "MWAA_TRANSPORT" in trigger.variables else "invoke_rest_api"
    for name in ("etl", "other"):
        world.airflow().dags[name] = False
        world.fault(target, kind, method="POST", path=f"*/{name}/dagRuns", times=1)
    event = EVENTS["sqs"]
    answers = trigger.invoke(("r", {}), ("r", {}), ("r", event, {"MWAA_DAG_ID": "other"}), ("r", event))
    assert [list(answer) for answer in answers] == [["result"]] * 4
    assert [run["dag_id"] for run in runs(world)] == ["etl", "other"]


def test_a_function_that_fails_is_retried_by_lambda_with_the_same_result(trigger: Function, world: World) -> None:
    """All attempts of the first invocation take effect but lose their answers; the second one finds the run."""
    target = "rest" if "MWAA_TRANSPORT" in trigger.variables else "invoke_rest_api"
    [asked] = runs_of(EVENTS["eventbridge"], None)
    run_id, _ = asked.run_ids_for(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f")
    world.fault(target, "status_after", method="POST", path="*/dagRuns")
    world.fault(target, "status_after", method="GET", path=f"*/{run_id}")
    [first] = trigger.invoke(*same(EVENTS["eventbridge"], 1), seconds=1.2)
    assert first["error"]["type"] in ("UnexpectedAnswer", "AirflowError")
    world.do(world.mwaa.faults.clear)
    [second] = trigger.invoke(*same(EVENTS["eventbridge"], 1))
    assert not second["result"]["created"]
    assert len(runs(world)) == 1


def test_the_conf_is_what_the_event_says_over_what_the_function_says(trigger: Function, world: World) -> None:
    trigger.variables["MWAA_CONF"] = '{"day": "none", "team": "data"}'
    trigger.invoke(("r", {"conf": {"day": "today"}}), ("r", samples.sqs("plain text")))
    direct, message = (run["conf"] for run in runs(world))
    assert direct == {"day": "today", "team": "data"}
    assert message == {
        "day": "none",
        "team": "data",
        "source": "sqs",
        "message_id": samples.ids(samples.sqs("x"))[0],
        "queue": "orders",
        "queue_arn": "arn:aws:sqs:us-east-1:123456789012:orders",
        "sent_at": "2026-11-22T10:00:00+00:00",
        "attributes": {"shop": "north"},
        "body": "plain text",
    }


def test_a_logical_date_and_another_environment(trigger: Function, world: World) -> None:
    event = {"env_name": "env2", "logical_date": "2026-01-31T00:00:00Z"}
    [answer] = trigger.invoke(("r", event))
    assert answer["result"]["env_name"] == "env2"
    assert world.airflow("env2").runs[0]["logical_date"].startswith("2026-01-31T00:00:00")


def test_only_the_messages_that_failed_come_back(trigger: Function, world: World) -> None:
    bad = {"Records": [{"eventSource": "aws:s3", "s3": {}}]}
    event = samples.sqs({"order": 1}, bad, {"order": 2}, bad, samples.s3_notification())
    [first, again] = trigger.invoke(*same(event, 2))
    names = samples.ids(event)
    assert (
        first
        == again
        == {"result": {"batchItemFailures": [{"itemIdentifier": names[1]}, {"itemIdentifier": names[3]}]}}
    )
    assert len(runs(world)) == 3


def test_in_a_fifo_queue_no_message_overtakes_one_that_failed(trigger: Function, world: World) -> None:
    bad = {"Records": [{"eventSource": "aws:s3", "s3": {}}]}
    event = samples.sqs({"order": 1}, bad, {"order": 2}, queue="orders.fifo")
    [answer] = trigger.invoke(("r", event))
    assert answer["result"]["batchItemFailures"] == [{"itemIdentifier": name} for name in samples.ids(event)[1:]]
    assert [run["conf"]["body"]["order"] for run in runs(world)] == [1]


def test_of_several_s3_records_the_good_ones_run_and_the_bad_ones_fail_the_invocation(
    trigger: Function, world: World
) -> None:
    records = [samples.s3_record(f"k{number}") for number in range(3)]
    [answer] = trigger.invoke(("r", samples.s3_notification(*records)))
    assert [run["created"] for run in answer["result"]["runs"]] == [True] * 3
    world.airflow().dags.clear()
    more = [samples.s3_record(f"k{number}") for number in (7, 8)]
    [answer] = trigger.invoke(("r", samples.s3_notification(*more)))
    assert answer["error"]["message"].startswith("2 of 2 records have no run. The log names all of them. The first: ")


REFUSED: list[tuple[Any, str]] = [
    ({"dag": "etl", "Conf": {}}, "unknown keys: 'dag', 'Conf'. Use env_name, dag_id"),
    ([1], "The event is a list"),
    ("etl", "The event is a str"),
    ({"conf": "a=1"}, "conf of the event is a string. Give an object"),
    ({"dag_id": 7}, "dag_id of the event is a number. Give a string"),
    ({"logical_date": "yesterday"}, "logical_date='yesterday' is not an ISO 8601 date"),
    ({"logical_date": "2026-01-31"}, "has no time zone"),
    ({"dag_id": "absent"}, "not found"),
    ({"Records": [{"EventSource": "aws:sns", "Sns": {}}]}, "records of aws:sns. Only aws:sqs or aws:s3 is supported"),
    ({"Records": [{"eventSource": "aws:sqs"}, {"eventSource": "aws:s3"}]}, "records of aws:s3, aws:sqs"),
    ({"Records": [{"eventSource": "aws:sqs", "body": "x"}]}, "no messageId"),
    ({"conf": {"x": "x" * 1_100_000}}, "are allowed. Store the data in S3"),
]
SET_UP_WRONG = [
    ({"MWAA_ENV_NAME": ""}, "names no environment. Set MWAA_ENV_NAME"),
    ({"MWAA_DAG_ID": ""}, "names no DAG. Set MWAA_DAG_ID"),
    ({"MWAA_CONF": "{"}, "MWAA_CONF is not JSON"),
    ({"MWAA_CONF": "[]"}, "MWAA_CONF is JSON, but not an object"),
    ({"MWAA_TRANSPORT": "ftp"}, "transport='ftp' is none of"),
    ({"MWAA_AIRFLOW_MAJOR": "4"}, "neither 2 nor 3"),
    ({"MWAA_TRANSPORT": "cli"}, "needs the package requests, which is not installed. Either build the zip with"),
]


def test_an_event_that_cannot_be_used_is_refused_in_one_line(with_requests: Function, world: World) -> None:
    answers = with_requests.invoke(*(("r", event) for event, _ in REFUSED))
    for answer, (_, words) in zip(answers, REFUSED, strict=True):
        assert words in answer["error"]["message"]
        assert "\n" not in answer["error"]["message"]
    assert runs(world) == []


def test_a_function_that_is_set_up_wrong_says_so(bare: Function) -> None:
    good = {**bare.variables, "MWAA_CONF": "", "MWAA_TRANSPORT": "", "MWAA_AIRFLOW_MAJOR": ""}
    answers = bare.invoke(*(("r", {}, good | variables) for variables, _ in SET_UP_WRONG))
    for answer, (_, words) in zip(answers, SET_UP_WRONG, strict=True):
        assert words in answer["error"]["message"]


@without_invoke_rest_api
def test_an_old_boto3_is_named_with_the_way_out(bare: Function) -> None:
    [answer] = bare.invoke(("r", {}))
    assert answer["error"]["type"] == "UnsupportedByTransport"
    assert "has no InvokeRestApi" in answer["error"]["message"]
    assert "airflow-mwaa package lambda --with-requests" in answer["error"]["message"]


def test_without_requests_the_client_says_what_a_web_session_needs(runtime: Runtime, bare_zip: Path) -> None:
    code = f"""
import sys
sys.path += [{str(bare_zip)!r}, {str(runtime.folder)!r}]
from airflow_mwaa_provider.client.http.web_server import WebServer, WebServerSettings
from airflow_mwaa_provider.exceptions import UnsupportedByTransport
try:
    WebServer("env3", WebServerSettings()).send("GET", "https://127.0.0.1:9/x", is_mutating=False)
except UnsupportedByTransport as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "needs the package requests" in done.stdout
    assert "airflow-mwaa package lambda --with-requests" in done.stdout


@with_invoke_rest_api
def test_without_requests_an_iam_refusal_is_about_invoke_rest_api(bare: Function, world: World) -> None:
    world.deny("InvokeRestApi", "CreateWebLoginToken", "CreateCliToken")
    [answer] = bare.invoke(("r", {}))
    assert answer["error"]["type"] == "AccessDenied"
    assert answer["error"]["action"] == "airflow:InvokeRestApi"


@with_invoke_rest_api
def test_a_path_too_long_for_invoke_rest_api_names_the_way_out(bare: Function) -> None:
    [answer] = bare.invoke(("r", {"dag_id": "d" * 60}))
    assert "airflow-mwaa package lambda --with-requests" in answer["error"]["message"]


def test_what_does_not_fit_into_the_functions_time_is_not_begun(trigger: Function, world: World) -> None:
    event = samples.sqs("a", "b")
    [direct] = trigger.invoke(("r", {}), seconds=0.5)
    [batch] = trigger.invoke(("r", event), seconds=0.5)
    assert direct["error"]["type"] == "CallTimeout"
    assert batch["result"]["batchItemFailures"] == [{"itemIdentifier": name} for name in samples.ids(event)]
    assert runs(world) == []


def test_warm_invocations_use_the_clients_again(trigger: Function, world: World) -> None:
    trigger.invoke(("r1", {}), ("r2", {}), ("r3", {}))
    calls = world.calls()
    assert calls.count("get_environment") == 1
    assert calls.count("create_web_login_token") == ("MWAA_TRANSPORT" in trigger.variables)


def test_an_environment_that_moved_to_another_airflow_is_looked_at_again(trigger: Function, world: World) -> None:
    """The function is warm and has detected Airflow 3."""
    missing = ("r2", {"dag_id": "absent"})
    trigger.invoke(("r1", {}), missing, ("r3", {}))
    assert world.calls().count("get_environment") == 2
