# SPDX-License-Identifier: Apache-2.0
"""Send log files to streams of the local CloudWatch Logs.

The files are the buffer: only how far each was read is kept in memory, and what could not be sent is read again. So
writers of logs never wait for CloudWatch Logs, and no line is lost while moto is not running.

Source: the API reference of PutLogEvents, for its limits.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from airflow_mwaa_provider.local.machine.threads import run_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

LOG_SUFFIX = ".log"
_INTERVAL_S = 1.0
_LAST_INTERVAL_S = 30.0
_PAUSE_PER_WORK = 10
"""The pause is at least this many times as long as the previous round, to use at most a tenth of one core."""
_TIMEOUT_S = 30.0
# One piece is one call: rewritten JSON grows to at most three times its size, and a call accepts 1 MiB.
_PIECE_BYTES = 256 * 1024
_PIECE_LINES = 5_000
_PIECES_PER_ROUND = 4
_MESSAGE_BYTES = 256 * 1024 - 26
_UNFINISHED_S = 5.0
"""An unfinished last line is sent after this time, since its writer must have ended."""
_OLDEST_S, _NEWEST_S = 13 * 86_400, 3_600
"""CloudWatch Logs rejects older or newer events (14 days, 2 hours): they get the time when they were written."""


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    timestamp_ms: int
    message: str


@dataclass(slots=True)
class Position:
    """How far a file was read, and its last line, to which lines without a time or a level belong."""

    inode: int
    offset: int
    level: int = logging.INFO
    timestamp_ms: int = 0
    chosen: bool = True


class LineReader(Protocol):
    """Turns the lines of a log into events."""

    def __call__(self, lines: Sequence[str], position: Position) -> list[Event]:
        """Return the events of the lines that follow the position."""


@dataclass(frozen=True)
class Tail:
    """A log file that grows, and where its lines go."""

    path: str
    status: os.stat_result
    group: str
    stream: str
    read: LineReader | None
    """None to skip its lines."""


class LogSource(Protocol):
    """A source of logs."""

    @property
    def groups(self) -> Iterable[str]:
        """The log groups to create, including empty ones."""

    def tails(self) -> Iterator[Tail]:
        """Return the files that exist now."""


class CloudWatchLogsUnreachable(Exception):
    """CloudWatch Logs does not answer, or gives an unexpected answer."""


class _Refused(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class LogShipping:
    """Sends new lines of log files, as long as it runs."""

    def __init__(self, logs_url: str, region: str) -> None:
        self._client = _CloudWatchLogs(logs_url, region)
        self._positions: dict[tuple[str, str], Position] = {}
        self._begins: dict[str, Position] = {}
        self._groups: set[str] = set()
        self._streams: set[tuple[str, str]] = set()
        self._complaints: set[str] = set()

    def mark(self, folder: Path) -> None:
        """Skip the present contents of the log files below a folder."""
        for path, status in log_files(folder):
            self._begins[path] = Position(status.st_ino, status.st_size)

    async def run(self, sources: Callable[[], Iterable[LogSource]]) -> None:
        """Send forever; failures are logged and retried."""
        pause_s, reached = _INTERVAL_S, True
        while True:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            try:
                await run_whole(self.ship, list(sources()))
            except CloudWatchLogsUnreachable as error:
                if reached:
                    log.warning("CloudWatch Logs can't be reached, so logs wait in their files: %s", error)
                reached = False
                pause_s = min(_LAST_INTERVAL_S, 2 * pause_s)
            except Exception:
                # A failure to send logs must not end what is logged.
                log.exception("logs could not be sent to CloudWatch Logs")
                pause_s = _LAST_INTERVAL_S
            else:
                reached = True
                pause_s = max(_INTERVAL_S, _PAUSE_PER_WORK * (time.monotonic() - began))

    def ship(self, sources: Iterable[LogSource]) -> None:
        """Send new lines, at most a fixed amount per file; the rest is sent in the next round.

        :raises CloudWatchLogsUnreachable: the next round continues where this one stopped.
        """
        found = set()
        try:
            for source in sources:
                for group in source.groups:
                    self._ensure_group(group)
                for tail in source.tails():
                    found.add((tail.path, tail.group))
                    self._ship(tail)
        except CloudWatchLogsUnreachable:
            # The next moto that answers may be a new one without groups.
            self._groups.clear()
            self._streams.clear()
            raise
        for key in self._positions.keys() - found:
            del self._positions[key]
        self._begins = {path: position for path, position in self._begins.items() if os.path.lexists(path)}

    def _ship(self, tail: Tail) -> None:
        position = self._positions.get((tail.path, tail.group))
        if position is None:
            position = Position(tail.status.st_ino, 0)
            begin = self._begins.get(tail.path)
            if begin is not None and begin.inode == position.inode:
                position.offset = begin.offset
            self._positions[(tail.path, tail.group)] = position
        if position.inode != tail.status.st_ino or tail.status.st_size < position.offset:
            position.inode, position.offset = tail.status.st_ino, 0  # another file has replaced it
        if tail.status.st_size == position.offset:
            return
        if tail.read is None:
            position.offset = tail.status.st_size
            return
        try:
            with open(tail.path, "rb") as file:  # noqa: PTH123 - a path object for each of thousands of files
                for _ in range(_PIECES_PER_ROUND):
                    if not self._ship_piece(tail, tail.read, position, file):
                        break
        except OSError as error:
            self._complain(f"{tail.path} can't be read: {error.strerror}")

    def _ship_piece(self, tail: Tail, read: LineReader, position: Position, file: Any) -> bool:
        file.seek(position.offset)
        piece = file.read(_PIECE_BYTES)
        whole = piece.rfind(b"\n") + 1
        if not whole and len(piece) == _PIECE_BYTES:
            whole = _end_of_characters(piece)
        elif not whole and time.time() - tail.status.st_mtime > _UNFINISHED_S:
            whole = len(piece)
        lines = piece[:whole].splitlines(keepends=True)[:_PIECE_LINES]
        if not lines:
            return False
        after = Position(
            position.inode,
            position.offset + sum(map(len, lines)),
            position.level,
            position.timestamp_ms or int(tail.status.st_mtime * 1000),
            position.chosen,
        )
        texts = [line.decode("utf-8", "replace").rstrip() for line in lines]
        events = read([text for text in texts if text], after)
        if events:
            self._put(tail, sorted((_bounded(event, tail) for event in events), key=lambda event: event.timestamp_ms))
        position.offset, position.level = after.offset, after.level
        position.timestamp_ms, position.chosen = after.timestamp_ms, after.chosen
        return True

    def _put(self, tail: Tail, events: Sequence[Event]) -> None:
        body = {
            "logGroupName": tail.group,
            "logStreamName": tail.stream,
            "logEvents": [
                {"timestamp": event.timestamp_ms, "message": message}
                for event in events
                for message in _messages(event.message)
            ],
        }
        for is_last in (False, True):
            self._ensure_stream(tail.group, tail.stream)
            try:
                self._client.call("PutLogEvents", body)
            except _Refused as error:
                if is_last or error.code != "ResourceNotFoundException":
                    raise CloudWatchLogsUnreachable(f"{error.code}: {error}") from error
                # Somebody has deleted it, or moto was restarted.
                self._groups.discard(tail.group)
                self._streams.discard((tail.group, tail.stream))
            else:
                return

    def _ensure_group(self, group: str) -> None:
        if group not in self._groups:
            self._create("CreateLogGroup", {"logGroupName": group})
            self._groups.add(group)

    def _ensure_stream(self, group: str, stream: str) -> None:
        self._ensure_group(group)
        if (group, stream) not in self._streams:
            self._create("CreateLogStream", {"logGroupName": group, "logStreamName": stream})
            self._streams.add((group, stream))

    def _create(self, action: str, body: dict[str, str]) -> None:
        try:
            self._client.call(action, body)
        except _Refused as error:
            if error.code == "ResourceAlreadyExistsException":
                return
            raise CloudWatchLogsUnreachable(f"{error.code}: {error}") from error

    def _complain(self, text: str) -> None:
        if text not in self._complaints:  # once, not in every round
            self._complaints.add(text)
            log.warning("%s", text)


class _CloudWatchLogs:
    """Calls moto's CloudWatch Logs over one connection; botocore would take longer for a batch than moto."""

    def __init__(self, url: str, region: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_TIMEOUT_S)
        # moto reads region and service from the signature, and checks no more of it.
        credential = f"local/20200101/{region}/logs/aws4_request"
        self._headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-amz-json-1.1",
        }

    def call(self, action: str, body: dict[str, Any]) -> None:
        """Call an action.

        :raises _Refused: the API answered with an error.
        :raises CloudWatchLogsUnreachable: the API did not answer.
        """
        headers = {**self._headers, "X-Amz-Target": f"Logs_20140328.{action}"}
        try:
            self._connection.request("POST", "/", json.dumps(body).encode(), headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise CloudWatchLogsUnreachable(str(error) or type(error).__name__) from error
        if answer.status == 200:
            return
        try:
            told = json.loads(content)
            code = str(told["__type"]).rpartition("#")[2]
        except (ValueError, KeyError, TypeError):
            raise CloudWatchLogsUnreachable(f"{action}: status {answer.status}") from None
        raise _Refused(code, str(told.get("message", "")))


def log_files(folder: str | Path) -> Iterator[tuple[str, os.stat_result]]:
    """Return the log files below a folder, which need not exist; links are skipped."""
    folders = [os.fspath(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.name.endswith(LOG_SUFFIX) and entry.is_file(follow_symlinks=False):
                        yield entry.path, entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it was just removed


def _end_of_characters(text: bytes) -> int:
    """Return where UTF-8 can be split: before the last character, if it has several bytes."""
    for back in range(1, 4):
        if text[-back] & 0xC0 != 0x80:
            return len(text) - back if text[-back] >= 0xC0 else len(text)
    return len(text)


def _bounded(event: Event, tail: Tail) -> Event:
    now = time.time()
    if now - _OLDEST_S < event.timestamp_ms / 1000 < now + _NEWEST_S:
        return event
    return Event(int(max(tail.status.st_mtime, now - _OLDEST_S) * 1000), event.message)


def _messages(text: str) -> list[str]:
    """Split a string into messages that CloudWatch Logs accepts."""
    if len(text) <= _MESSAGE_BYTES // 4:
        return [text]
    encoded, messages = text.encode("utf-8", "replace"), []
    while encoded:
        # An incomplete character is left for the next part.
        message = encoded[:_MESSAGE_BYTES].decode("utf-8", "ignore")
        messages.append(message)
        encoded = encoded[len(message.encode()) :]
    return messages
