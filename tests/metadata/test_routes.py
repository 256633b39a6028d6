# SPDX-License-Identifier: Apache-2.0
"""The choice of a route: which one is used, and what is reported about the others."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider.cli.metadata.database import choose
from airflow_mwaa_provider.exceptions import AccessDenied, MwaaError, MwaaInputError, NoMetadataRoute, RemoteNotFound
from airflow_mwaa_provider.metadata.catalog.schema import Schema
from airflow_mwaa_provider.metadata.cleaners import environment_ways
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.routes import api
from airflow_mwaa_provider.metadata.environment_source import source_ways
from airflow_mwaa_provider.metadata.remote_api.messages import Description
from airflow_mwaa_provider.metadata.routes import RoutePlan, Way, choose_route, is_unusable

pytestmark = pytest.mark.once

TURNED_OFF = "its metadata API is turned off. Turn it on."


def refuses(error: MwaaError) -> str:
    raise error


def open_way(route: str) -> Way[str]:
    return Way(route, lambda: f"by {route}", lambda taken: f"{taken} of here")


def closed_way(route: str, error: MwaaError | None = None) -> Way[str]:
    return Way(route, lambda: refuses(error or NoMetadataRoute(TURNED_OFF)), "nowhere")


def test_the_first_that_is_open_is_taken_and_the_others_are_explained() -> None:
    told: list[str] = []
    ways = [closed_way("database"), open_way("mwaa_environment"), open_way("api"), closed_way("rest")]
    choice = choose_route("auto", ways, told.append)
    assert (choice.taken, told) == (
        "by api",
        [
            f"Route database cannot be used: {TURNED_OFF}",
            "Route api: by api of here",
            "Route mwaa_environment is not used: it is used only when it is requested by name",
            "Route rest is not used: route api is preferred",
        ],
    )
    others = {
        "database": TURNED_OFF,
        "mwaa_environment": "it is used only when it is requested by name",
        "rest": "route api is preferred",
    }
    assert choice.plan == RoutePlan("api", "by api of here", others)


def test_one_that_is_named_is_taken_alone() -> None:
    told: list[str] = []
    choice = choose_route("mwaa_environment", [open_way("database"), open_way("mwaa_environment")], told.append)
    assert (choice.plan.route, told) == ("mwaa_environment", ["Route mwaa_environment: by mwaa_environment of here"])
    assert choice.plan.others == {"database": "route mwaa_environment was requested"}
    with pytest.raises(NoMetadataRoute, match=r"is turned off"):
        choose_route("api", [open_way("database"), closed_way("api"), open_way("rest")], told.append)


def test_a_route_without_a_way_is_explained_too() -> None:
    told: list[str] = []
    choice = choose_route("auto", [open_way("database")], told.append, left_out={"api": "no environment is named"})
    assert told == ["Route database: by database of here", "Route api is not used: no environment is named"]
    assert choice.plan.to_dicts() == [
        {"route": "database", "is_used": True, "place": "by database of here"},
        {"route": "api", "is_used": False, "why": "no environment is named"},
    ]


def test_what_is_wrong_with_the_last_one_is_raised() -> None:
    last = NoMetadataRoute("nothing there")
    with pytest.raises(NoMetadataRoute, match="nothing there"):
        choose_route("auto", [closed_way("database"), closed_way("api", last), open_way("mwaa_environment")], print)
    with pytest.raises(NoMetadataRoute, match=r"Route cli leads nowhere from here\. Use one of database, api\."):
        choose_route("cli", [open_way("database"), open_way("api")], print)


@pytest.mark.parametrize(
    ("error", "usual", "exports"),
    [
        (NoMetadataRoute("not there"), True, True),
        (AccessDenied("may not", action="a"), False, True),
        (MwaaError("answered 500"), False, True),
        (MwaaInputError("no such table"), False, False),
    ],
)
def test_which_errors_let_another_route_be_taken(error: MwaaError, usual: bool, exports: bool) -> None:
    for way, goes_on in (
        (Way("api", lambda: refuses(error), "there"), usual),
        (Way("api", lambda: refuses(error), "there", is_unusable), exports),
    ):
        if goes_on:
            assert choose_route("auto", [way, open_way("rest")], print).plan.others == {"api": str(error)}
        else:
            with pytest.raises(type(error)):
                choose_route("auto", [way, open_way("rest")], print)


# -- the plan that users see ------------------------------------------------------------------------

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Environment:
    """An environment with a plugin that exports, and may clean.

    :param errors: of each call of the plugin in turn; the last one is that of all later ones.
    """

    name, airflow_version = "my-environment", "3.0.6"

    def __init__(self, *errors: MwaaError | None) -> None:
        self.errors = list(errors) or [None]
        self.asked: list[str] = []

    def call_plugin(self, method: str, path: str, json: Any = None) -> Any:
        self.asked.append(path.rpartition("/v1")[2])
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error
        places = ("s3://my-bucket/history",)
        return Description(Schema("public", "x", {}), self.airflow_version, NOW, NOW, places).to_dict()


def documented(page: str) -> str:
    """Return the lines of the example plan in the docs."""
    text = (Path(__file__).resolve().parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    [block] = [block for block in text.split("```text\n")[1:] if block.startswith("Route ")]
    return block.partition("```")[0]


def test_the_docs_show_the_plan_of_an_export() -> None:
    told: list[str] = []
    ways = source_ways(Environment, ("my-bucket", "history"))
    choice = choose(None, "auto", told.append, "my-environment", ways)
    assert documented("metadata-export").splitlines() == told
    assert [*choice.plan.others] == ["database", "mwaa_environment", "rest"]


def cleaning_ways(environment: Environment, told: list[str], route: str = "auto") -> Any:
    return environment_ways(lambda: environment, route, CleanupOptions(), told.append)


def test_the_docs_show_the_plan_of_a_cleanup() -> None:
    told: list[str] = []
    environment = Environment(RemoteNotFound("no such path", status=404))
    choice = choose(None, "auto", told.append, "my-environment", cleaning_ways(environment, told))
    assert documented("metadata-cleanup").splitlines() == told
    assert (choice.plan.route, [*choice.plan.others]) == ("cli", ["api", "database", "mwaa_environment"])


RESTARTING = MwaaError("starting", transient=True)
NO_PLUGIN = RemoteNotFound("no such path", status=404)
FORBIDDEN = AccessDenied("may not", status=403)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a cleanup by route api waits for the web server, at once."""
    pauses: list[float] = []
    waiting = partial(api.ApiCleanup, clock=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(api, "ApiCleanup", waiting)
    return pauses


@pytest.mark.parametrize(
    ("errors", "route"),
    [
        ([None], "api"),
        ([NO_PLUGIN], "cli"),
        ([RESTARTING, RESTARTING, None], "api"),
        ([RESTARTING, NO_PLUGIN], "cli"),
    ],
)
def test_auto_takes_no_route_to_a_cleanup_before_the_web_server_answers(
    errors: list[MwaaError | None], route: str, slept: list[float]
) -> None:
    """If it changed the route in the middle of a cleanup, what was deleted by then would not be in the outcome."""
    told: list[str] = []
    environment = Environment(*errors)
    plan = choose(None, "auto", told.append, "my-environment", cleaning_ways(environment, told)).plan
    assert plan.route == route
    assert environment.asked == ["/cleanup/units"] * len(errors)
    waits = [line for line in told if line == "Route api: the parts of the cleanup: starting Repeating it"]
    assert (len(waits), len(slept)) == (int(RESTARTING in errors), errors.count(RESTARTING))


@pytest.mark.parametrize(("error", "waits_s"), [(FORBIDDEN, 0), (RESTARTING, 600)])
def test_auto_fails_with_what_the_web_server_answers(error: MwaaError, waits_s: float, slept: list[float]) -> None:
    told: list[str] = []
    ways = cleaning_ways(Environment(error), told)
    with pytest.raises(type(error), match=str(error)):
        choose(None, "auto", told.append, "my-environment", ways)
    assert sum(slept) == pytest.approx(waits_s, abs=3)


def test_a_route_that_is_requested_is_not_asked_for_twice() -> None:
    told: list[str] = []
    environment = Environment()
    choice = choose(None, "api", told.append, "my-environment", cleaning_ways(environment, told, "api"))
    assert (choice.plan.route, environment.asked) == ("api", [])
    assert choice.plan.others["cli"] == "route api was requested"
