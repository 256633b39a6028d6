# SPDX-License-Identifier: Apache-2.0
"""The cache's storage: entries, in memory or in encrypted files that all processes of a container share, and counts.

This is one file, because each module that a look-up imports takes a tenth of a millisecond.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import random
import stat
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ABSENT",
    "COUNTED",
    "DENIED",
    "VALUE",
    "CacheKeys",
    "Entry",
    "FileStore",
    "Identity",
    "MemoryStore",
    "Statistics",
    "UnusableFolder",
    "default_parent",
    "environment_keys",
    "is_asking_for_key",
    "now_s",
    "read_statistics",
]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_FORM = 1
VALUE = "value"
ABSENT = "absent"
DENIED = "denied"

Identity = tuple[str, str, str, str]
"""The scope, kind, id and team of a look-up."""

_VARIABLE = "AIRFLOW__CORE__FERNET_KEY"
_CONFIGURATIONS = ("airflow.sdk.configuration", "airflow.configuration")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - only a folder in it, 0700 and checked for its owner
_SUFFIX = ".entry"
_UNFINISHED = ".tmp"
_UNFINISHED_S = 60.0
_LOCKS = 64
_SWEPT = struct.Struct("<dQQ")
_SWEEP_EVERY_S = 10.0
_LONGEST_ENTRY_BYTES = 512 * 1024
"""A secret has up to 64 KiB; each byte may take six bytes in JSON, and encryption adds a third."""
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WAIT_S = (0.002, 0.05)

COUNTED = ("hits", "negative_hits", "misses", "calls", "batch_calls", "stale", "errors", "not_cached")
"""Look-ups answered from the cache with a value, and with the absence of one; other look-ups; requests to AWS; answers
past their time to live; requests that failed; answers that could not be cached."""

_COUNTS = struct.Struct(f"<d{len(COUNTED)}Q")
_COUNT_WAIT_S = 0.1
_DAY_S, _MOST = 86_400.0, 2**62
_METRICS = (
    "airflow.sdk._shared.observability.metrics.stats",
    "airflow._shared.observability.metrics.stats",
    "airflow.stats",
)
"""Modules with Airflow's metrics: in tasks since 3.2, in other processes since 3.2, and before 3.2."""


class Entry:
    """The answer to one look-up, and when it was given.

    Not a ``dataclass`` on purpose: the code that it generates takes longer to compile than a look-up.

    :param outcome: whether there was a value, there was none, or access was denied.
    :param value: the value; ``None`` unless there was one.
    :param names: the names that were requested from Secrets Manager, in order.
    :param problem: what is wrong with the answer, in a sentence without the value; empty if nothing is.
    :param jitter: the share of the time to live after which this entry expires, so that not all expire at once.
    :param read_at_s: when Secrets Manager answered, by :func:`~airflow_mwaa_provider.secrets.store.now_s`.
    :param failed_at_s: when it was last requested again without an answer; 0 if never.
    """

    __slots__ = (
        "boot", "failed_at_s", "identity", "jitter", "names", "outcome", "problem", "read_at_s", "value", "wall_s",
    )  # fmt: skip

    def __init__(
        self,
        identity: Identity,
        outcome: str,
        value: str | None = None,
        *,
        names: tuple[str, ...] = (),
        problem: str = "",
        jitter: float = 1.0,
        read_at_s: float | None = None,
        wall_s: float | None = None,
        boot: str | None = None,
        failed_at_s: float = 0.0,
    ) -> None:
        self.identity = identity
        self.outcome = outcome
        self.value = value
        self.names = names
        self.problem = problem
        self.jitter = jitter
        self.read_at_s = now_s() if read_at_s is None else read_at_s
        self.wall_s = time.time() if wall_s is None else wall_s
        self.boot = boot_id() if boot is None else boot
        self.failed_at_s = failed_at_s

    def __repr__(self) -> str:
        return f"<Entry {self.identity[1]} {self.identity[2]!r}: {self.outcome}>"

    @property
    def has_value(self) -> bool:
        """Whether there was a value."""
        return self.outcome == VALUE

    @property
    def is_denied(self) -> bool:
        """Whether access was denied."""
        return self.outcome == DENIED

    def age_s(self) -> float | None:
        """Return the age of the answer; ``None`` if it is unknown, because the machine was restarted."""
        age = now_s() - self.read_at_s
        if self.boot != boot_id() or age < 0:
            return None
        # Without an id of the machine's start, the two clocks must confirm each other.
        return age if self.boot else max(age, time.time() - self.wall_s)

    def to_bytes(self) -> bytes:
        """Return the form that is encrypted."""
        fields = {
            "form": _FORM,
            "identity": self.identity,
            "outcome": self.outcome,
            "value": self.value,
            "names": self.names,
            "problem": self.problem,
            "jitter": self.jitter,
            "read_at_s": self.read_at_s,
            "wall_s": self.wall_s,
            "boot": self.boot,
            "failed_at_s": self.failed_at_s,
        }
        return json.dumps(fields).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry | None:
        """Return the entry; ``None`` if another version of this package wrote it."""
        fields: dict[str, Any] = json.loads(data)
        if fields.pop("form", None) != _FORM:
            return None
        scope, kind, secret_id, team = fields.pop("identity")
        names = tuple(fields.pop("names"))
        return cls((scope, kind, secret_id, team), fields.pop("outcome"), fields.pop("value"), names=names, **fields)


