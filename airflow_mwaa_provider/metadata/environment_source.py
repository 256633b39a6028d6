# SPDX-License-Identifier: Apache-2.0
"""The metadata of an MWAA environment that is asked over the network: by its metadata API, else by its REST API."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, NoMetadataRoute, UnsupportedByTransport
from airflow_mwaa_provider.metadata.api_source import ApiSource
from airflow_mwaa_provider.metadata.rest.measures import measure_rest
from airflow_mwaa_provider.metadata.rest_source import RestSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_mwaa_provider.metadata.measures import Measures

__all__ = ["RemoteEnvironment", "measure_environment", "source_of_environment"]

Found = TypeVar("Found")


class RemoteEnvironment(Protocol):
    """What is needed of a client, such as ``MwaaEnvironment``."""

    name: str

    @property
    def airflow_version(self) -> str:
        """The Airflow version there."""

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, json: Any = None) -> Any:
        """Call Airflow's REST API."""

    def call_plugin(self, method: str, path: str, json: Any = None) -> Any:
        """Call what a plugin has added to the web server."""


@contextmanager
def source_of_environment(
    environment: RemoteEnvironment,
    route: str,
    *,
    destination: tuple[str, str] | None = None,
    tell: Callable[[str], None],
) -> Iterator[ApiSource | RestSource]:
    """Open route ``api`` or ``rest``; with ``auto`` the first of them that can be used.

    :param destination: bucket and prefix that shall be written to.
    :param tell: is told which one is taken, and why not the other.
    :raises NoMetadataRoute: route ``api`` was asked for, and isn't there, or may not write to the destination.
    """
    source = None if route == "rest" else _api(environment, destination, tell, is_forced=route == "api")
    if source is not None:
        tell(f"Route api: the web server of environment {environment.name!r}, Airflow {source.airflow_version}")
        yield source
        return
    version = environment.airflow_version
    tell(f"Route rest: the REST API of environment {environment.name!r}, Airflow {version}")
    with RestSource(environment.request, version) as rest:
        yield rest


def measure_environment(environment: RemoteEnvironment, route: str, *, tell: Callable[[str], None]) -> Measures:
    """Measure what is in an environment's metadata database by route ``api`` or ``rest``; with ``auto`` by the first
    of them that can be used.

    :param tell: is told which one is taken, and why not the other.
    :raises NoMetadataRoute: route ``api`` was asked for, and cannot be used.
    """
    source = _source(environment)
    measures = None if route == "rest" else _unless_unusable(source.measure, tell, is_forced=route == "api")
    if measures is not None:
        tell(f"Route api: the web server of environment {environment.name!r}")
        return measures
    version = environment.airflow_version
    tell(f"Route rest: the REST API of environment {environment.name!r}, Airflow {version}")
    return measure_rest(environment.request, version)


def _source(environment: RemoteEnvironment) -> ApiSource:
    return ApiSource(environment.call_plugin, f"environment {environment.name!r}")


def _api(
    environment: RemoteEnvironment,
    destination: tuple[str, str] | None,
    tell: Callable[[str], None],
    *,
    is_forced: bool,
) -> ApiSource | None:
    def opened() -> ApiSource:
        source = _source(environment)
        source.open()
        if destination is not None:
            source.check_destination(*destination)
        return source

    return _unless_unusable(opened, tell, is_forced=is_forced)


def _unless_unusable(work: Callable[[], Found], tell: Callable[[str], None], *, is_forced: bool) -> Found | None:
    """Return what route api gives; ``None`` if it cannot be used, and another may be."""
    try:
        return work()
    except MwaaError as error:
        is_wrong = isinstance(error, MwaaInputError) and not isinstance(error, NoMetadataRoute | UnsupportedByTransport)
        if is_forced or is_wrong:
            raise
        tell(f"Route api cannot be used: {error}")
        return None
