# SPDX-License-Identifier: Apache-2.0
"""The zip of the Lambda functions: what their handlers import from this package, and ``requests`` on request.

The same sources produce the same bytes on any machine: see :mod:`~airflow_mwaa_provider.packaging.zip_writing`.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.zip_writing import ZipEntry, write_entries, zip_draft

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LambdaZip", "build_zip", "write_zip"]

_PACKAGE = Path(__file__).resolve().parents[1]
_OWN_FILES = (
    *("__init__.py", "py.typed", "exceptions.py", "quiet_logs.py", "s3_uri.py", "aws_lambda*.py", "client/*.py"),
    *(f"client/{room}/*.py" for room in ("aws", "cli", "http", "rest", "stored", "waits")),
)
_COMMENT = b"airflow-mwaa package lambda"
"""Marks a zip as one of these: only such a file is replaced."""
# Lambda's runtime has it, because botocore needs it; another one in the zip would replace it for boto3 as well.
_FROM_THE_RUNTIME = {"urllib3"}
# Compiled code fits one processor and one Python; what is bundled works without it.
_NOT_BUNDLED = (".so", ".pyd", ".pyc")


@dataclass(frozen=True)
class LambdaZip:
    """A zip that is built, but not written.

    :param bundled: what it contains beside this package: versions by name of the distribution.
    """

    content: bytes
    names: tuple[str, ...]
    bundled: dict[str, str]

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.content).hexdigest()


def build_zip(*, with_requests: bool = False) -> LambdaZip:
    """Build the zip in memory; it is below two megabytes.

    :param with_requests: adds ``requests`` and its dependencies from the running interpreter's environment.
    :raises MwaaInputError: ``requests`` is not installed as files in this environment.
    """
    entries = {f"{_PACKAGE.name}/{path.relative_to(_PACKAGE).as_posix()}": path for path in _own_files()}
    bundled: dict[str, str] = {}
    if with_requests:
        for distribution in _with_requirements("requests"):
            bundled[distribution.name] = distribution.version
            entries.update(_files_of(distribution))
    content = io.BytesIO()
    write_entries(content, (ZipEntry(name, path) for name, path in entries.items()), comment=_COMMENT)
    return LambdaZip(content.getvalue(), tuple(sorted(entries)), bundled)


def write_zip(built: LambdaZip, path: Path, *, replace_anything: bool = False) -> bool:
    """Write a zip as a whole or not at all.

    :param replace_anything: also replaces a file that is not such a zip.
    :return: whether the file has changed.
    :raises MwaaInputError: another kind of file exists, or the zip cannot be written.
    """
    with zip_draft(path, comment=_COMMENT, replace_anything=replace_anything) as draft:
        draft.file.write(built.content)
    return draft.changed


def _own_files() -> Iterator[Path]:
    for pattern in _OWN_FILES:
        yield from _PACKAGE.glob(pattern)


def _with_requirements(name: str) -> list[metadata.Distribution]:
    """Return a distribution and its dependencies, except those in Lambda's runtime."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        wanted = _normal(waiting.pop())
        if wanted in found or wanted in _FROM_THE_RUNTIME:
            continue
        try:
            found[wanted] = metadata.distribution(wanted)
        except metadata.PackageNotFoundError:
            raise MwaaInputError(
                f"{wanted} is not installed in this environment, so it cannot be bundled: pip install {name}."
            ) from None
        needed = [text for text in found[wanted].requires or () if "extra" not in text.partition(";")[2]]
        waiting += [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed]
    return [found[key] for key in sorted(found)]


def _files_of(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """Return a distribution's sources, data and licenses with their names in the zip."""
    installed = [
        (file.as_posix(), Path(str(distribution.locate_file(file))))
        for file in distribution.files or ()
        if file.suffix not in _NOT_BUNDLED and not _is_left_behind(PurePosixPath(file))
    ]
    if not any(path.is_file() and name.endswith(".py") for name, path in installed):
        raise MwaaInputError(
            f"{distribution.name} is not installed as files that pip lists, so it cannot be bundled; use a virtual "
            "environment."
        )
    return ((name, path) for name, path in installed if path.is_file())


def _is_left_behind(file: PurePosixPath) -> bool:
    """Return whether pip has put it elsewhere (scripts), or it describes how and where it was installed."""
    if ".." in file.parts or file.is_absolute():
        return True
    return ".dist-info" in file.parts[0] and file.name != "METADATA" and "licen" not in str(file).lower()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
