# SPDX-License-Identifier: Apache-2.0
"""Pass pip's settings on this machine to uv, which reads none of them.

With the same index, certificates and proxy, the scripts can install wherever pip can.
"""

from __future__ import annotations

import ast
import math
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from running import Failure, masked

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATHS = ("cert", "client-cert", "find-links")
_UV_OF_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "client-cert": "SSL_CLIENT_CERT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_OTHER_VERSIONS = {
    "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_EXCLUDE_NEWER", "UV_RESOLUTION", "UV_PRERELEASE",
    "UV_REQUIRE_HASHES",
}  # fmt: skip
_SECTIONS = ("global", "install", ":env:")
"""The sections of pip's configuration that apply to ``pip install``; a later one takes precedence."""


def pip_settings(listed: str) -> dict[str, str]:
    """Read what ``pip config list`` prints: its settings for ``pip install``, by the long option's name."""
    found: dict[str, str] = {}
    for section in _SECTIONS:
        for line in listed.splitlines():
            name, equals, value = line.partition("=")
            if equals and name.startswith(f"{section}."):
                found[name.removeprefix(f"{section}.").replace("_", "-")] = str(ast.literal_eval(value))
    return found


def uv_variables(shell: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return what uv needs besides the shell's variables. Settings for uv itself are not touched.

    :raises Failure: a CA bundle is set that does not exist.
    """
    made: dict[str, str] = {}
    for option, name in _UV_OF_PIP.items():
        words = settings.get(option, "").split()
        if option in _PATHS:
            words = [word if "://" in word else _absolute(word) for word in words]
        elif option.endswith("timeout") and words:
            words = [_whole_seconds(words[0])]
        if words:
            made[name] = ("," if option == "find-links" else " ").join(words)
    if any(shell.get(name) for name in _INDEX):
        made.pop("UV_DEFAULT_INDEX", None)
    if "UV_INDEX" in made:  # pip uses the best version of all indexes, uv the first index that has the name
        made["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    proxy = settings.get("proxy")
    if proxy and not any(shell.get(name) for name in ("ALL_PROXY", "all_proxy")):
        made["ALL_PROXY"] = proxy
        made["HTTPS_PROXY"] = made["HTTP_PROXY"] = proxy  # pip's own option takes precedence over these, as here
    bundle = settings.get("cert") or shell.get("REQUESTS_CA_BUNDLE") or shell.get("CURL_CA_BUNDLE")
    if bundle and not shell.get("SSL_CERT_FILE"):
        bundle = _absolute(bundle)
        if not Path(bundle).exists():
            raise Failure(
                f"the CA bundle {bundle}, which is set for pip, does not exist; correct PIP_CERT or pip's cert"
            )
        made["SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE"] = bundle
    return {name: value for name, value in made.items() if not shell.get(name) or name.endswith("_PROXY")}


def _whole_seconds(timeout: str) -> str:
    try:
        return str(math.ceil(float(timeout)))  # uv accepts only integers
    except (ValueError, OverflowError):
        raise Failure(f"pip's time-out {timeout!r} is not a number of seconds; correct its timeout") from None


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - no link is followed


def for_uv(pip_python: Path) -> tuple[dict[str, str], list[str]]:
    """Return the variables and options to run uv with: the shell's, and pip's settings in uv's terms.

    Settings that would change the versions required by our constraints are omitted.
    """
    listed = subprocess.run(
        [pip_python, "-m", "pip", "config", "list"],
        env={**os.environ, "PIP_QUIET": "0", "PIP_VERBOSE": "0"},  # a quiet pip prints nothing
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if listed.returncode:
        reason = masked((listed.stderr.strip().splitlines() or ["no reason given"])[-1])
        raise Failure(f"pip's configuration cannot be read ({reason}); correct it, or name another in PIP_CONFIG_FILE")
    settings = pip_settings(listed.stdout)
    variables = {name: value for name, value in os.environ.items() if name not in _OTHER_VERSIONS}
    no_index = settings.get("no-index", "").lower() in {"1", "true", "yes", "on"}
    return {**variables, **uv_variables(variables, settings)}, ["--no-index"] if no_index else []
