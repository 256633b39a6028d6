# SPDX-License-Identifier: Apache-2.0
"""The choice of a route: which is taken, and what is said of the others."""

from __future__ import annotations

import pytest

from airflow_mwaa_provider.exceptions import AccessDenied, MwaaError, MwaaInputError, NoMetadataRoute
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
        [f"Route database cannot be used: {TURNED_OFF}", "Route api: by api of here"],
    )
    others = {
        "database": TURNED_OFF,
        "mwaa_environment": "it is taken only where it is named",
        "rest": "api comes before it",
    }
    assert choice.plan == RoutePlan("api", "by api of here", others)


def test_one_that_is_named_is_taken_alone() -> None:
    told: list[str] = []
    choice = choose_route("mwaa_environment", [open_way("database"), open_way("mwaa_environment")], told.append)
    assert (choice.plan.route, told) == ("mwaa_environment", ["Route mwaa_environment: by mwaa_environment of here"])
    assert choice.plan.others == {"database": "route mwaa_environment was asked for"}
    with pytest.raises(NoMetadataRoute, match=r"is turned off"):
        choose_route("api", [open_way("database"), closed_way("api"), open_way("rest")], told.append)


def test_what_is_wrong_with_the_last_one_is_raised() -> None:
    last = NoMetadataRoute("nothing there")
    with pytest.raises(NoMetadataRoute, match="nothing there"):
        choose_route("auto", [closed_way("database"), closed_way("api", last), open_way("mwaa_environment")], print)
    with pytest.raises(NoMetadataRoute, match=r"Route cli leads nowhere from here: there are database, api\."):
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
        (Way("api", lambda: refuses(error)), usual),
        (Way("api", lambda: refuses(error), "", is_unusable), exports),
    ):
        if goes_on:
            assert choose_route("auto", [way, open_way("rest")], print).plan.others == {"api": str(error)}
        else:
            with pytest.raises(type(error)):
                choose_route("auto", [way, open_way("rest")], print)
