# SPDX-License-Identifier: Apache-2.0
"""Sources of a plugins.zip: folders of plugins, single files, wheels and other plugins.zip files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.plugins_zip.archives import read_zip
from airflow_mwaa_provider.packaging.plugins_zip.inspection import inspect_file
from airflow_mwaa_provider.packaging.plugins_zip.links import LEADS_OUT, target_of
from airflow_mwaa_provider.packaging.plugins_zip.names import is_junk
from airflow_mwaa_provider.packaging.problems import Severity
from airflow_mwaa_provider.packaging.zip_writing import ZipEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_mwaa_provider.packaging.plugins_zip.contents import Contents

__all__ = ["add_source"]

_BINARIES = (
    (
        ".tar.gz",
        "Give Hadoop or Hive as --hadoop or --hive; build a wheel of a source distribution: pip wheel {name}.",
    ),
    (".tgz", "Give Hadoop or Hive as --hadoop or --hive, or give its content."),
    (".rpm", "Give libaio as --libaio, or give its content."),
    (".deb", "Give libaio as --libaio, or give its content."),
)


def add_source(contents: Contents, path: Path, *, written: Iterable[Path], airflow_version: str | None = None) -> None:
    """Add a source: the content of a folder, or of a plugins.zip, or a file.

    :param written: the output files. They are skipped if they are in a folder that goes into the zip.
    :raises MwaaInputError: it does not exist, is broken, or contradicts another source.
    """
    if path.is_dir():
        for entry in _folder(path, contents, {os.path.realpath(file) for file in written}):
            contents.add(entry, str(path))
    elif not path.is_file():
        raise MwaaInputError(f"{path} does not exist. Give a folder of plugins, a .py file, a wheel or a plugins.zip.")
    elif path.suffix.lower() == ".zip":
        for entry in _zip(path, contents, airflow_version):
            contents.add(entry, str(path))
    else:
        for ending, way_out in _BINARIES:
            if path.name.endswith(ending):
                raise MwaaInputError(
                    f"{path} is an archive, which MWAA does not unpack. {way_out.format(name=path.name)}"
                )
        contents.add(ZipEntry.of_file(path.name, path.resolve()), str(path))


def _folder(folder: Path, contents: Contents, written: set[str]) -> Iterator[ZipEntry]:
    def failed(error: OSError) -> None:
        raise MwaaInputError(f"{error.filename} cannot be read: {error.strerror}.") from error

    for above, folders, files in os.walk(folder, onerror=failed):
        links = [name for name in folders if (Path(above) / name).is_symlink()]
        kept = [name for name in folders if not is_junk(f"{name}/.") and name not in links]
        contents.left_out["files of tools"] += len(folders) - len(kept) - len(links)
        folders[:] = kept
        for name in [*files, *links]:
            path = Path(above) / name
            if os.path.realpath(path) in written:  # also handles a loop of links
                continue
            within = path.relative_to(folder).as_posix()
            if is_junk(within):
                contents.left_out["files of tools"] += 1
                continue
            entry = ZipEntry.of_file(within, path) if path.is_symlink() or path.is_file() else None
            if entry is None:
                raise MwaaInputError(f"{path} is neither a file nor a folder. Remove it.")
            if entry.is_link and target_of(within, os.fsdecode(bytes(_target(entry)))) is LEADS_OUT:
                raise MwaaInputError(
                    f"{path} is a symbolic link that leads out of {folder}. Put its target into the folder."
                )
            yield entry


def _target(entry: ZipEntry) -> bytes:
    with entry.open() as file:
        return file.read()


def _zip(path: Path, contents: Contents, airflow_version: str | None) -> Iterator[ZipEntry]:
    errors = [
        problem for problem in inspect_file(path, airflow_version=airflow_version) if problem.severity is Severity.ERROR
    ]
    if errors:
        more = f" Errors in all: {len(errors)}; --check {path} lists them." if len(errors) > 1 else ""
        raise MwaaInputError(f"{errors[0]}{more}")
    for entry in read_zip(path, contents.opened):
        if is_junk(entry.name):
            contents.left_out["files of tools"] += 1
        else:
            yield entry
