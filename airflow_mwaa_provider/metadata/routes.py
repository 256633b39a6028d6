# SPDX-License-Identifier: Apache-2.0
"""The routes to Airflow's metadata: their names, and the one place that chooses among them.

A caller lists where each route leads (:class:`Way`), in order of preference. :func:`choose_route` takes the first one
that is open and returns a plan: the route taken and, for each other one, why it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

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
"""Routes to read the metadata. ``auto`` takes the first one that can be used, and the second one only by name."""
CLEANUP_ROUTES = ("database", "mwaa_environment", "api", "cli")
"""Routes to clean it, likewise."""
_ONLY_NAMED = ("mwaa_environment",)

Taken = TypeVar("Taken")


def is_absent(error: MwaaError) -> bool:
    """Return whether an error means that the route does not exist from here, and that nothing else is wrong."""
    return isinstance(error, NoMetadataRoute | UnsupportedByTransport)


def is_unusable(error: MwaaError) -> bool:
    """Return whether another route may be tried after an error: after all but those of the caller's own input."""
    return is_absent(error) or not isinstance(error, MwaaInputError)


@dataclass(frozen=True)
class Way(Generic[Taken]):
    """A route that may be open.

    :param route: its name.
    :param take: takes it and returns what it leads to.
    :param place: where it leads, for logs.
    :param lets_pass: whether ``auto`` continues with the next route after an error of ``take``.
    """

    route: str
    take: Callable[[], Taken]
    place: str | Callable[[Taken], str]
    lets_pass: Callable[[MwaaError], bool] = is_absent


@dataclass(frozen=True)
class RoutePlan:
    """The route that is taken, and why the others are not.

    :param route: the one that is taken.
    :param place: where it leads: a database or an environment, never with a password.
    :param others: by the name of each other route, why it is not taken.
    """

    route: str
    place: str
    others: Mapping[str, str] = field(default_factory=dict)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a row for each route in JSON's own types, the one that is taken first."""
        taken = {"route": self.route, "is_used": True, "place": self.place}
        return [taken, *({"route": name, "is_used": False, "why": why} for name, why in self.others.items())]


@dataclass(frozen=True)
class Choice(Generic[Taken]):
    """A route that was taken, and what it leads to."""

    plan: RoutePlan
    taken: Taken


def choose_route(
    asked: str,
    ways: Sequence[Way[Taken]],
    notify: Callable[[str], None],
    *,
    left_out: Mapping[str, str] | None = None,
) -> Choice[Taken]:
    """Take the requested route or, with ``auto``, the first one that is open.

    :param ways: in order of preference.
    :param notify: is called with one line for each route: those that are closed, the one that is taken and, with
        ``auto``, those that are not tried.
    :param left_out: routes without a way, and why.
    :raises NoMetadataRoute: no route is open.
    :raises MwaaError: the last route that could be taken is not open; the error of its ``take``.
    """
    wanted = [way for way in ways if way.route == asked or (asked == "auto" and way.route not in _ONLY_NAMED)]
    if not wanted:
        raise NoMetadataRoute(
            f"Route {asked} leads nowhere from here. Use one of {', '.join(way.route for way in ways)}."
        )
    closed: dict[str, str] = {}
    for way in wanted:
        try:
            taken = way.take()
        except MwaaError as error:
            if way is wanted[-1] or not way.lets_pass(error):
                raise
            closed[way.route] = str(error).removeprefix(f"Route {way.route}: ")
        else:
            place = way.place if isinstance(way.place, str) else way.place(taken)
            untried = dict(left_out or {})
            untried |= _untried(asked, way.route, [each.route for each in ways if each.route not in closed])
            notify(f"Route {way.route}: {place}")
            for route, why in untried.items() if asked == "auto" else ():
                notify(f"Route {route} is not used: {why}")
            return Choice(RoutePlan(way.route, place, {**closed, **untried}), taken)
        notify(f"Route {way.route} cannot be used: {closed[way.route]}")
    raise AssertionError("the last way is taken, or has raised")


def _untried(asked: str, taken: str, routes: Sequence[str]) -> dict[str, str]:
    """Return why each of the routes is not tried, without the one that is taken."""
    found = {}
    for route in routes:
        if route == taken:
            continue
        if asked != "auto":
            found[route] = f"route {asked} was requested"
        elif route in _ONLY_NAMED:
            found[route] = "it is used only when it is requested by name"
        else:
            found[route] = f"route {taken} is preferred"
    return found


def check_route(
    route: object, known: tuple[str, ...] = (*ROUTES, *CLEANUP_ROUTES), *, metadata_conn_id: object = None
) -> None:
    """Refuse an unknown route, and a connection to the database that the route would not use.

    :param known: routes that can do what is asked, besides ``auto``.
    """
    supported = list(dict.fromkeys(("auto", *known)))
    if route not in supported:
        if route in (*ROUTES, *CLEANUP_ROUTES):
            only = "export" if route in ROUTES else "clean"
            raise NoMetadataRoute(f"Route {route} can only {only}. Use one of {', '.join(supported)}.")
        raise MwaaInputError(f"route={route!r} is unknown. Use one of {', '.join(supported)}.")
    if metadata_conn_id and route not in {"auto", "database"}:
        raise MwaaInputError(f"route={route!r} uses no connection to the database. Leave metadata_conn_id out.")
