# SPDX-License-Identifier: Apache-2.0
"""Read the metadata of an MWAA environment over the network, by its metadata API or else by its REST API."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.metadata.api_source import ApiSource
from airflow_mwaa_provider.metadata.rest.measures import measure_rest
from airflow_mwaa_provider.metadata.rest_source import RestSource
from airflow_mwaa_provider.metadata.routes import Way, choose_route, is_unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_mwaa_provider.metadata.measures import Measures

__all__ = [
    "RemoteEnvironment",
    "measure_environment",
    "measuring_ways",
    "opened",
    "source_of_environment",
    "source_ways",
]


class RemoteEnvironment(Protocol):
    """What a client, such as ``MwaaEnvironment``, must provide."""

    name: str

    @property
    def airflow_version(self) -> str:
        """The environment's Airflow version."""

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call Airflow's REST API."""

    def call_plugin(self, method: str, path: str, json: Any = None) -> Any:
        """Call an endpoint that a plugin has added to the web server."""


def source_ways(
    environment: Callable[[], RemoteEnvironment], destination: tuple[str, str] | None = None
) -> list[Way[Any]]:
    """Return routes ``api`` and ``rest``, which lead to an open :class:`ApiSource` and to a :class:`RestSource`.

    :param environment: makes the client when it is needed.
    :param destination: bucket and prefix to write to; route ``api`` is open only if the server may write there.
    """
    remote = functools.cache(environment)

    def api() -> ApiSource:
        source = _api(remote())
        source.open()
        if destination is not None:
            source.check_destination(*destination)
        return source

    def web_server(source: ApiSource) -> str:
        return f"the web server of environment {remote().name!r}, Airflow {source.airflow_version}"

    return [
        Way("api", api, web_server, is_unusable),
        Way("rest", lambda: RestSource(remote().request, remote().airflow_version), lambda _: _rest_api(remote())),
    ]


def measuring_ways(environment: Callable[[], RemoteEnvironment]) -> list[Way[Callable[[], Measures]]]:
    """Return routes ``api`` and ``rest``, which lead to a function that measures.

    :param environment: makes the client when it is needed.
    """
    remote = functools.cache(environment)

    def api() -> Callable[[], Measures]:
        measures = _api(remote()).measure()
        return lambda: measures

    def rest() -> Callable[[], Measures]:
        version = remote().airflow_version
        return lambda: measure_rest(remote().request, version)

    return [
        Way("api", api, lambda _: f"the web server of environment {remote().name!r}", is_unusable),
        Way("rest", rest, lambda _: _rest_api(remote())),
    ]


@contextmanager
def opened(source: ApiSource | RestSource) -> Iterator[ApiSource | RestSource]:
    """Open the source to which a route leads, if it is not open."""
    if isinstance(source, RestSource):
        with source as rest:
            yield rest
    else:
        yield source


@contextmanager
def source_of_environment(
    environment: RemoteEnvironment,
    route: str,
    *,
    destination: tuple[str, str] | None = None,
    notify: Callable[[str], None],
) -> Iterator[ApiSource | RestSource]:
    """Open route ``api`` or ``rest``; with ``auto``, the first of them that can be used.

    :param destination: bucket and prefix to write to.
    :param notify: called with a line for each route: the one that is taken, and why the other is not.
    :raises NoMetadataRoute: route ``api`` was requested, and does not exist or may not write to the destination.
    """
    choice = choose_route(route, source_ways(lambda: environment, destination), notify)
    with opened(choice.taken) as source:
        yield source


def measure_environment(environment: RemoteEnvironment, route: str, *, notify: Callable[[str], None]) -> Measures:
    """Measure an environment's metadata database by route ``api`` or ``rest``; ``auto`` takes the first one available.

    :param notify: called with a line for each route: the one that is taken, and why the other is not.
    :raises NoMetadataRoute: route ``api`` was requested, and cannot be used.
    """
    return choose_route(route, measuring_ways(lambda: environment), notify).taken()


def _api(environment: RemoteEnvironment) -> ApiSource:
    return ApiSource(environment.call_plugin, f"environment {environment.name!r}")


def _rest_api(environment: RemoteEnvironment) -> str:
    return f"the REST API of environment {environment.name!r}, Airflow {environment.airflow_version}"
