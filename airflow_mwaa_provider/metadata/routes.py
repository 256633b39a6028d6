# SPDX-License-Identifier: Apache-2.0
"""The routes to Airflow's metadata: their names, and the choice of one, in one place.

Whoever needs a route says what leads where (:class:`Way`), in the order of preference; :func:`choose_route` takes the
first that is open, and says which it was, and why not the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, NoMetadataRoute, UnsupportedByTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "CLEANUP_ROUTES",
    "ROUTES",
    "Choice",
    "RoutePlan",
    "Way",
    "check_route",
    "choose_route",
    "is_absent",
    "is_unusable",
]

ROUTES = ("database", "mwaa_environment", "api", "rest")
"""Ways to the metadata. ``auto`` takes the first that can be used, and the second only when it is named."""
CLEANUP_ROUTES = ("database", "mwaa_environment", "api", "cli")
"""Ways to clean it, likewise."""
_ONLY_NAMED = ("mwaa_environment",)

Taken = TypeVar("Taken")


def is_absent(error: MwaaError) -> bool:
    """Return whether an error says that there is no such route from here, and nothing else is wrong."""
    return isinstance(error, NoMetadataRoute | UnsupportedByTransport)


def is_unusable(error: MwaaError) -> bool:
    """Return whether an error lets another route be tried: all do but those of what was asked for."""
    return is_absent(error) or not isinstance(error, MwaaInputError)


@dataclass(frozen=True)
class Way(Generic[Taken]):
    """A route that may be open.

    :param route: its name.
    :param take: takes it, and returns what it leads to.
    :param place: where it leads, in words that are told; empty where nobody is to be told of it.
    :param lets_pass: whether an error of ``take`` lets ``auto`` go on to the next way.
    """

    route: str
    take: Callable[[], Taken]
    place: str | Callable[[Taken], str] = ""
    lets_pass: Callable[[MwaaError], bool] = is_absent


@dataclass(frozen=True)
class RoutePlan:
    """Which route is taken, and why not the others.

    :param route: the one that is taken.
    :param place: what was told of where it leads: a database, or an environment; never with a password.
    :param others: by the name of each other route, why it is not taken.
    """

    route: str
    place: str
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice(Generic[Taken]):
    """A route that was taken, and what it has led to."""

    plan: RoutePlan
    taken: Taken


def choose_route(asked: str, ways: Sequence[Way[Taken]], tell: Callable[[str], None]) -> Choice[Taken]:
    """Take the route that is asked for, or, with ``auto``, the first that is open.

    :param ways: in the order of preference.
    :param tell: is told which one is taken, and why not those before it.
    :raises NoMetadataRoute: there is none.
    :raises MwaaError: the last one that could be taken is not open; what its ``take`` raises.
    """
    wanted = [way for way in ways if way.route == asked or (asked == "auto" and way.route not in _ONLY_NAMED)]
    if not wanted:
        raise NoMetadataRoute(
            f"Route {asked} leads nowhere from here: there are {', '.join(way.route for way in ways)}."
        )
    closed: dict[str, str] = {}
    for way in wanted:
        try:
            taken = way.take()
        except MwaaError as error:
            if way is wanted[-1] or not way.lets_pass(error):
                raise
            closed[way.route] = str(error)
        else:
            return _chosen(asked, way, taken, ways, closed, tell)
        tell(f"Route {way.route} cannot be used: {closed[way.route]}")
    raise AssertionError("the last way is taken, or has raised")


def _chosen(
    asked: str,
    way: Way[Taken],
    taken: Taken,
    ways: Sequence[Way[Taken]],
    closed: Mapping[str, str],
    tell: Callable[[str], None],
) -> Choice[Taken]:
    place = way.place if isinstance(way.place, str) else way.place(taken)
    if place:
        tell(f"Route {way.route}: {place}")
    others = {}
    for other in ways:
        if other.route in closed:
            others[other.route] = closed[other.route]
        elif asked != "auto":
            others[other.route] = f"route {asked} was asked for"
        elif other.route in _ONLY_NAMED:
            others[other.route] = "it is taken only where it is named"
        else:
            others[other.route] = f"{way.route} comes before it"
    others.pop(way.route, None)
    return Choice(RoutePlan(way.route, place, others), taken)


def check_route(
    route: object, known: tuple[str, ...] = (*ROUTES, *CLEANUP_ROUTES), *, metadata_conn_id: object = None
) -> None:
    """Refuse a route that there isn't, and a connection to the database where it would not be used.

    :param known: routes that can be used for what is asked, beside ``auto``.
    """
    there_are = list(dict.fromkeys(("auto", *known)))
    if route not in there_are:
        if route in (*ROUTES, *CLEANUP_ROUTES):
            only = "export" if route in ROUTES else "clean"
            raise NoMetadataRoute(f"Route {route} can only {only}: there are {', '.join(there_are)}.")
        raise MwaaInputError(f"route={route!r} is unknown; there are {', '.join(there_are)}.")
    if metadata_conn_id and route not in {"auto", "database"}:
        raise MwaaInputError(f"route={route!r} uses no connection to the database: leave metadata_conn_id out.")
