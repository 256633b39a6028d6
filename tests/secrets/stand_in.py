# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for the amazon provider's own tests, which replaces their backends with ours.

``--backends`` chooses which: ``stock``, the amazon provider's own; ``ours``, as they are; ``uncached``, ours, which ask
each time; ``cached``, ours, whose answers another backend has from the cache. The last two have the names of the stock
classes, by which some tests find a backend and its logger.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import moto
import pytest

from airflow_mwaa_provider.secrets import look_up_cache
from airflow_mwaa_provider.secrets.amazon_backend import AmazonBackend
from airflow_mwaa_provider.secrets.secrets_manager import CachedSecretsManagerBackend
from airflow_mwaa_provider.secrets.systems_manager import CachedSystemsManagerParameterStoreBackend

OURS = {
    "SecretsManagerBackend": CachedSecretsManagerBackend,
    "SystemsManagerParameterStoreBackend": CachedSystemsManagerParameterStoreBackend,
}
_STAND_INS = "amazon_stand_ins"
"""The module from which Airflow loads classes configured by path."""

_outcomes: dict[str, str] = {}
_asked: list[str] = []


def uncached(ours: type[Any]) -> type[Any]:
    """Return a class that never uses the cache."""

    class Uncached(ours):  # type: ignore[misc]
        def __init__(self, **keywords: Any) -> None:
            super().__init__(cache_ttl_s=0, negative_ttl_s=0, **keywords)

    return Uncached


def cached(ours: type[Any]) -> type[Any]:
    """Return a class that, of what it has asked AWS for, returns what another backend has from the cache."""

    class Cached(ours):  # type: ignore[misc]
        def __init__(self, **keywords: Any) -> None:
            super().__init__(**keywords)
            self._other = ours(**keywords)

        def get_conn_value(self, *arguments: Any, **keywords: Any) -> str | None:
            return self._from_cache("get_conn_value", *arguments, **keywords)

        def get_variable(self, *arguments: Any, **keywords: Any) -> str | None:
            return self._from_cache("get_variable", *arguments, **keywords)

        def get_config(self, *arguments: Any, **keywords: Any) -> str | None:
            return self._from_cache("get_config", *arguments, **keywords)

        def _from_cache(self, method: str, *arguments: Any, **keywords: Any) -> str | None:
            before = len(_asked)
            answer: str | None = getattr(super(), method)(*arguments, **keywords)
            asked = len(_asked)
            if asked > before:
                first, answer = answer, getattr(self._other, method)(*arguments, **keywords)
                assert len(_asked) == asked, "the cache was not used"
                assert answer == first
            return answer

    return Cached


def as_it_is(ours: type[Any]) -> type[Any]:
    """Return the class."""
    return ours


MAKERS = {"ours": as_it_is, "uncached": uncached, "cached": cached}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", choices=["stock", *MAKERS], required=True)
    parser.addoption("--outcomes", type=Path, required=True, help="a file for what became of each test")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(moto, "mock_aws"):  # before 5
        vars(moto)["mock_aws"] = lambda test: vars(moto)["mock_secretsmanager"](vars(moto)["mock_ssm"](test))
    sys.modules[_STAND_INS] = ModuleType(_STAND_INS)
    make = MAKERS.get(config.getoption("backends"))
    for name, ours in OURS.items() if make is not None else ():
        made = make(ours)
        if made is not ours:
            made.__name__ = made.__qualname__ = name
        setattr(sys.modules[_STAND_INS], name, made)

    # The only helper that the amazon provider's tests import from elsewhere.
    for name in ("tests_common", "tests_common.test_utils", "tests_common.test_utils.config"):
        sys.modules[name] = ModuleType(name)
    vars(sys.modules["tests_common.test_utils.config"])["conf_vars"] = conf_vars

    fetch = AmazonBackend.fetch

    def counted(self: AmazonBackend, kind: str, *arguments: Any) -> Any:
        _asked.append(kind)
        return fetch(self, kind, *arguments)

    AmazonBackend.fetch = counted  # type: ignore[method-assign]


@contextlib.contextmanager
def conf_vars(options: Mapping[tuple[str, str], str]) -> Iterator[None]:
    """Set options of Airflow's configuration temporarily."""
    with pytest.MonkeyPatch.context() as patch:
        for (section, key), value in options.items():
            module, _, name = value.rpartition(".")
            is_replaced = module and hasattr(sys.modules[_STAND_INS], name)
            patch.setenv(f"AIRFLOW__{section}__{key}".upper(), f"{_STAND_INS}.{name}" if is_replaced else value)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for module in {item.getparent(pytest.Module) for item in items}:
        assert module is not None
        for name, made in vars(sys.modules[_STAND_INS]).items():
            if name in OURS and hasattr(module.obj, name):
                setattr(module.obj, name, made)


@pytest.fixture(autouse=True)
def _records_of_airflow_3() -> None:
    """Pass what Airflow 3 logs through structlog to the standard library, where ``caplog`` sees it."""
    structlog = sys.modules.get("structlog")
    if structlog is not None:
        structlog.configure(
            processors=[structlog.stdlib.PositionalArgumentsFormatter(), structlog.stdlib.render_to_log_kwargs],
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_up_cache, "default_parent", lambda: str(tmp_path / "cache"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        _outcomes[report.nodeid] = "passed" if report.passed else report.longreprtext


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.getoption("outcomes").write_text(json.dumps(_outcomes), encoding="utf-8")