def now_s() -> float:
    """Return the seconds since the machine started: a clock that its processes share, and that cannot be set."""
    return time.clock_gettime(_CLOCK)


def boot_id() -> str:
    """Return an id of this start of the machine; empty if the system has none."""
    global _boot_id
    if _boot_id is None:
        try:
            file = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _boot_id = os.read(file, 100).decode().strip()
            finally:
                os.close(file)
        except OSError:
            _boot_id = ""
    return _boot_id


class UnusableFolder(OSError):
    """The folder of the cache cannot be used; the message gives the reason. To a writer it is like any other error."""


class CacheKeys:
    """The keys of one environment: for file contents, file names and the name of its folder."""

    __slots__ = ("_fernet_key", "_name_key", "_secret", "folder_name")

    def __init__(self, fernet_key: str) -> None:
        # Airflow encrypts with the first of several.
        self._secret = hashlib.blake2b(fernet_key.partition(",")[0].strip().encode()).digest()
        self._fernet_key: bytes | None = None
        self._name_key = self._derive("file names")
        self.folder_name = self._derive("folder").hex()[:32]

    def __repr__(self) -> str:
        return "<CacheKeys ***>"

    def _derive(self, purpose: str) -> bytes:
        # BLAKE2 is in Python itself: loading OpenSSL takes longer than the rest of a look-up.
        return hashlib.blake2b(f"secrets cache 1: {purpose}".encode(), key=self._secret, digest_size=32).digest()

    def file_name(self, identity: Identity) -> str:
        """Return the name of an entry's file, which reveals nothing about the secret."""
        parts = b"".join(
            len(data).to_bytes(4, "big") + data for data in (part.encode("utf-8", "surrogatepass") for part in identity)
        )
        return hashlib.blake2b(parts, key=self._name_key, digest_size=20).hexdigest()

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt and sign."""
        from cryptography.fernet import Fernet

        return Fernet(self._key()).encrypt(data)

    def decrypt(self, token: bytes) -> bytes | None:
        """Return the decrypted data; ``None`` if it is damaged, or was encrypted with another key."""
        from cryptography.fernet import Fernet, InvalidToken

        try:
            return Fernet(self._key()).decrypt(token)
        except InvalidToken:
            return None

    def _key(self) -> bytes:
        if self._fernet_key is None:
            self._fernet_key = base64.urlsafe_b64encode(self._derive("contents"))
        return self._fernet_key


def environment_keys() -> CacheKeys | None:
    """Return the keys of the environment that this process belongs to; ``None`` if it has no Fernet key."""
    global _known
    text = os.environ.get(_VARIABLE) or _configured_key()
    if not text.strip(" ,"):
        return None
    if _known is None or _known[0] != text:
        _known = (text, CacheKeys(text))
    return _known[1]


def is_asking_for_key() -> bool:
    """Return whether this thread is looking something up in order to find the Fernet key."""
    return bool(getattr(_asking, "is_asking", False))


def _configured_key() -> str:
    """Ask Airflow's configuration. It may ask the secrets backend in turn, which has no key at that time."""
    if is_asking_for_key():
        return ""
    for name in _CONFIGURATIONS:
        configuration = getattr(sys.modules.get(name), "conf", None)
        if configuration is not None:
            _asking.is_asking = True
            try:
                return str(configuration.get("core", "fernet_key", fallback="") or "")
            finally:
                _asking.is_asking = False
    return ""


