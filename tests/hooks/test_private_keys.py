# SPDX-License-Identifier: Apache-2.0
"""Private keys of every form are opened; what is none is refused with a way out, and never repeated."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from airflow.providers.ssh.hooks.ssh import SSHHook as ProviderHook
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.private_keys import lines_to_mask, open_private_key
from tests.hooks.ssh_lab import FORMS, KINDS, private_text, public_text, secret_lines

PROVIDER = ProviderHook(remote_host="127.0.0.1")


@pytest.mark.parametrize("passphrase", [None, "a passphrase"], ids=["plain", "encrypted"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_form_of_each_kind_is_opened(kind: str, form: str, passphrase: str | None) -> None:
    if (kind, form) == ("ed25519", "pem"):
        pytest.skip("there is no such form")
    text = private_text(kind, form, passphrase)
    opened = open_private_key(text, passphrase or "", "Secret 's'")
    key = PROVIDER._pkey_from_private_key(opened)
    assert f"{key.get_name()} {key.get_base64()}" == public_text(kind)


@pytest.mark.parametrize("change", [
    lambda text: text.replace("\n", "\r\n"), lambda text: text.strip(), lambda text: f"\ufeff\n  {text}\n\n",
    lambda text: "\n".join(f"    {line}" for line in text.splitlines()), lambda text: f"Bag Attributes\n{text}",
])  # fmt: skip
@pytest.mark.parametrize("form", ["openssh", "pem"])
def test_blanks_and_windows_line_ends_do_no_harm(change: object, form: str) -> None:
    text = private_text("rsa", form)
    assert callable(change)
    key = PROVIDER._pkey_from_private_key(open_private_key(change(text), "", "x"))
    assert f"{key.get_name()} {key.get_base64()}" == public_text("rsa")


def test_a_passphrase_that_is_not_needed_is_ignored() -> None:
    for form in FORMS:
        assert open_private_key(private_text("rsa", form), "unused", "x")


def _dsa() -> str:
    key = dsa.generate_private_key(1024)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _of(key: ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


KEY = private_text()
REFUSED = {
    "empty": (" \n", None, "it is empty"),
    "public": (public_text(), None, "it is a public key or a certificate"),
    "public ecdsa": (public_text("ecdsa-256"), None, "it is a public key or a certificate"),
    "public pem": ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", None, "it is a public key"),
    "putty": ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", None, "puttygen KEY.ppk -O private-openssh"),
    "ssh2": ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA\n", None, "ssh-keygen -i -f"),
    "json": ('{"key": "x"}', None, "add #KEY to private_key_from"),
    "text": ("no key at all", None, "it is not a private key"),
    "one line": (KEY.replace("\n", " "), None, "has lost its line breaks"),
    "escaped": (KEY.replace("\n", "\\n"), None, "has lost its line breaks"),
    "cut": (KEY[:200], None, "it has no line -----END OPENSSH PRIVATE KEY-----"),
    "damaged": (KEY.replace("b3BlbnNzaC1rZXk", "b3BlbnNzaC1rZXl"), None, "cannot be read"),
    "damaged pem": (private_text("rsa", "pem").replace("MII", "MIJ", 1), None, "cannot be read"),
    **{
        f"{what} {form}": (private_text("rsa", form, "right"), given, words)
        for form in FORMS
        for what, given, words in [
            (
                "wrong",
                "wrong",
                "the passphrase is wrong, or the private key is damaged. Correct private_key_passphrase",
            ),
            ("missing", None, "it is encrypted. Add private_key_passphrase"),
        ]
    },
    "dsa": (_dsa(), None, "it is a DSA key"),
    "curve": (_of(ec.generate_private_key(ec.SECP256K1())), None, "it is of the curve secp256k1"),
    "ed448": (_of(ed448.Ed448PrivateKey.generate()), None, "it is a Ed448 key"),
}


@pytest.mark.parametrize(("text", "passphrase", "words"), REFUSED.values(), ids=[*REFUSED])
def test_what_cannot_be_used_is_refused_in_a_line(text: str, passphrase: str | None, words: str) -> None:
    with pytest.raises(MwaaInputError) as caught:
        open_private_key(text, passphrase or "", "Secret 'prod/ssh'")
    message = str(caught.value)
    assert message.startswith("Secret 'prod/ssh': ")
    assert words in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert not [line for line in secret_lines(text) if line in message]
    for name in ("wrong", "right"):
        assert f"'{name}'" not in message


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
@pytest.mark.parametrize(
    "options",
    [["-t", "ed25519"], ["-t", "rsa", "-b", "2048"], ["-t", "rsa", "-b", "2048", "-m", "PEM"], ["-t", "ecdsa"]],
)
@pytest.mark.parametrize("passphrase", ["", "a passphrase"])
def test_what_ssh_keygen_writes_is_opened(options: list[str], passphrase: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", *options, "-N", passphrase, "-f", str(path)], check=True)
    key = PROVIDER._pkey_from_private_key(open_private_key(path.read_text(), passphrase, "x"))
    assert f"{key.get_name()} {key.get_base64()}" in path.with_suffix(".pub").read_text()


def test_each_line_of_a_key_is_masked_and_its_marks_are_not() -> None:
    text = private_text("rsa", "pem")
    masked = lines_to_mask(text)
    assert set(secret_lines(text)) < set(masked)
    assert not [line for line in masked if line.startswith("-----") and "\n" not in line]
    assert masked == sorted(masked, key=len)
