# SPDX-License-Identifier: Apache-2.0
"""Apache Hadoop and Hive, from the archives that Apache publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.plugins_zip.archives import read_tar, top_folder
from airflow_mwaa_provider.packaging.plugins_zip.environment import Variable

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mwaa_provider.packaging.plugins_zip.contents import Contents

__all__ = ["add_hadoop", "add_hive"]

_JAVA = Variable("JAVA_HOME", ("/usr/lib/jvm/jre",))
"""The images have Java 17 (Amazon Corretto) there."""


def add_hadoop(contents: Contents, archive: Path) -> tuple[str, list[Variable]]:
    """Add Hadoop, in the folder of its archive, without its documentation.

    :param archive: ``hadoop-….tar.gz``.
    :return: the folder's name, and the environment variables that it needs.
    :raises MwaaInputError: it is another archive, or damaged.
    """
    folder = _add(contents, archive, "hadoop", leave_out="share/doc/")
    return folder, [
        _JAVA,
        Variable("HADOOP_HOME", (folder,)),
        Variable("HADOOP_CONF_DIR", (f"{folder}/etc/hadoop",)),
        Variable("PATH", (f"{folder}/bin",), is_list=True),
    ]


def add_hive(contents: Contents, archive: Path) -> tuple[str, list[Variable]]:
    """Add Hive, in the folder of its archive.

    :param archive: ``apache-hive-…-bin.tar.gz``.
    :return: the folder's name, and the environment variables that it needs.
    :raises MwaaInputError: it is another archive, or damaged.
    """
    folder = _add(contents, archive, "hive")
    return folder, [
        _JAVA,
        Variable("HIVE_HOME", (folder,)),
        Variable("PATH", (f"{folder}/bin",), is_list=True),
        Variable("CLASSPATH", (f"{folder}/lib/*",), is_list=True),
    ]


def _add(contents: Contents, archive: Path, program: str, leave_out: str | None = None) -> str:
    entries = read_tar(archive, contents.opened)
    folder = top_folder(entries, archive, f"an archive of Apache {program.capitalize()}")
    if f"{folder}/bin/{program}" not in {entry.name for entry in entries}:
        raise MwaaInputError(
            f"{archive} does not contain {folder}/bin/{program}. Download the binary release of Apache "
            f"{program.capitalize()}, not its sources."
        )
    for entry in entries:
        if leave_out and entry.name.startswith(f"{folder}/{leave_out}"):
            contents.left_out[f"{folder}/{leave_out}"] += 1
        else:
            contents.add(entry, archive.name)
    contents.ignore([folder])
    return folder
