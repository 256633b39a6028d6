# SPDX-License-Identifier: Apache-2.0
"""The guide's bastion tunnel, tested with real proxies: HTTP CONNECT and SOCKS5."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airflow_mwaa_provider.client.http.proxies import proxy_url, shown_proxy
from airflow_mwaa_provider.client.http.web_server import WebServerSettings
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, WebServerUnreachable
from tests.client.proxy import INLINE, PASSWORD, USER, Proxy
from tests.client.world import unverified_https

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.world import World


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    proxy = Proxy(world)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("password", ["none", "in the address", "in its own field"])
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("transport", ["web_session", "cli"])
def test_through_a_proxy(world: World, proxy: Proxy, transport: str, scheme: str, password: str) -> None:
    proxy.needs_password = password != "none"
    url = f"{scheme}://{INLINE if password == 'in the address' else ''}127.0.0.1:{proxy.port}"
    fields = {"proxy_login": USER, "proxy_password": PASSWORD} if password == "in its own field" else {}
    environment = world.environment("env3", transport, proxy=url, **fields)
    assert environment.trigger_dag_run("etl", "run_1").created
    assert set(proxy.targets) == {environment.web_server_host}
    assert len(proxy.targets) == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_processs_environment(
    world: World, proxy: Proxy, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv(variable, f"socks5h://127.0.0.1:{proxy.port}")
    assert world.environment("env3", "web_session").trigger_dag_run("etl", "run_1").created
    assert len(proxy.targets) == 1


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_only_the_proxy_knows_the_private_host(
    world: World, proxy: Proxy, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private web server's name is resolved beyond the tunnel, or nowhere."""
    gateway = world.mwaa.environments.get("env3")
    address = str(gateway.address)
    host, _, port = address.rpartition(":")
    private = "private.vpce.example.invalid"
    proxy.names[private] = host
    monkeypatch.setattr(type(gateway), "address", property(lambda self: f"{private}:{port}"))
    environment = world.environment(
        "env3", "cli", airflow_major=3, proxy=f"{scheme}://127.0.0.1:{proxy.port}", ca_bundle=False
    )
    with unverified_https():
        assert environment.trigger_dag_run("etl", "run_1").created
    assert proxy.targets == [f"{private}:{port}"]


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("how", ["refuse", "password"])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_refuses_leaves_no_doubt_and_tells_no_password(
    world: World, proxy: Proxy, scheme: str, how: str, inline: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy.refuse, proxy.needs_password = how == "refuse", how == "password"
    wrong = f"wrong {PASSWORD}"
    credentials = f"user:{quote(wrong, safe='')}@" if inline else ""
    url = f"{scheme}://{credentials}127.0.0.1:{proxy.port}"
    fields = {} if inline else {"proxy_login": "user", "proxy_password": wrong}
    with pytest.raises(WebServerUnreachable, match="proxy") as caught:
        world.environment("env3", "cli", proxy=url, airflow_major=3, **fields).trigger_dag_run("etl", "run_1")
    assert not caught.value.ambiguous
    assert "Check the proxy's address, login and password" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value)) + caplog.text
    assert not any(secret in shown for secret in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")))
    assert proxy.targets == []


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_tunnel_that_breaks_after_the_command_leaves_a_doubt(world: World, proxy: Proxy, scheme: str) -> None:
    environment = world.environment("env3", "cli", proxy=f"{scheme}://127.0.0.1:{proxy.port}", airflow_major=3)
    # The handshake passes (certificates included), the answer does not.
    world.airflow().noise = "log\n" * 5_000
    proxy.cut_after_bytes = 8_000
    with pytest.raises(MwaaError) as caught:
        environment.trigger_dag_run("etl", "run_1")
    assert caught.value.ambiguous
    assert [run["dag_run_id"] for run in world.airflow().runs] == ["run_1"]
    proxy.cut_after_bytes = None
    assert environment.trigger_dag_run("etl", "run_1").created is False


# -- its address ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxy", "login", "password", "made"),
    [
        (None, None, None, None),
        ("http://h:1", None, None, "http://h:1"),
        ("http://h:1/", None, None, "http://h:1"),
        ("http://h:1", "u", None, "http://u:@h:1"),
        ("socks5h://[::1]:1", "u", "p@:/ü", "socks5h://u:p%40%3A%2F%C3%BC@[::1]:1"),
        ("socks5h://u@h:1", None, "p", "socks5h://u:p@h:1"),
        ("http://u:p%40@h:1", None, None, "http://u:p%40@h:1"),
        ("http://u:p@ss'w@h:1", None, None, "http://u:p%40ss%27w@h:1"),
    ],
)
def test_login_and_password_become_part_of_the_address(
    proxy: str | None, login: str | None, password: str | None, made: str | None
) -> None:
    assert proxy_url(proxy, login, password) == made
    settings = WebServerSettings(proxy=proxy, proxy_login=login, proxy_password=password)
    assert settings.proxy_url() == made
    assert "p@" not in repr(settings)


HUSH = "hush-hush"


@pytest.mark.parametrize(
    ("proxy", "login", "password", "words"),
    [
        (f"user:{HUSH}@host:8080", None, None, "not the address of a proxy"),
        (f"ftp://user:{HUSH}@host:1", None, None, "not the address of a proxy"),
        (f"http://user:{HUSH}", None, None, "not the address of a proxy"),
        (f"http://user:12/{HUSH}@host:1", None, None, "not the address of a proxy"),
        (f"http://user:12#{HUSH}@host:1", None, None, "not the address of a proxy"),
        (f"http://user:{HUSH}@host:1", None, HUSH, "also given"),
        (f"http://user:{HUSH}@host:1", "user", None, "also given"),
        (f"http://:{HUSH}@host:1", None, None, "no login"),
        ("http://host:1", None, HUSH, "no login"),
        (None, "user", HUSH, "without proxy"),
        ("http://host:1", "user", f"{HUSH}-\u20ac", "Latin-1"),
    ],
)
def test_an_address_that_is_none_is_refused_and_not_shown(
    proxy: str | None, login: str | None, password: str | None, words: str
) -> None:
    with pytest.raises(MwaaInputError, match=words) as caught:
        WebServerSettings(proxy=proxy, proxy_login=login, proxy_password=password)
    assert HUSH not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", [f"http://u:{HUSH}@h:1", f"http://u:a'@{HUSH}@h:1", f"http://{HUSH}@h:1"])
def test_only_where_a_proxy_is_may_be_shown(url: str) -> None:
    assert shown_proxy(url) == "http://***@h:1"
    assert shown_proxy("http://h:1") == "http://h:1"