class MemoryStore:
    """Stores entries in this process, with the interface of :class:`FileStore`; forked processes begin with a copy."""

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: dict[Identity, Entry] = {}
        self._lock = threading.Lock()

    def read(self, identity: Identity) -> Entry | None:
        """Return an entry."""
        return self._entries.get(identity)

    def write(self, entry: Entry) -> None:
        """Store an entry."""
        with self._lock:
            self._entries.pop(entry.identity, None)
            self._entries[entry.identity] = entry
            size = sum(len(kept.value or "") for kept in self._entries.values())
            while len(self._entries) > self._max_entries or size > self._max_bytes:
                size -= len(self._entries.pop(next(iter(self._entries))).value or "")

    def delete(self, identity: Identity) -> bool:
        """Delete an entry."""
        return self._entries.pop(identity, None) is not None

    def entries(self, *, used_since_written: bool = False) -> Iterator[Entry]:
        """Return entries; which of them were read is unknown."""
        yield from () if used_since_written else tuple(self._entries.values())

    @contextlib.contextmanager
    def lock(self, identity: Identity, wait_s: float) -> Iterator[bool]:  # noqa: ARG002 - a store's signature
        """Let every process ask: it would not see another's answer."""
        yield True


class FileStore:
    """Stores each entry in an encrypted file.

    A file is written under another name and then renamed, so readers see the previous entry or the new one, and a
    writer that is killed leaves nothing but a file to be swept. A file that cannot be decrypted, or has the entry of
    another identity, counts as missing.

    :param parent: the folder in which this environment's folder is created.
    :raises UnusableFolder: there is no folder that only this user can read.
    """

    def __init__(self, parent: str, keys: CacheKeys, *, max_entries: int, max_bytes: int, max_age_s: float) -> None:
        self._keys = keys
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self.folder = os.path.join(parent, keys.folder_name)
        self._locks = os.path.join(self.folder, "locks")
        self._swept = os.path.join(self.folder, "swept")
        self._parent = parent
        self._make_folders()

    def _make_folders(self) -> None:
        _make_parent(self._parent)
        for folder in (self.folder, self._locks):
            _make_private(folder)

    def read(self, identity: Identity) -> Entry | None:
        """Return an entry; ``None`` if there is none that can be trusted."""
        path = self._path(identity)
        data = _read_private(path)
        if data is None:
            return None
        entry = self._entry_of(data)
        if entry is None or entry.identity != identity:
            return None
        with contextlib.suppress(OSError):
            # The access time shows that it is still in use; the modification time is kept.
            os.utime(path, ns=(time.time_ns(), os.stat(path).st_mtime_ns))
        return entry

    def _entry_of(self, data: bytes) -> Entry | None:
        plain = self._keys.decrypt(data)
        return None if plain is None else Entry.from_bytes(plain)

    def write(self, entry: Entry) -> None:
        """Store an entry.

        :raises OSError: it could not be written, even after the oldest entries were removed.
        """
        token = self._keys.encrypt(entry.to_bytes())
        if len(token) > min(_LONGEST_ENTRY_BYTES, self._max_bytes):
            return
        path = self._path(entry.identity)
        try:
            self._make_room(len(token))
            self._replace(path, token)
        except OSError as error:
            if error.errno == errno.ENOENT:  # somebody has deleted the folder
                self._make_folders()
            elif error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._sweep(self._max_bytes)  # older answers are worth less than the new one
            else:
                raise
            self._replace(path, token)

    def _replace(self, path: str, token: bytes) -> None:
        unfinished = f"{path}.{os.getpid()}.{random.getrandbits(64):016x}{_UNFINISHED}"
        file = os.open(unfinished, _OPEN | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                view = memoryview(token)
                while view:
                    view = view[os.write(file, view) :]
            finally:
                os.close(file)
            os.replace(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise

    def delete(self, identity: Identity) -> bool:
        """Delete an entry; return whether it existed."""
        try:
            os.unlink(self._path(identity))
        except FileNotFoundError:
            return False
        return True

    def entries(self, *, used_since_written: bool = False) -> Iterator[Entry]:
        """Return entries, oldest first; on request only those that were read since they were written."""
        for path, found in sorted(self._files(), key=lambda each: each[1].st_mtime_ns):
            if path.endswith(_SUFFIX) and (found.st_atime_ns > found.st_mtime_ns or not used_since_written):
                data = _read_private(path)
                entry = self._entry_of(data) if data is not None else None
                if entry is not None and self._path(entry.identity) == path:
                    yield entry

    @contextlib.contextmanager
    def lock(self, identity: Identity, wait_s: float) -> Iterator[bool]:
        """Hold the lock for asking Secrets Manager; the value is whether it was acquired in time.

        The system releases the lock of a process that is killed.
        """
        number = int(self._keys.file_name(identity)[:8], 16) % _LOCKS
        path = os.path.join(self._locks, str(number))
        file = os.open(path, _OPEN | os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _locked(file, wait_s)
        finally:
            # A process that was forked meanwhile also has the file open, and would keep the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def _path(self, identity: Identity) -> str:
        return os.path.join(self.folder, self._keys.file_name(identity) + _SUFFIX)

    def _files(self) -> list[tuple[str, os.stat_result]]:
        found = []
        with os.scandir(self.folder) as listed:
            for item in listed:
                with contextlib.suppress(FileNotFoundError):
                    if item.is_file(follow_symlinks=False):
                        found.append((item.path, item.stat(follow_symlinks=False)))
        return found

    def _make_room(self, needed_bytes: int) -> None:
        """Sweep all files now and then, and every time they may be near the limits; otherwise only count one more."""
        try:
            with open(self._swept, "rb") as file:
                swept_s, count, size = _SWEPT.unpack(file.read())
        except (OSError, struct.error):
            swept_s, count, size = 0.0, 0, 0
        is_half_full = 2 * count >= self._max_entries or 2 * size >= self._max_bytes
        if is_half_full or not 0 <= time.time() - swept_s < _SWEEP_EVERY_S:
            self._sweep(needed_bytes)
        else:
            self._replace(self._swept, _SWEPT.pack(swept_s, count + 1, size + needed_bytes))

    def _sweep(self, needed_bytes: int) -> None:
        """Remove what killed writers have left, entries that have expired, and the oldest ones beyond the limits."""
        from airflow_mwaa_provider.secrets.abandoned import remove_abandoned

        now = time.time()
        remove_abandoned(self._parent, self._keys.folder_name, self._max_age_s)
        entries = []
        for path, found in self._files():
            age = now - found.st_mtime
            if path.endswith(_UNFINISHED):
                if age > _UNFINISHED_S:
                    _remove(path)
            elif path.endswith(_SUFFIX):
                if age > self._max_age_s:
                    _remove(path)
                else:
                    entries.append((found.st_mtime_ns, found.st_size, path))
        entries.sort(reverse=True)
        count, size = 1, needed_bytes
        for _, entry_bytes, path in entries:
            count, size = count + 1, size + entry_bytes
            if count > self._max_entries or size > self._max_bytes:
                _remove(path)
        self._replace(self._swept, _SWEPT.pack(now, min(count, self._max_entries), min(size, self._max_bytes)))


class Statistics:
    """Counts look-ups and requests, in a file that processes share or in memory.

    :param folder: the folder of the file; ``None`` for memory.
    """

    def __init__(self, folder: str | None) -> None:
        self._path = None if folder is None else os.path.join(folder, "statistics")
        self._here: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self._since = time.time()

    def count(self, **more: int) -> None:
        """Add to the numbers. If that fails, nothing is counted: a look-up never fails because of it."""
        for name, number in more.items():
            _tell_airflow(name, number)
        if self._path is None:
            for name, number in more.items():
                self._here[name] += number
            return
        with contextlib.suppress(OSError, struct.error):
            self._add(more)

    def _add(self, more: dict[str, int]) -> None:
        assert self._path is not None
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(self._path, flags, 0o600)
        try:
            if not _locked(file, _COUNT_WAIT_S):
                return
            since, *numbers = _numbers(os.pread(file, _COUNTS.size, 0))
            for name, number in more.items():
                numbers[COUNTED.index(name)] += number
            os.pwrite(file, _COUNTS.pack(since, *numbers), 0)
        finally:
            # A process that was forked meanwhile also has the file open, and would keep the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def read(self) -> dict[str, Any]:
        """Return the numbers, and ``since``, the time since which they are counted."""
        if self._path is None:
            return {"since": self._since, **self._here}
        return read_statistics(self._path)


def read_statistics(path: str) -> dict[str, Any]:
    """Return the counts in a file.

    :raises OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        since, *numbers = _numbers(file.read(_COUNTS.size))
    return {"since": since, **dict(zip(COUNTED, numbers, strict=True))}


def _numbers(data: bytes) -> tuple[Any, ...]:
    if len(data) == _COUNTS.size:
        since, *numbers = _COUNTS.unpack(data)
        if 0 <= since <= time.time() + _DAY_S and max(numbers) < _MOST:
            return (since, *numbers)
    return (time.time(), *(0 for _ in COUNTED))  # a new file, or a damaged one


def _tell_airflow(name: str, number: int) -> None:
    """Also count in Airflow's own metrics, in processes that have them."""
    metrics = _metrics()
    if metrics is not None:
        metrics.incr(f"mwaa_secrets.{name}", number)


def _metrics() -> Any:
    """Return the object that takes the metrics of this process; ``None`` if there is none.

    Since 3.2 Airflow has two copies of it. A process may have loaded both, and has configured one of them.
    """
    for name in _METRICS:
        module = sys.modules.get(name)
        found = module if hasattr(module, "_factory") else getattr(module, "Stats", None)
        if getattr(found, "_factory" if found is module else "factory", None) is not None:
            return found
    return None


def default_parent() -> str:
    """Return the folder for this user's caches: in shared memory if the system has any, otherwise a temporary one."""
    name = f"airflow-mwaa-secrets-{os.geteuid()}"
    if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        return os.path.join(_SHARED_MEMORY, name)
    import tempfile

    return os.path.join(tempfile.gettempdir(), name)


def _make_parent(folder: str) -> None:
    """Create the parent folder, or check that no other user can replace folders in it."""
    found = _made(folder)
    if found.st_uid not in (os.geteuid(), 0):
        raise UnusableFolder(f"{folder}: it belongs to another user")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise UnusableFolder(f"{folder}: other users may write to it (mode {stat.S_IMODE(found.st_mode):o})")


def _made(folder: str) -> os.stat_result:
    """Create a folder unless it exists; return its status."""
    try:
        os.mkdir(folder, 0o700)
        os.chmod(folder, 0o700)  # whatever the umask
    except FileExistsError:
        pass
    except OSError as error:
        raise UnusableFolder(f"{folder}: it cannot be created ({error.strerror})") from None
    try:
        found = os.lstat(folder)
    except OSError as error:
        raise UnusableFolder(f"{folder}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UnusableFolder(f"{folder}: it is a link or a file, not a folder")
    return found


def _make_private(folder: str) -> None:
    """Create a folder that only this user can read, or check that it is one."""
    found = _made(folder)
    if found.st_uid != os.geteuid():
        raise UnusableFolder(f"{folder}: it belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnusableFolder(f"{folder}: other users may enter it (mode {stat.S_IMODE(found.st_mode):o}, not 700)")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise UnusableFolder(f"{folder}: it cannot be written to")


def _read_private(path: str) -> bytes | None:
    """Return the contents of a file; ``None`` unless it is a regular file that only this user can access."""
    try:
        # The access time shows which entries are in use; reading one here must not change it.
        file = os.open(path, _OPEN | os.O_RDONLY | getattr(os, "O_NOATIME", 0))
    except OSError:
        return None
    try:
        found = os.fstat(file)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if not is_ours or found.st_size > _LONGEST_ENTRY_BYTES:
            return None
        parts = []
        while part := os.read(file, _LONGEST_ENTRY_BYTES):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(file)


def _locked(file: int, wait_s: float) -> bool:
    """Wait for a lock; return whether it was acquired in time."""
    pause, longest = _WAIT_S
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, longest)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


_known: tuple[str, CacheKeys] | None = None
_asking = threading.local()
_boot_id: str | None = None
