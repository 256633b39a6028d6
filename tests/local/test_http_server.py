# SPDX-License-Identifier: Apache-2.0
"""What both the endpoint and the gateways accept, because they use one server."""

from __future__ import annotations

import gzip

import pytest

from tests.local.lab import Lab

LONG = "x" * 20_000
"""Longer than aiohttp's default limit, as session cookies and presigned URLs may be."""


def url_of(lab: Lab, which: str) -> str:
    url: str = lab.url if which == "endpoint" else lab.mwaa.environments.get("source").public_url
    return url


@pytest.mark.parametrize(("which", "path"), [("endpoint", "/moto-api/"), ("gateway", "/aws_mwaa/aws-console-sso")])
def test_long_headers_and_queries(source: Lab, which: str, path: str) -> None:
    url = url_of(source, which) + path
    with source.web() as web:
        assert web.get(url, headers={"Cookie": f"session={LONG}"}, timeout=5).status_code == 200
        assert web.get(url, params={"X-Amz-Signature": LONG}, timeout=5).status_code == 200
        assert web.get(url, headers={"Cookie": LONG * 4}, timeout=5).status_code == 400


@pytest.mark.parametrize(("which", "path"), [("endpoint", "/clitoken/source"), ("gateway", "/aws_mwaa/cli")])
def test_a_body_that_is_read_whole_has_a_limit(source: Lab, which: str, path: str) -> None:
    with source.web() as web:
        answer = web.post(url_of(source, which) + path, data=b"x" * (8 * 1024 * 1024 + 1), timeout=10)
    assert answer.status_code == 413


def test_a_compressed_body_stays_as_it_came(source: Lab) -> None:
    content = gzip.compress(b"text" * 1000)
    with source.web() as web:
        url = url_of(source, "gateway") + "/echo"
        answer = web.post(url, data=content, headers={"Content-Encoding": "gzip"}, timeout=5)
    assert answer.content == content
