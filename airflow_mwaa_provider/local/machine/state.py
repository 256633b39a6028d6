# SPDX-License-Identifier: Apache-2.0
"""The folder that holds all state of a local MWAA.

::

    FOLDER/
      daemon.lock       held by the daemon while it runs
      daemon.log        what the daemon did
      status.json       what runs now, and where
      secrets.json      credentials and the admin token, kept across restarts
      tls/              the certificate authority and the CA bundle
      aws-models/       MWAA's service model for clients with an old botocore
      postgres/         the database server: data, its passwords, its log
      moto/             moto's log
      environments/NAME/
        record.json     keys, passwords and ports of the environment
        components/     one log per Airflow process
        airflow/        AIRFLOW_HOME: dags, plugins, logs
        files/          copies of plugins.zip, requirements.txt and the startup script in use
        overlay/        virtual environment with the installed requirements
        aws-models/     for a botocore that needs them

Files are written atomically, readable by their owner only.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.local.errors import LocalMwaaError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

DEFAULT_FOLDER = Path("~/.airflow-mwaa/local")
_OURS = (
    *("daemon.lock", "daemon.log", "status.json", "secrets.json"),
    *("tls", "aws-models", "postgres", "moto", "environments", "secrets-cache"),
)
# The service model's own pattern for an environment's name.
_ENVIRONMENT_NAME = re.compile(r"^[a-zA-Z][0-9a-zA-Z_-]{0,79}\Z")


def check_environment_name(name: str) -> str:
    """Return the name if MWAA would accept it.

    :raises LocalMwaaError: it would not.
    Source: botocore's service model "mwaa" of 2020-07-01, shape EnvironmentName.
    """
    if not _ENVIRONMENT_NAME.match(name):
        raise LocalMwaaError(
            f"{name!r} is not a valid environment name: use a letter, then up to 79 letters, digits, '_' and '-'",
            misuse=True,
        )
    return name


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, with mode 0600."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, sort_keys=True)
            file.write("\n")
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file does not exist.

    :raises LocalMwaaError: the file contains something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        message = f"{path} is damaged ({error}); delete it, or run `airflow-mwaa local down --purge`"
        raise LocalMwaaError(message) from error
    if not isinstance(content, dict):
        raise LocalMwaaError(f"{path} is damaged (not a JSON object); run `airflow-mwaa local down --purge`")
    return content


@dataclass(frozen=True)
class EnvironmentFolder:
    """Where one environment keeps its files."""

    root: Path

    @property
    def record_path(self) -> Path:
        """Keys, passwords and ports."""
        return self.root / "record.json"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME, laid out like MWAA's."""
        return self.root / "airflow"

    @property
    def dags(self) -> Path:
        """The DAGs folder, a mirror of the bucket."""
        return self.airflow_home / "dags"

    @property
    def plugins(self) -> Path:
        """The contents of plugins.zip."""
        return self.airflow_home / "plugins"

    @property
    def files(self) -> Path:
        """Copies of the environment's files in the bucket."""
        return self.root / "files"

    @property
    def overlay(self) -> Path:
        """The virtual environment over the interpreter; it exists only if the environment needs one."""
        return self.root / "overlay"

    @property
    def components(self) -> Path:
        """Logs of the Airflow processes, one file for each."""
        return self.root / "components"

    @property
    def aws_models(self) -> Path:
        """Service models for an old botocore."""
        return self.root / "aws-models"

    def create(self) -> None:
        """Create missing folders."""
        for folder in (self.root, self.airflow_home, self.components, self.files):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("dags", "plugins", "logs"):
            (self.airflow_home / name).mkdir(mode=0o700, exist_ok=True)


class StateFolder:
    """The folder of one local MWAA."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow links

    def __str__(self) -> str:
        return str(self.path)

    @property
    def lock_path(self) -> Path:
        """The file whose lock the daemon holds."""
        return self.path / "daemon.lock"

    @property
    def daemon_log(self) -> Path:
        """What the daemon did."""
        return self.path / "daemon.log"

    @property
    def status_path(self) -> Path:
        """What is running now."""
        return self.path / "status.json"

    @property
    def secrets_path(self) -> Path:
        """Credentials and the admin token."""
        return self.path / "secrets.json"

    @property
    def tls(self) -> Path:
        """The certificate authority."""
        return self.path / "tls"

    @property
    def ca_bundle(self) -> Path:
        """Public certificate authorities and the local one."""
        return self.tls / "bundle.pem"

    @property
    def aws_models(self) -> Path:
        """Service models for clients with an old botocore."""
        return self.path / "aws-models"

    @property
    def postgres(self) -> Path:
        """The database server's folder."""
        return self.path / "postgres"

    @property
    def moto(self) -> Path:
        """The folder of moto's log."""
        return self.path / "moto"

    @property
    def environments(self) -> Path:
        """The folder of all environments."""
        return self.path / "environments"

    def environment(self, name: str) -> EnvironmentFolder:
        """Return the folder of an environment, which need not exist."""
        return EnvironmentFolder(self.environments / check_environment_name(name))

    def create(self) -> None:
        """Create the folder.

        :raises LocalMwaaError: it cannot be created, is not a folder, has other contents, or is not writable.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_a_stranger()
            # As root, the database runs as another user, which must be able to reach its folder.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for folder in (self.environments, self.tls, self.moto):
                folder.mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise LocalMwaaError(f"can't keep state in {self.path}: {describe_os_error(error)}") from error

    def _refuse_a_stranger(self) -> None:
        # `down --purge` deletes this folder, so it must never be somebody's home or project.
        strangers = [entry.name for entry in self.path.iterdir() if entry.name not in _OURS]
        if strangers and not self.lock_path.exists():
            raise LocalMwaaError(
                f"{self.path} isn't a local MWAA's folder (it contains {sorted(strangers)[0]!r}); "
                "name an empty one with --folder",
                misuse=True,
            )

    def purge(self) -> None:
        """Delete a local MWAA's files from the folder, and the folder if nothing else is in it."""
        for name in _OURS:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def lock(self) -> DaemonLock:
        """Return the lock that shows whether a daemon is running here."""
        return DaemonLock(self.lock_path)


class DaemonLock:
    """An exclusive lock on a folder, which the system releases when its holder dies for any reason."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Acquire the lock; return False if another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Return whether a process has the lock."""
        if not self._path.exists():
            return False
        if not self.acquire():
            return True
        self.release()
        return False

    def __enter__(self) -> DaemonLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL_REMEDY = "free some space, or choose another disk with --folder"


def names_full_disk(error: BaseException | None) -> bool:
    """Return whether an error comes from a full disk, which :func:`describe_os_error` has named in its message."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        error = error.__cause__
    return False


def describe_os_error(error: OSError) -> str:
    """Return a short description of a system error, with a remedy if one is known."""
    reason = error.strerror or str(error)
    where = f": {error.filename}" if error.filename else ""
    if error.errno in _DISK_FULL:
        return f"{reason}{where}; {DISK_FULL_REMEDY}"
    return f"{reason}{where}"


def make_traversable(path: Path) -> list[Path]:
    """Let other users pass through (not list) the folders above a path; return those that were changed.

    This is needed only as root, when the database runs as another user.
    """
    changed = []
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            changed.append(folder)
    return changed
