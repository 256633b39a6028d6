# SPDX-License-Identifier: Apache-2.0
"""The certificate authority and the sockets."""

from __future__ import annotations

import errno
import ssl
from typing import TYPE_CHECKING

import certifi
import pytest

from airflow_mwaa_provider.local.aws import loopback
from airflow_mwaa_provider.local.aws.loopback import is_loopback, listen, listen_apart, listen_on_https_port
from airflow_mwaa_provider.local.aws.tls import CertificateAuthority

if TYPE_CHECKING:
    from pathlib import Path


def test_an_authority_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "ca"
    made = CertificateAuthority.load_or_create(folder)
    content = made.ca_pem_path.read_bytes()
    loaded = CertificateAuthority.load_or_create(folder)
    assert loaded.ca_pem_path.read_bytes() == content
    assert b"PRIVATE KEY" not in content
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["ca.key", "ca.pem"]


def test_a_loaded_authority_is_trusted_by_who_trusted_the_made_one(tmp_path: Path) -> None:
    trusting = CertificateAuthority.load_or_create(tmp_path).client_context()
    server = CertificateAuthority.load_or_create(tmp_path).server_context(["127.0.0.9"])
    for name in ("127.0.0.9", "127.0.0.1", "localhost"):
        _handshake(trusting, server, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(trusting, server, "127.0.0.8")


def _handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    pending = {client, server}
    while pending:
        for side in list(pending):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(side)


def test_the_bundle_holds_the_public_authorities_and_ours(tmp_path: Path) -> None:
    authority = CertificateAuthority.load_or_create(tmp_path / "ca")
    bundle = tmp_path / "bundle.pem"
    authority.write_bundle(bundle)
    context = ssl.create_default_context(cafile=str(bundle))
    public = ssl.create_default_context(cafile=certifi.where())
    assert len(context.get_ca_certs()) == len(public.get_ca_certs()) + 1


def test_what_is_no_authority_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    (tmp_path / "ca.key").write_text("nothing")
    with pytest.raises(ValueError):
        CertificateAuthority.load_or_create(tmp_path)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False), (None, False), ("host", False)],
)
def test_loopback(address: str | None, expected: bool) -> None:
    assert is_loopback(address) == expected


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1 port {port}"):
            listen("127.0.0.1", port)


def test_gateways_listen_on_the_port_of_https_where_that_is_allowed() -> None:
    first, second = listen_on_https_port(set()), listen_on_https_port({"127.0.0.2"})
    if first is None:
        pytest.skip("ports below 1024 are root's here")
    assert second is not None
    third = listen_on_https_port({"127.0.0.2"})
    assert third is not None
    with first, second, third:
        addresses = [listener.getsockname() for listener in (first, second, third)]
        assert [port for _, port in addresses] == [443] * 3
        assert len({address for address, _ in addresses}) == 3, "what another has is passed over"
        assert addresses[1][0] != "127.0.0.2"


def test_where_it_is_not_allowed_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(host: str, port: int) -> None:
        raise PermissionError(errno.EACCES, f"can't listen on {host} port {port}")

    monkeypatch.setattr(loopback, "listen", refused)
    assert listen_on_https_port(set()) is None


def test_every_gateway_gets_an_address_of_its_own() -> None:
    with listen_apart(0, set()) as first, listen_apart(0, {"127.0.0.2"}) as second:
        assert [listener.getsockname()[0] for listener in (first, second)] == ["127.0.0.2", "127.0.0.3"]
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}"):
            listen_apart(port, set())
