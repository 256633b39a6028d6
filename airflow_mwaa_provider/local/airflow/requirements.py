# SPDX-License-Identifier: Apache-2.0
"""Install an environment's requirements.txt in its overlay, as MWAA's containers do.

Source: MWAA's guide, "Installing Python dependencies", and the behaviour of the published images up to 3.3.1.
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow_mwaa_provider.local.airflow import overlay
from airflow_mwaa_provider.local.machine import logged_command
from airflow_mwaa_provider.local.machine.mwaa_home_program import MWAA_HOME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_mwaa_provider.local.machine.logged_command import MaskedLog
    from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome

INSTALL_TIMEOUT_S = 540.0
_CONSTRAINED = re.compile(r"-c |--constraint ")
_HOME_PATH = re.compile(rf"(?<![\w./-]){re.escape(MWAA_HOME)}(?![\w.-])(?P<rest>[^\s\"']*)")
_HOME_URL = re.compile(rf"file://(?:localhost)?{re.escape(MWAA_HOME)}(?![\w.-])")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PROTECTED = frozenset(
    {
        *("apache-airflow", "apache-airflow-core", "apache-airflow-task-sdk"),
        *("flask", "flask-appbuilder", "flask-babel", "flask-bcrypt", "flask-caching", "flask-jwt-extended"),
        *("flask-limiter", "flask-login", "flask-session", "flask-sqlalchemy", "flask-wtf", "gunicorn"),
        *("billiard", "celery", "gevent", "greenlet", "kombu", "vine"),
        *("sqlalchemy", "sqlalchemy-jsonfield", "sqlalchemy-utils", "statsd", "watchtower"),
    }
)
"""Packages that requirements may not change on MWAA, whatever their constraints."""
_UNPINNED = frozenset({"airflow-mwaa-provider", "pip", "setuptools", "uv", "wheel"})
"""Packages without constraints in any image: tools, and this package, whose releases users try here."""
# Settings of pip in a user's shell that say where, what or how much it installs, rather than from which index.
_NOT_FROM_THE_SHELL = frozenset(
    f"PIP_{name}"
    for name in (
        *("CONSTRAINT", "DRY_RUN", "EDITABLE", "FORCE_REINSTALL", "IGNORE_INSTALLED", "LOG", "NO_DEPS", "PREFIX"),
        *("PYTHON", "QUIET", "REPORT", "REQUIREMENT", "REQUIRE_VIRTUALENV", "ROOT", "SRC", "TARGET", "UPGRADE"),
        *("USER", "VERBOSE"),
    )
)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def decode(content: bytes) -> str:
    """Return the text of a requirements file, decoded by its byte order mark, or as UTF-8, or as Latin-1."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def asks_for_something(text: str) -> bool:
    """Return whether any line is more than a comment: on MWAA, an empty file means no requirements."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def brings_constraints(text: str) -> bool:
    """Return whether a line has the option. One in a comment counts, as on MWAA, where users do this to have none."""
    return any(_CONSTRAINED.search(line) for line in text.splitlines())


def map_paths(text: str, home: Path) -> str:
    """Replace MWAA's AIRFLOW_HOME in a requirements file with this environment's."""
    return "\n".join(_map_line(line, str(home)) for line in text.splitlines()) + "\n"


def forced_constraints(packages: Mapping[str, str]) -> list[str]:
    """Return the pins of an interpreter's packages, for requirements without constraints."""
    return [f"{name}=={version}" for name, version in sorted(packages.items()) if name not in _UNPINNED]


def protected_constraints(packages: Mapping[str, str]) -> list[str]:
    """Return the pins of the packages that no requirement may change."""
    return [f"{name}=={version}" for name, version in sorted(packages.items()) if name in PROTECTED]


def pip_variables(component: Mapping[str, str], shell: Mapping[str, str], home: AirflowHome) -> dict[str, str]:
    """Return pip's environment: a component's, with the index settings and authorities of the user's shell.

    :param home: AIRFLOW_HOME, where a startup script's ``pip config`` writes.
    """
    variables = {name: value for name, value in component.items() if name not in (*_CERTIFICATES, *_NOT_FROM_THE_SHELL)}
    variables.update({name: shell[name] for name in _CERTIFICATES if name in shell})
    config = Path(".config", "pip", "pip.conf")
    if (home.folder / config).is_file():
        variables["PIP_CONFIG_FILE"] = str(home.path / config)
    return {**variables, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def secrets_in_index_settings(variables: Mapping[str, str]) -> list[str]:
    """Return the passwords in pip's index addresses."""
    words = [word for name, value in variables.items() if name.startswith("PIP_") for word in value.split()]
    found = []
    for word in words:
        try:
            found.append(urlsplit(word).password)
        except ValueError:
            continue  # no address
    return [password for password in found if password]


async def install(
    text: str,
    base: overlay.Base,
    *,
    folder: Path,
    home: AirflowHome,
    variables: Mapping[str, str],
    log: MaskedLog,
) -> str | None:
    """Install requirements in an overlay; return None, or the reason why they are not installed.

    :param folder: the overlay's folder.
    :param variables: the environment of the component whose startup script came before.
    :raises LocalMwaaError: pip cannot be started.
    :raises OSError: a file cannot be written.
    """
    requirements = Path("requirements", "requirements.txt")
    (home.folder / requirements).parent.mkdir(mode=0o700, exist_ok=True)
    (home.folder / requirements).write_text(map_paths(text, home.path), encoding="utf-8")
    log.begin("pip install")
    constraints = {"protected": protected_constraints(base.packages)}
    if not brings_constraints(text):
        log.write("WARNING: requirements.txt has no --constraint line: the interpreter's own versions are enforced.")
        constraints["installed"] = forced_constraints(base.packages)
    command: list[str | Path] = [overlay.python_of(folder), "-m", "pip", "install"]
    command += ["--requirement", home.path / requirements]
    for name, lines in constraints.items():
        path = folder / f"{name}-constraints.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        command += ["--constraint", path]
    pip = pip_variables(variables, os.environ, home)
    end = await logged_command.run(
        "pip", home.command(command), environment=pip, cwd=home.folder, log=log, timeout_s=INSTALL_TIMEOUT_S
    )
    if end.exit_status == 0:
        return None
    if end.exit_status is None:
        return f"pip did not finish within {INSTALL_TIMEOUT_S / 60:.0f} minutes"
    log.write(
        f"ERROR: pip ended with status {end.exit_status}: Airflow starts without these packages. Those that MWAA "
        "protects, such as Airflow, Celery, Flask and SQLAlchemy, cannot be changed."
    )
    return f"pip ended with status {end.exit_status}"


def _map_line(line: str, home: str) -> str:
    if line.lstrip().startswith("#"):
        return line
    line = _HOME_URL.sub(lambda _: "file://" + quote(home), line)
    is_option = line.lstrip().startswith("-")

    def replaced(match: re.Match[str]) -> str:
        path = home + match["rest"]
        quoted = match.start() > 0 and line[match.start() - 1] in "\"'"
        return shlex.quote(path) if is_option and not quoted else path

    return _HOME_PATH.sub(replaced, line)


def all_secrets(ours: Iterable[str], *variables: Mapping[str, str]) -> set[str]:
    """Return the values that a log of pip or of a startup script must not show."""
    return {*ours, *(secret for some in variables for secret in secrets_in_index_settings(some))}
