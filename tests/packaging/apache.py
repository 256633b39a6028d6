# SPDX-License-Identifier: Apache-2.0
"""Hadoop and Hive in Apache's layout, whose programs print their names and arguments."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

from tests.packaging.zips import elf, zipped

if TYPE_CHECKING:
    from pathlib import Path

X86_64 = 62


def tar_gz(path: Path, files: dict[str, bytes | str], *, time: int = 1) -> Path:
    """An archive of text files, executable in ``bin``; a string is a symbolic link."""
    with gzip.GzipFile(path, "wb", mtime=time) as compressed, tarfile.open(fileobj=compressed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mtime = time
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                member.mode = 0o755 if "/bin/" in name else 0o644
                archive.addfile(member, io.BytesIO(content))
    return path


def hadoop_tar(path: Path, **more: int) -> Path:
    files: dict[str, bytes | str] = {
        "hadoop-3.3.6/bin/hadoop": b"#!/usr/bin/env bash\necho hadoop\n",
        "hadoop-3.3.6/etc/hadoop/core-site.xml": b"<configuration/>\n",
        "hadoop-3.3.6/lib/native/libhadoop.so": "libhadoop.so.1.0.0",
        "hadoop-3.3.6/lib/native/libhadoop.so.1.0.0": elf(X86_64),
        "hadoop-3.3.6/share/doc/index.html": b"<html/>",
        "hadoop-3.3.6/share/hadoop/tools/sls/time.py": b"print 'Python 2'\n",
    }
    return tar_gz(path, files, **more)


def hive_tar(path: Path) -> Path:
    files: dict[str, bytes | str] = {
        "apache-hive-3.1.3-bin/bin/hive": b'#!/usr/bin/env bash\necho "hive of ${HIVE_HOME} $*"\n',
        "apache-hive-3.1.3-bin/lib/hive-exec-3.1.3.jar": zipped(("a", b"")),
    }
    return tar_gz(path, files)
