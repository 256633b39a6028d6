# SPDX-License-Identifier: Apache-2.0
"""Replace this process with a command that, like all its descendants, sees a folder at MWAA's AIRFLOW_HOME.

Run by its path, with the standard library only::

    python -IS mwaa_home_program.py FOLDER COMMAND [ARGUMENT]...

The command has this process's id, output and environment, and its own mount namespace. Nobody else sees what is mounted
there, and it disappears with the last process in it: nothing is created on this machine's disk. Without root, a user
namespace gives the right to mount; in it, user ids are the same as outside, but no other users exist.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

MWAA_HOME = "/usr/local/airflow"
_REMEDY = f"{MWAA_HOME} cannot be mounted. Start the local MWAA with --no-mwaa-paths."
CANNOT_RUN = 126
"""Exit status when the command was not started, as in shells; the first line of stderr is the reason."""
_ABOVE = str(Path(MWAA_HOME).parent)
# Of <sched.h> and <sys/mount.h>; os.unshare() is Python 3.12's, and os has no mount().
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _SLAVE = 1, 2, 4, 32, 4096, 16384, 1 << 19
_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _mount(source: str, target: str, flags: int, kind: str = "", options: str = "") -> None:
    arguments = [os.fsencode(text) or None for text in (source, target, kind)]
    status = _libc.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(options) or None)
    _call(f"mount {target}", status)


def _leave_the_others_namespace() -> None:
    """Enter a new mount namespace with the right to change mounts."""
    user, group = os.geteuid(), os.getegid()
    is_root = user == 0
    _call("unshare", _libc.unshare(_NEW_MOUNTS if is_root else _NEW_MOUNTS | _NEW_USERS))
    if not is_root:
        # The same ids on both sides: files have the same owners as outside.
        Path("/proc/self/setgroups").write_text("deny", encoding="utf-8")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="utf-8")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="utf-8")
    # The machine's mounts are still visible here, but not the other way round.
    _mount("", "/", _SLAVE | _RECURSIVE)


def _make_mount_point() -> None:
    """Create MWAA's path in a folder in memory that has the entries of the original one."""
    entries = list(os.scandir(_ABOVE))
    below = os.open(_ABOVE, os.O_PATH | os.O_DIRECTORY)  # for what has another folder's path from now on
    _mount("tmpfs", _ABOVE, _NO_SUID | _NO_DEVICES, "tmpfs", "mode=0755")
    for entry in entries:
        path = Path(entry.path)
        if entry.path == MWAA_HOME:
            continue
        if entry.is_symlink():
            path.symlink_to(os.readlink(entry.name, dir_fd=below))
            continue
        if stat.S_ISDIR(os.stat(entry.name, dir_fd=below).st_mode):
            path.mkdir()
        else:
            path.touch()
        _mount(f"/proc/self/fd/{below}/{entry.name}", entry.path, _BIND | _RECURSIVE)
    Path(MWAA_HOME).mkdir()
    # Files written there would be visible to this process only, and lost.
    _mount("", _ABOVE, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    os.close(below)


def enter(folder: str) -> None:
    """Mount the folder at MWAA's path.

    :raises OSError: the system does not permit it.
    """
    _leave_the_others_namespace()
    home = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    if Path(MWAA_HOME).is_symlink() or not Path(MWAA_HOME).is_dir():
        _make_mount_point()
    _mount(f"/proc/self/fd/{home}", MWAA_HOME, _BIND | _RECURSIVE)
    os.close(home)
    os.chdir(MWAA_HOME)


def main() -> None:
    """Run the command."""
    folder, *command = sys.argv[1:]
    # The original environment, since Python may have added LC_CTYPE to its own.
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    variables = dict(item.split(b"=", 1) for item in given if b"=" in item)
    try:
        enter(folder)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n{_REMEDY}\n")
        sys.exit(CANNOT_RUN)
    try:
        os.execve(command[0], command, variables)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: can't be started: {error.strerror}\n")
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
