# SPDX-License-Identifier: Apache-2.0
"""Forms of SSH private keys: each is opened in memory, and rewritten in the one form that every SSH provider reads."""

from __future__ import annotations

import base64
import contextlib
import re
import warnings
from typing import Any

from airflow_mwaa_provider.exceptions import MwaaInputError

__all__ = ["lines_to_mask", "open_private_key"]

_BEGIN = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----")
_PUBLIC = re.compile(
    r"-----BEGIN (?:RSA )?PUBLIC KEY-----|---- BEGIN SSH2 PUBLIC KEY ----|-----BEGIN CERTIFICATE-----"
    r"|(?:ssh-|ecdsa-sha2-|sk-)[a-z0-9@.-]+ AAAA"
)
_OPENSSH = "BEGIN OPENSSH PRIVATE KEY"
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_NO_CIPHER = b"\0\0\0\x04none"
_SHORTEST_MASKED = 5
"""As in Airflow 3 itself. Airflow 2 would mask even a single letter."""


def lines_to_mask(text: str) -> list[str]:
    """Return the strings to mask for a private key: itself and its lines, shortest first.

    Output of a task is logged line by line. What marks the beginning and the end of a key is no secret.
    """
    lines = {line.strip() for line in (text, *text.splitlines(), *text.split("\\n"))}
    return sorted((line for line in lines if len(line) >= _SHORTEST_MASKED and not _is_mark(line)), key=len)


def open_private_key(text: str, passphrase: str, where: str) -> str:
    """Decrypt a private key, and return it in OpenSSH's form without a passphrase.

    RSA, ECDSA (NIST P-256, P-384 and P-521) and Ed25519 keys are read in OpenSSH's form, PKCS#1 and SEC1 ("PEM"), and
    PKCS#8, encrypted or not.

    :param passphrase: empty if there is none; ignored if the key is not encrypted.
    :param where: names the key in errors, which repeat nothing of it.
    :raises MwaaInputError: it is not a private key that can be read, or the passphrase is missing or wrong.
    """
    from cryptography.hazmat.primitives import serialization

    loaded = _load(_normalized(text, where), passphrase, where)
    _check_kind(loaded, where)
    return loaded.private_bytes(  # type: ignore[no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode("ascii")


def _is_mark(line: str) -> bool:
    return line.startswith("-----") and line.endswith("-----") and "\n" not in line and len(line) < 60


def _normalized(text: str, where: str) -> str:
    """Return a key's lines without blanks around them.

    :raises MwaaInputError: it is something else than a private key, or has lost its line breaks.
    """
    text = text.lstrip("\ufeff").strip()
    if not text:
        raise MwaaInputError(f"{where}: it is empty. Store the private key there.")
    if text.startswith("PuTTY-User-Key-File"):
        raise MwaaInputError(
            f"{where}: it is a key of PuTTY (.ppk). Convert it: puttygen KEY.ppk -O private-openssh -o KEY.pem."
        )
    if _PUBLIC.match(text):
        raise MwaaInputError(f"{where}: it is a public key or a certificate. Store the private key there.")
    if "BEGIN SSH2 ENCRYPTED PRIVATE KEY" in text:
        raise MwaaInputError(f"{where}: it is a key of ssh.com's SSH2. Convert it: ssh-keygen -i -f KEY > KEY.pem.")
    found = _BEGIN.search(text)
    if found is None:
        json_too = " For one value of a JSON secret, add #KEY to private_key_from." if text.startswith("{") else ""
        raise MwaaInputError(
            f"{where}: it is not a private key: it has no line -----BEGIN … PRIVATE KEY-----.{json_too}"
        )
    end = f"-----END {found[1]}-----"
    lines = [line.strip() for line in text[found.start() :].splitlines()]
    if len(lines) < 3 or lines[0] != found[0]:
        raise MwaaInputError(
            f"{where}: the private key has lost its line breaks. Store it from its file, as plain text: "
            "--secret-string file://KEY.pem."
        )
    if end not in lines:
        raise MwaaInputError(f"{where}: the private key is incomplete: it has no line {end}. Store all of it.")
    return "\n".join(lines[: lines.index(end) + 1]) + "\n"


def _load(text: str, passphrase: str, where: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = serialization.load_ssh_private_key if _OPENSSH in text else serialization.load_pem_private_key
    secret = None
    words = (
        "the private key cannot be read. Use an RSA, ECDSA or Ed25519 key from which ssh-keygen -y -f KEY.pem prints "
        "the public key."
    )
    if _is_encrypted(text):
        if not passphrase:
            raise MwaaInputError(f"{where}: it is encrypted. Add private_key_passphrase to the connection's Extra.")
        secret = passphrase.encode("utf-8", "surrogatepass")
        words = (
            "the passphrase is wrong, or the private key is damaged. Correct private_key_passphrase in the "
            "connection's Extra."
        )
    with contextlib.suppress(TypeError, ValueError, UnsupportedAlgorithm), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of DSA keys, which are refused below
        return load(text.encode("utf-8", "surrogatepass"), secret)
    # Outside of the suppressed part: neither cryptography's words nor its frames are part of the error.
    raise MwaaInputError(f"{where}: {words}")


def _is_encrypted(text: str) -> bool:
    """Return whether a key says that it is encrypted. Versions of cryptography fail in different ways without this."""
    if _OPENSSH not in text:
        return "ENCRYPTED" in text
    with contextlib.suppress(ValueError):
        content = base64.b64decode("".join(text.splitlines()[1:-1]))
        return content.startswith(_OPENSSH_MAGIC) and not content.startswith(_OPENSSH_MAGIC + _NO_CIPHER)
    return False


def _check_kind(loaded: Any, where: str) -> None:
    """Refuse what no SSH provider can use.

    :raises MwaaInputError: it is of another kind: DSA, DH, X25519, Ed448, another curve.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    if isinstance(loaded, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        if isinstance(loaded.curve, curves):
            return
        kind = f"of the curve {loaded.curve.name}"
    else:
        kind = f"a {type(loaded).__name__.removesuffix('PrivateKey').removeprefix('_')} key"
    raise MwaaInputError(f"{where}: it is {kind}, which SSH here cannot use. Use an RSA, ECDSA or Ed25519 key.")
