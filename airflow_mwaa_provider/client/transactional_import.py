# SPDX-License-Identifier: Apache-2.0
"""Import variables, connections or pools: either all of them, or everything is restored.

Airflow has no transaction over several calls, so this keeps a journal: read what exists, write, read back and compare.
On any failure it restores what the journal names, in reverse order, and checks the result. What could not be restored
is refused before the first write, unless the caller accepts it. What did not exist before the first write is created
and never replaced; it is deleted again only if this import is known to have created it: Airflow confirmed it, or its
answer was lost and everything there is what was sent. If a part of that is hidden (a masked value, a password) and
nothing that is shown differs, its origin cannot be determined: it is not touched, and the error names it.

It does not survive the end of its own process (``kill -9``, a lost machine): what was written by then is kept, and
importing again completes it. Nor does it notice others that write the same keys at the same time.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_mwaa_provider.client.http.retrying import within
from airflow_mwaa_provider.client.in_parallel import AT_ONCE, call_all
from airflow_mwaa_provider.client.stored.kinds import Comparison
from airflow_mwaa_provider.exceptions import (
    ImportFailed,
    MwaaError,
    MwaaInputError,
    RemoteConflict,
    RemoteNotFound,
    UnexpectedAnswer,
    ValueMasked,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from airflow_mwaa_provider.client.stored.kinds import Old, StoredKind

T = TypeVar("T")
log = logging.getLogger(__name__)

__all__ = ["ImportResult", "OnConflict", "check_on_conflict", "export_stored", "import_stored"]

RESTORE_TIMEOUT_S = 300.0
_ROUNDS = 4
_PAUSE_S = 2.0
_NAMED = 10


class OnConflict(StrEnum):
    """What to do with objects that exist and differ."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    FAIL = "fail"


@dataclass(frozen=True)
class ImportResult:
    """Keys by what happened to them, or would happen in a dry run; no values."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON's own types."""
        names = ("created", "changed", "same", "skipped")
        return {**{name: list(getattr(self, name)) for name in names}, "dry_run": self.dry_run}


@dataclass(frozen=True)
class _Change(Generic[T]):
    key: str
    new: T
    seen: T | None
    old: Old[T] | None

    @property
    def is_certain(self) -> bool:
        """Whether it can be undone completely."""
        return self.old is None or not self.old.hidden


class _Stopped(MwaaError):
    pass


