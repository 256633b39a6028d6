# SPDX-License-Identifier: Apache-2.0
"""The TLS gateway: logins, sessions and everything that is forwarded to Airflow."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from tests.local.lab import Lab

LOGIN = {2: "/aws_mwaa/login", 3: "/pluginsv2/aws_mwaa/login"}
VERSIONS = pytest.mark.parametrize(("version", "major"), [("2.10.3", 2), ("3.3.1", 3)])


def url_of(lab: Lab, name: str = "source") -> str:
    return lab.mwaa.environments.get(name).public_url


@VERSIONS
def test_a_login_token_becomes_a_session(lab: Lab, version: str, major: int) -> None:
    lab.environment(version=version)
    session = lab.login(major=major)
    cookie = next(iter(session.cookies))
    assert cookie.name == {2: "session", 3: "_token"}[major]
    assert cookie.secure
    assert cookie.path == "/"
    answer = session.get(f"{url_of(lab)}/api/v{major - 1}/dags", timeout=5)
    assert answer.json()["path"] == "/dags"


@VERSIONS
def test_the_cookies_attributes(lab: Lab, version: str, major: int) -> None:
    lab.environment(version=version)
    token = lab.client().create_web_login_token(Name="source")["WebToken"]
    with lab.web() as web:
        answer = web.post(url_of(lab) + LOGIN[major], data={"token": token}, timeout=5)
    value = f"session-source-{lab.factory.of('source').logins}"
    assert answer.headers["Set-Cookie"].endswith(f"={value}; Path=/; Secure; HttpOnly; SameSite=Lax")


def test_airflow_3_0_reads_the_cookie_in_a_script(lab: Lab) -> None:
    lab.environment(version="3.0.6")
    token = lab.client().create_web_login_token(Name="source")["WebToken"]
    with lab.web() as web:
        answer = web.post(url_of(lab) + LOGIN[3], data={"token": token}, timeout=5)
    assert "HttpOnly" not in answer.headers["Set-Cookie"]


@VERSIONS
def test_the_other_majors_paths_are_not_found(lab: Lab, version: str, major: int) -> None:
    lab.environment(version=version)
    token = lab.client().create_web_login_token(Name="source")["WebToken"]
    with lab.web() as web:
        assert web.post(url_of(lab) + LOGIN[5 - major], data={"token": token}, timeout=5).status_code == 404
        assert web.get(url_of(lab) + "/aws_mwaa/other", timeout=5).status_code == 404
        assert web.get(url_of(lab) + LOGIN[major], timeout=5).status_code == 405


class TestRefusedTokens:
    def login(self, lab: Lab, data: dict[str, str]) -> requests.Response:
        with lab.web() as web:
            return web.post(url_of(lab) + LOGIN[3], data=data, timeout=5)

    def check(self, answer: requests.Response) -> None:
        assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
        assert "Set-Cookie" not in answer.headers

    def test_wrong_or_none(self, source: Lab) -> None:
        self.check(self.login(source, {"token": "x" * 128}))
        self.check(self.login(source, {}))

    def test_of_the_cli(self, source: Lab) -> None:
        self.check(self.login(source, {"token": source.client().create_cli_token(Name="source")["CliToken"]}))

    def test_of_another_environment(self, source: Lab) -> None:
        source.environment("target")
        token = source.client().create_web_login_token(Name="target")["WebToken"]
        self.check(self.login(source, {"token": token}))

    def test_in_a_form_that_can_not_be_read(self, source: Lab) -> None:
        with source.web() as web:
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            answer = web.post(url_of(source) + LOGIN[3], data=b"nonsense", headers=headers, timeout=5)
        assert answer.status_code in (400, 403)

    def test_of_a_deleted_environment_of_the_same_name(self, source: Lab) -> None:
        token = source.client().create_web_login_token(Name="source")["WebToken"]
        source.client().delete_environment(Name="source")
        source.settled("source")
        source.environment("source")
        self.check(self.login(source, {"token": token}))

    def test_after_sixty_seconds(self, source: Lab) -> None:
        token = source.client().create_web_login_token(Name="source")["WebToken"]
        source.clock.pass_s(59.9)
        assert self.login(source, {"token": token}).status_code == 200
        source.clock.pass_s(0.2)
        self.check(self.login(source, {"token": token}))

    def test_expired_by_the_admin(self, source: Lab) -> None:
        token = source.client().create_web_login_token(Name="source")["WebToken"]
        assert source.admin("POST", "expire", {"tokens": True})["tokens"] == 1
        self.check(self.login(source, {"token": token}))

    def test_the_lifetime_is_a_limit(self, source: Lab) -> None:
        source.admin("PATCH", "limits", {"token_lifetime_s": 5})
        token = source.client().create_web_login_token(Name="source")["WebToken"]
        source.clock.pass_s(6)
        self.check(self.login(source, {"token": token}))


class TestSessions:
    @VERSIONS
    def test_end_after_twelve_hours(self, lab: Lab, version: str, major: int) -> None:
        lab.environment(version=version)
        session = lab.login(major=major)
        lab.clock.pass_s(12 * 3600 - 1)
        assert session.get(f"{url_of(lab)}/api/v{major - 1}/dags", timeout=5).status_code == 200
        lab.clock.pass_s(2)
        assert session.get(f"{url_of(lab)}/api/v{major - 1}/dags", timeout=5).status_code == 401

    def test_a_bearer_token_ends_too(self, source: Lab) -> None:
        value = next(iter(source.login().cookies)).value
        with source.web() as web:
            headers = {"Authorization": f"Bearer {value}"}
            assert web.get(f"{url_of(source)}/api/v2/dags", headers=headers, timeout=5).status_code == 200
            assert source.admin("POST", "expire", {"sessions": True}) == {"tokens": 0, "sessions": 1}
            answer = web.get(f"{url_of(source)}/api/v2/dags", headers=headers, timeout=5)
        assert (answer.status_code, answer.json()["title"]) == (401, "Unauthorized")

    def test_a_browser_is_sent_to_a_page(self, source: Lab) -> None:
        session = source.login()
        source.admin("POST", "expire", {"sessions": True, "environment": "source"})
        answer = session.get(f"{url_of(source)}/home", headers={"Accept": "text/html,*/*"}, timeout=5)
        assert answer.history[0].status_code == 302
        assert answer.url == f"{url_of(source)}/aws_mwaa/aws-console-sso"
        assert not session.cookies

    def test_another_environments_are_untouched(self, source: Lab) -> None:
        session = source.login()
        source.admin("POST", "expire", {"sessions": True, "environment": "target"})
        assert session.get(f"{url_of(source)}/api/v2/dags", timeout=5).status_code == 200

    def test_a_renewed_value_ends_with_the_old_one(self, source: Lab) -> None:
        session = source.login()
        assert session.get(f"{url_of(source)}/renew", timeout=5).status_code == 200
        with source.web() as web:
            headers = {"Authorization": "Bearer renewed"}
            assert web.get(f"{url_of(source)}/api/v2/dags", headers=headers, timeout=5).status_code == 200
            source.clock.pass_s(12 * 3600 + 1)
            assert web.get(f"{url_of(source)}/api/v2/dags", headers=headers, timeout=5).status_code == 401

    def test_none_is_airflows_business(self, source: Lab) -> None:
        with source.web() as web:
            answer = web.get(f"{url_of(source)}/api/v2/dags", timeout=5)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"})


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("2.10.3", "/aws_mwaa/aws-console-sso"),
        ("3.3.1", "/aws_mwaa/aws-console-sso"),
        ("3.3.1", "/pluginsv2/aws_mwaa/aws-console-sso"),
    ],
)
def test_the_console_page_posts_the_fragment(lab: Lab, version: str, path: str) -> None:
    lab.environment(version=version)
    with lab.web() as web:
        answer = web.get(f"{url_of(lab)}{path}?login=true", timeout=5)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f'fetch("{LOGIN[int(version[0])]}"' in answer.text
    assert "location.hash" in answer.text
    nonce = answer.headers["Content-Security-Policy"].split("'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in answer.text


class TestPassingOn:
    def test_forwarding_headers(self, source: Lab) -> None:
        with source.web() as web:
            headers = {"Connection": "keep-alive, X-Private", "X-Private": "1", "TE": "trailers", "X-Kept": "1"}
            answer = web.get(f"{url_of(source)}/headers", headers=headers, timeout=5)
        seen = source.factory.of("source").requests[-1]["headers"]
        host = url_of(source).removeprefix("https://")
        assert seen["X-Forwarded-Proto"] == "https"
        assert seen["X-Forwarded-Host"] == seen["Host"] == host
        assert seen["X-Forwarded-For"] == "127.0.0.1"
        assert seen["X-Kept"] == "1"
        assert not {"X-Private", "TE"} & set(seen)
        assert answer.headers["X-From-Airflow"] == "yes"
        assert "timeout=5" not in answer.headers.get("Keep-Alive", "")
        assert {cookie.name for cookie in answer.cookies} == {"one", "two"}

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ("BACKEND/home", "PUBLIC/home"),
            ("/home", "/home"),
            ("http://HOST/home?x=1", "PUBLIC/home?x=1"),
            ("https://example.com/a", "https://example.com/a"),
        ],
    )
    def test_redirects(self, source: Lab, target: str, expected: str) -> None:
        public = url_of(source)
        target = target.replace("HOST", public.removeprefix("https://"))
        with source.web() as web:
            answer = web.get(f"{public}/redirect", params={"to": target}, allow_redirects=False, timeout=5)
        assert (answer.status_code, answer.headers["Location"]) == (302, expected.replace("PUBLIC", public))

    def test_paths_and_queries_stay_as_they_are(self, source: Lab) -> None:
        path = "/api/v2/dags/a%2Fb%20c/dagRuns/manual__2024-01-01T00:00:00+00:00?order_by=-x&q=%C3%A9&q="
        session = source.login()
        assert session.get(url_of(source) + path, timeout=5).status_code == 200
        assert source.factory.of("source").requests[-1]["path"] == path

    def test_bodies_stay_as_they_are(self, source: Lab) -> None:
        content = gzip.compress(bytes(range(256)) * 4096)
        with source.web() as web:
            headers = {"Content-Encoding": "gzip"}
            answer = web.post(f"{url_of(source)}/echo", data=content, headers=headers, timeout=5)
            assert answer.content == content
            answer = web.post(f"{url_of(source)}/echo", data=iter([content, content]), timeout=5)
            assert answer.content == content * 2

    def test_a_large_answer_is_streamed(self, source: Lab) -> None:
        with source.web() as web, web.get(f"{url_of(source)}/bytes?mb=20", stream=True, timeout=5) as answer:
            assert sum(len(chunk) for chunk in answer.iter_content(1 << 20)) == 20 * 1024 * 1024

    def test_head_and_other_methods(self, source: Lab) -> None:
        with source.web() as web:
            assert web.head(f"{url_of(source)}/headers", timeout=5).headers["X-From-Airflow"] == "yes"
            for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
                assert web.request(method, f"{url_of(source)}/echo", timeout=5).status_code == 200
                assert source.factory.of("source").requests[-1]["method"] == method

    def test_half_an_answer_is_not_taken_for_the_whole(self, source: Lab) -> None:
        with source.web() as web, pytest.raises(requests.RequestException):
            web.get(f"{url_of(source)}/broken-off", timeout=5)

    def test_an_airflow_that_is_gone_is_a_bad_gateway(self, source: Lab) -> None:
        source.wait(source.factory.of("source").stop())
        with source.web() as web:
            answer = web.get(f"{url_of(source)}/home", timeout=5)
        assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html; charset=utf-8")

    def test_a_failing_login_of_airflow_is_an_error_page(self, source: Lab) -> None:
        runtime = source.factory.of("source")

        async def broken() -> None:
            raise RuntimeError("no login")

        runtime.login = broken
        token = source.client().create_web_login_token(Name="source")["WebToken"]
        with source.web() as web:
            answer = web.post(url_of(source) + LOGIN[3], data={"token": token}, timeout=5)
        assert answer.status_code == 500
        assert "no login" not in answer.text


def test_environments_have_addresses_of_their_own(source: Lab) -> None:
    source.environment("target", version="2.10.3")
    hosts = {url_of(source, name).removeprefix("https://").rpartition(":")[0] for name in ("source", "target")}
    assert len(hosts) == 2
    for name in ("source", "target"):
        with source.web() as web:
            assert web.get(url_of(source, name), timeout=5).text == f"Airflow UI of {name}"


def test_a_given_port_is_kept(lab: Lab, unused_port: int) -> None:
    environment = lab.environment("made", gateway_port=unused_port)
    assert environment.address.endswith(f":{unused_port}")


def test_the_certificate_is_checked(source: Lab) -> None:
    with requests.Session() as stranger:
        stranger.trust_env = False
        with pytest.raises(requests.exceptions.SSLError):
            stranger.get(url_of(source), timeout=5)
