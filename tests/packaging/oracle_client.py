# SPDX-License-Identifier: Apache-2.0
"""An Instant Client in Oracle's layout, with what python-oracledb needs to load one."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

from tests.packaging.zips import link, zipped

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "instantclient_21_12"
VERSION = "21.12.0.0.0"
CAN_BE_MADE = shutil.which("cc") is not None
"""Return whether the required C compiler is available."""
_AIO = "int io_setup(void) { return 0; }\n"
# The version is only there when this was found, as Oracle's own libraries need one another.
_NNZ = "int io_setup(void);\nint nnz_version(void) { return 21 + io_setup(); }\n"
_CLIENT = """
static char handle[4096];
static void *value;
int nnz_version(void);
int OCIClientVersion(int *a, int *b, int *c, int *d, int *e) { *a = nnz_version(); *b = 12; return *c = *d = *e = 0; }
int OCIThreadProcessInit(void) { return 0; }
int OCIEnvNlsCreate(void **made) { *made = handle; return 0; }
int OCINlsCharSetNameToId(void *env, const char *name) { return 873; }
int OCIHandleAlloc(const void *parent, void **made) { *made = handle; return 0; }
int OCIHandleFree(void *freed, int kind) { return 0; }
int OCIThreadKeyInit(void *env, void *err, void **made) { *made = handle; return 0; }
int OCIThreadKeyGet(void *env, void *err, void *key, void **got) { *got = value; return 0; }
int OCIThreadKeySet(void *env, void *err, void *key, void *given) { value = given; return 0; }
int OCIAttrGet(const void *of, unsigned kind, void *got) { *(int *)got = 873; return 0; }
int OCIAttrSet(void) { return 0; }
"""


def make(folder: Path) -> tuple[Path, Path]:
    """Compile one, and return the archive and libaio, which isn't in it."""
    for name, source, needed in (
        ("libaio.so.1", _AIO, ()),
        ("libnnz21.so", _NNZ, ("libaio.so.1",)),
        ("libclntsh.so.21.1", _CLIENT, ("libnnz21.so",)),
    ):
        subprocess.run(
            ["cc", "-x", "c", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "-", "-x", "none", *needed],
            cwd=folder,
            input=source,
            text=True,
            check=True,
            timeout=60,
        )
    archive = folder / "instantclient-basic-linux.x64-21.12.0.0.0dbru.zip"
    archive.write_bytes(
        zipped(
            ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"),
            (f"{FOLDER}/BASIC_README", b"Basic Package Information\n"),
            (f"{FOLDER}/libclntsh.so.21.1", (folder / "libclntsh.so.21.1").read_bytes()),
            (link(f"{FOLDER}/libclntsh.so"), b"libclntsh.so.21.1"),
            (f"{FOLDER}/libnnz21.so", (folder / "libnnz21.so").read_bytes()),
            compression=zipfile.ZIP_DEFLATED,
        )
    )
    return archive, folder / "libaio.so.1"