def import_stored(
    kind: StoredKind[T],
    wanted: Mapping[str, T],
    *,
    on_conflict: OnConflict | str = OnConflict.OVERWRITE,
    dry_run: bool = False,
    overwrite_hidden: bool = False,
    stop: threading.Event | None = None,
    restore_timeout_s: float = RESTORE_TIMEOUT_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> ImportResult:
    """Import objects, all or nothing.

    :param wanted: the objects by key, checked.
    :param on_conflict: what to do with objects that exist and differ.
    :param dry_run: only report what would happen; nothing is written.
    :param overwrite_hidden: also overwrite what Airflow hides, which cannot be restored.
    :param stop: if it is set, the import ends as if it had failed.
    :param restore_timeout_s: seconds after which restoring ends.
    :raises RemoteConflict: an object exists and differs, and ``on_conflict`` is ``fail``; nothing was written.
    :raises ValueMasked: what exists could not be restored; nothing was written.
    :raises ImportFailed: it failed after its first write; ``.restored`` says whether everything was restored.
    """
    changes, result = _plan(kind, wanted, OnConflict(on_conflict), overwrite_hidden, dry_run)
    if dry_run or not changes:
        return result
    journal: list[_Change[T]] = []
    made: set[str] = set()
    foreign: set[str] = set()

    def write(change: _Change[T]) -> None:
        try:
            kind.write(change.new, change.seen)
        except RemoteConflict as conflict:
            there = _compared(kind, change) if change.seen is None and conflict.ambiguous else _OTHER
            if there.is_same is None:
                raise ValueMasked(
                    f"The answer to creating {kind.noun} {change.key!r} was lost, and one exists that somebody else "
                    f"may have created: {there.hidden}.",
                    env_name=kind.environment.name,
                ) from conflict
            if not there.is_same:
                foreign.add(change.key)
                raise
        made.add(change.key)

    try:
        # What cannot be undone comes last, because most failures come before it.
        certain = [change for change in changes if change.is_certain]
        for batch in (*_batches(certain), *_batches([change for change in changes if not change.is_certain])):
            if stop is not None and stop.is_set():
                raise _Stopped("The import was stopped.")
            # Before the calls: one that fails may have taken effect.
            journal += batch
            call_all(write, batch)
        _check_written(kind, changes)
    except BaseException as error:
        deadline = clock() + restore_timeout_s
        journal = [change for change in journal if change.seen is not None or change.key not in foreign]
        try:
            left = _restore(kind, journal, made, deadline, sleep, clock)
        except BaseException as second:
            raise _failure(kind, changes, error, {change.key: "" for change in journal}) from second
        if left or isinstance(error, MwaaError):
            raise _failure(kind, changes, error, left) from error
        log.info("Environment %r: import interrupted, all %s restored", kind.environment.name, kind.nouns)
        raise
    return result


def export_stored(kind: StoredKind[T], *, leave_out_hidden: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Return all as a document for :func:`import_stored`, and the keys of those that were left out.

    :param leave_out_hidden: leave out what Airflow masks, instead of failing.
    :raises ValueMasked: Airflow masks something.
    """
    items = kind.read()
    hidden = [key for key, item in items.items() if kind.is_hidden(item)]
    if hidden and not leave_out_hidden:
        raise ValueMasked(
            f"Environment {kind.environment.name!r}: Airflow masks {_names(kind, hidden)}, so that the export would "
            "not be complete.",
            advice="Leave them out with {}.",
            parameter="leave_out_hidden",
            env_name=kind.environment.name,
        )
    return kind.document(item for key, item in items.items() if key not in hidden), hidden


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _plan(
    kind: StoredKind[T], wanted: Mapping[str, T], on_conflict: OnConflict, overwrite_hidden: bool, dry_run: bool
) -> tuple[list[_Change[T]], ImportResult]:
    """Compare what is wanted with what exists, and refuse what could not be undone."""
    env_name, there = kind.environment.name, kind.read(wanted.keys()) if wanted else {}
    targets = {key: kind.completed(wanted[key], there.get(key)) for key in sorted(wanted)}
    new = [key for key in targets if key not in there]
    same = [key for key in targets if key in there and kind.is_same(there[key], targets[key])]
    differing = sorted(targets.keys() - set(new) - set(same))
    if differing and on_conflict is OnConflict.FAIL:
        raise RemoteConflict(
            f"Environment {env_name!r}: {_names(kind, differing)} already exist with other content; nothing was "
            "written.",
            advice="Leave them out, or set {} to overwrite or skip.",
            parameter="on_conflict",
            env_name=env_name,
        )
    skipped = differing if on_conflict is OnConflict.SKIP else []
    changed = [] if skipped else differing
    olds = dict(zip(changed, call_all(lambda key: kind.old(there[key], targets[key]), changed), strict=True))
    hidden = [key for key in changed if olds[key].hidden]
    if hidden and not overwrite_hidden:
        raise ValueMasked(
            f"Environment {env_name!r}: if this import failed midway, {_names(kind, hidden)} could not be restored: "
            f"{olds[hidden[0]].hidden}. Nothing was written.",
            advice="Leave them out, or accept that with {}.",
            parameter="overwrite_hidden",
            env_name=env_name,
        )
    changes = [_Change(key, targets[key], there.get(key), olds.get(key)) for key in (*new, *changed)]
    return changes, ImportResult(tuple(new), tuple(changed), tuple(same), tuple(skipped), dry_run)


def _check_written(kind: StoredKind[T], changes: Sequence[_Change[T]]) -> None:
    seen = kind.read({change.key for change in changes})
    other = [
        change.key for change in changes if change.key not in seen or not kind.is_shown_as(seen[change.key], change.new)
    ]
    if other:
        raise UnexpectedAnswer(
            f"{_names(kind, other)} differ from what was written. Check whether somebody else writes them too.",
            env_name=kind.environment.name,
        )


_OTHER = Comparison(is_same=False)


def _compared(kind: StoredKind[T], change: _Change[T]) -> Comparison:
    """Check whether what was to be created exists as it was sent."""
    now = kind.read([change.key]).get(change.key)
    return _OTHER if now is None else kind.compare(now, change.new)


def _restore(
    kind: StoredKind[T],
    journal: Sequence[_Change[T]],
    made: Collection[str],
    deadline: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> dict[str, str]:
    """Restore what was written, in reverse order, until it is seen to be as before.

    :param made: keys that were certainly written; for others to be created, it is first checked whether they exist as
        they were sent.
    :return: the keys that are not as before; for one that somebody else may have created, what hides that.
    """
    seen: dict[str, T] = {}
    hidden: dict[str, str] = {}
    pending = [change for change in reversed(journal) if change.old is None or change.old.is_useful]
    lost = {change.key for change in journal if not change.is_certain}

    def is_ours(change: _Change[T]) -> bool:
        if change.old is not None or change.key in made:
            return True
        if change.key not in seen:
            return False
        with within(max(0.1, deadline - clock())):
            compared = kind.compare(seen[change.key], change.new)
        hidden[change.key] = compared.hidden
        return bool(compared.is_same)

    def put_back(change: _Change[T]) -> None:
        try:
            with within(max(0.1, deadline - clock())):
                if change.old is not None:
                    kind.write(change.old.item, change.new)
                else:
                    kind.delete(change.key)
        except RemoteNotFound:
            log.debug("%s %r does not exist", kind.noun, change.key)
        except MwaaError as error:
            # The check below shows whether that matters.
            log.warning("restoring %s %r: %s", kind.noun, change.key, error)

    for number in range(_ROUNDS):
        for batch in _batches([change for change in pending if is_ours(change)]):
            if clock() < deadline:
                call_all(put_back, batch)
        pending, seen = _not_as_before(kind, pending, max(0.1, deadline - clock()))
        if not pending or clock() >= deadline:
            break
        if number + 1 < _ROUNDS:
            sleep(_PAUSE_S * 2**number)
    return {key: hidden.get(key, "") for key in sorted(lost | {change.key for change in pending})}


def _not_as_before(
    kind: StoredKind[T], pending: list[_Change[T]], seconds: float
) -> tuple[list[_Change[T]], dict[str, T]]:
    """Return what is not as it was, and what was read of it."""
    if not pending:
        return [], {}
    try:
        with within(seconds):
            seen = kind.read({change.key for change in pending})
    except MwaaError as error:
        log.warning("checking whether everything was restored: %s", error)
        return pending, {}

    def is_as_before(change: _Change[T]) -> bool:
        now = seen.get(change.key)
        if change.old is None or now is None:
            return change.old is None and now is None
        return kind.is_shown_as(now, change.old.item)

    return [change for change in pending if not is_as_before(change)], seen


def _failure(
    kind: StoredKind[T], changes: Sequence[_Change[T]], error: BaseException, left: Mapping[str, str]
) -> ImportFailed:
    reason = str(error) if isinstance(error, MwaaError) else f"it was interrupted by {type(error).__name__}."
    what = f"Environment {kind.environment.name!r}: importing {len(changes)} {kind.nouns} failed"
    if left:
        unclear = [key for key, hidden in left.items() if hidden]
        words = (
            f"{what}, and {_names(kind, left)} may not have been restored. Compare them with the import and with what "
            "existed before. "
            + (
                f"Whether this import created {_names(kind, unclear)} is unknown ({left[unclear[0]]}). Check it there, "
                "and delete what the import created. "
                if unclear
                else ""
            )
            + f"Everything else is as before. The cause: {reason}"
        )
    else:
        words = f"{what}; everything is as before. Fix the cause and import again: {reason}"
    return ImportFailed(
        words,
        restored=not left,
        left=tuple(left),
        env_name=kind.environment.name,
        transient=not left and isinstance(error, MwaaError) and error.transient,
        ambiguous=bool(left),
    )


def _names(kind: StoredKind[Any], keys: Iterable[str]) -> str:
    """Name the first few: ``variables 'a', 'b' and 3 more``."""
    keys = list(keys)
    shown = ", ".join(repr(key) for key in keys[:_NAMED])
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{kind.noun if len(keys) == 1 else kind.nouns} {shown}{more}"


def check_on_conflict(value: str) -> None:
    """Check a value of ``on_conflict``."""
    if value not in OnConflict.__members__.values():
        known = ", ".join(repr(way.value) for way in OnConflict)
        raise MwaaInputError(f"on_conflict={value!r} is none of {known}.")
