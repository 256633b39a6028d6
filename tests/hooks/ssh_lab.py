# SPDX-License-Identifier: Apache-2.0
"""Key pairs of every form, for the tests of SSH."""

from __future__ import annotations

from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

KINDS = ("rsa", "ecdsa-256", "ecdsa-384", "ecdsa-521", "ed25519")
FORMS = ("openssh", "pem", "pkcs8")


@cache
def pair(kind: str) -> Any:
    """Return a private key, the same for each kind."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"256": ec.SECP256R1, "384": ec.SECP384R1, "521": ec.SECP521R1}
    return ec.generate_private_key(curves[kind.partition("-")[2]]())


def private_text(kind: str = "ed25519", form: str = "openssh", passphrase: str | None = None) -> str:
    """Write a private key."""
    formats = {
        "openssh": serialization.PrivateFormat.OpenSSH,
        "pem": serialization.PrivateFormat.TraditionalOpenSSL,
        "pkcs8": serialization.PrivateFormat.PKCS8,
    }
    encryption: Any = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    written: bytes = pair(kind).private_bytes(serialization.Encoding.PEM, formats[form], encryption)
    return written.decode()


def public_text(kind: str = "ed25519") -> str:
    """Write a public key as a line of ``authorized_keys``."""
    public = pair(kind).public_key()
    written: bytes = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return written.decode()


def secret_lines(*texts: str) -> list[str]:
    """Return the lines of private keys that nothing may show."""
    return [line for text in texts for line in text.splitlines() if len(line) > 20 and not line.startswith("-----")]
