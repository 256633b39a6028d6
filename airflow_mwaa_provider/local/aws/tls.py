# SPDX-License-Identifier: Apache-2.0
"""The local MWAA's own certificate authority, and the certificates of its gateways."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import trustme

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALWAYS = ("localhost", "127.0.0.1")


class CertificateAuthority:
    """A private certificate authority in a folder; its key never leaves the machine.

    The gateways' certificates are created in memory at each start; only the authority is kept, so a browser or a script
    that trusts it once trusts it as long as the folder exists.
    """

    def __init__(self, authority: trustme.CA, ca_pem_path: Path) -> None:
        self._authority = authority
        self.ca_pem_path = ca_pem_path
        """The authority's certificate (no key), for ``curl --cacert``."""

    @classmethod
    def load_or_create(cls, folder: Path) -> CertificateAuthority:
        """Load the authority in a folder, or create one there.

        :raises OSError: the folder cannot be written.
        :raises ValueError: the folder contains something other than a certificate and its key.
        """
        certificate_path, key_path = folder / "ca.pem", folder / "ca.key"
        if certificate_path.exists() and key_path.exists():
            authority = trustme.CA.from_pem(certificate_path.read_bytes(), key_path.read_bytes())
            return cls(authority, certificate_path)
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA(
            organization_name="airflow-mwaa-provider", organization_unit_name="local MWAA on this machine"
        )
        # The key first, so that a crash in between leaves no certificate without its key.
        _write_whole(key_path, authority.private_key_pem.bytes(), mode=0o600)
        _write_whole(certificate_path, authority.cert_pem.bytes(), mode=0o644)
        return cls(authority, certificate_path)

    def server_context(self, addresses: Iterable[str]) -> ssl.SSLContext:
        """Return a server's TLS context whose certificate names the addresses, localhost and 127.0.0.1."""
        names = list(dict.fromkeys([*addresses, *_ALWAYS]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's TLS context that trusts this authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._authority.cert_pem.bytes().decode("ascii"))
        return context

    def write_bundle(self, path: Path) -> None:
        """Write certifi's bundle plus this authority, for ``REQUESTS_CA_BUNDLE`` and ``AWS_CA_BUNDLE``."""
        public = Path(certifi.where()).read_bytes()
        _write_whole(path, public.rstrip(b"\n") + b"\n" + self._authority.cert_pem.bytes(), mode=0o644)


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file atomically, with at most the permissions ``mode`` at any time."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
