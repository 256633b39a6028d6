# SPDX-License-Identifier: Apache-2.0
"""Plan what becomes of each connection and variable, then write them one by one and read each back.

A migration that was interrupted continues when it is run again: secrets that already have the same value are "same". No
value is in a log, an error or a result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.secrets_manager import (
    MAX_DESCRIPTION_CHARS,
    Secret,
    SecretsManager,
    SecretState,
    problem_of_name,
    problem_of_value,
)
from airflow_mwaa_provider.client.in_parallel import AT_ONCE, call_all
from airflow_mwaa_provider.client.models import Connection
from airflow_mwaa_provider.client.secrets_migration.items import (
    Found,
    Kind,
    Patterns,
    connection_found,
    variable_found,
)
from airflow_mwaa_provider.client.secrets_migration.secret_texts import (
    SecretForm,
    connection_of_secret,
    secret_of_connection,
)
from airflow_mwaa_provider.client.stored.connection_uris import differing_fields
from airflow_mwaa_provider.exceptions import MigrationRefused, MwaaInputError, SecretsError
from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    from airflow_mwaa_provider.client.secrets_migration.options import MigrationOptions, Names
    from airflow_mwaa_provider.client.secrets_migration.source import Source

    ReadBack = Callable[[Kind, str], Connection | str | None]

__all__ = ["Outcome", "Step", "importable", "migrate", "plan", "secrets_of"]

log = logging.getLogger(__name__)

_SHOWN = 10
_READ_BACK_S = 20.0


class Step(StrEnum):
    """What becomes of a connection or variable; in a plan, what would become of it."""

    CREATED = "created"
    OVERWRITTEN = "overwritten"
    RESTORED = "restored"
    SAME = "same"
    SKIPPED = "skipped"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass
class _Planned:
    found: Found
    name: str
    step: Step
    reason: str = ""
    text: str = field(default="", repr=False)


@dataclass
class Outcome:
    """What became of each; only names."""

    steps: dict[Kind, dict[str, Step]]
    reasons: dict[tuple[Kind, str], str]
    deleted: dict[Kind, list[str]]
    is_dry_run: bool

    def keys(self, kind: Kind, step: Step) -> list[str]:
        """Return the keys with this outcome."""
        return [key for key, became in self.steps.get(kind, {}).items() if became is step]

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON types."""
        made: dict[str, Any] = {"dry_run": self.is_dry_run}
        for kind in Kind:
            refused = self.keys(kind, Step.REFUSED)
            made[kind.nouns] = {
                **{step.value: self.keys(kind, step) for step in Step if step is not Step.REFUSED},
                "refused": {key: self.reasons[kind, key] for key in refused},
                "deleted": self.deleted.get(kind, []),
            }
        return made

    def counts(self) -> str:
        """Return in a few words how many there are of each outcome."""
        counted = {step: sum(len(self.keys(kind, step)) for kind in Kind) for step in Step}
        return ", ".join(f"{count} {step}" for step, count in counted.items() if count) or "nothing found"


def migrate(
    source: Source,
    wanted: Sequence[Patterns],
    secrets: SecretsManager,
    names: Names,
    read_back: ReadBack,
    options: MigrationOptions,
    *,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Move connections and variables to Secrets Manager.

    :param read_back: reads a connection or variable as a task would.
    :param stop: when it is set, the migration stops before the next secret.
    :param progress: called with the number of secrets that are done, and of all.
    :raises MigrationRefused: something cannot be moved, or already exists and differs; nothing was written.
    :raises SecretsError: the migration was interrupted; run it again to continue.
    """
    if options.delete_source and not source.can_delete:
        raise MwaaInputError(
            f"{source.label}: nothing can be deleted from it.", advice="Leave out {}.", parameter="delete_source"
        )
    planned = plan(source, wanted, secrets, names, options)
    if not dry_run:
        _check(planned, options)
    outcome = _outcome(planned, is_dry_run=dry_run)
    if dry_run:
        return outcome
    left = [item for item in planned if item.step in (Step.CREATED, Step.OVERWRITTEN, Step.RESTORED)]
    if options.delete_source:
        left = [item for item in planned if item.step not in (Step.SKIPPED, Step.REFUSED)]

    def move(item: _Planned) -> None:
        _write(item, secrets)
        _check_read_back(item, secrets, read_back)
        if options.delete_source:
            source.delete(item.found)

    for start in range(0, len(left), AT_ONCE):
        if stop is not None and stop.is_set():
            raise SecretsError(
                f"The migration was stopped after {start} of {len(left)} secrets. Run it again to continue."
            )
        some = left[start : start + AT_ONCE]
        call_all(move, some)
        for item in some:
            outcome.steps[item.found.kind][item.found.key] = item.step
            if options.delete_source:
                outcome.deleted[item.found.kind].append(item.found.key)
        if progress is not None:
            progress(min(start + AT_ONCE, len(left)), len(left))
    return outcome


def plan(
    source: Source, wanted: Sequence[Patterns], secrets: SecretsManager, names: Names, options: MigrationOptions
) -> list[_Planned]:
    """Read the source and Secrets Manager, and return what is to become of each; write nothing."""
    found: list[Found] = []
    for patterns in wanted:
        if patterns.patterns:
            of_kind = source.read(patterns)
            patterns.check_found(of_kind)
            found += of_kind
    planned = [_planned(item, names, SecretForm(options.form)) for item in found]
    there = secrets.read([item.name for item in planned if not item.reason])
    for item in planned:
        if not item.reason:
            item.step, item.reason = _step(item, there[item.name], options)
    return planned


def secrets_of(kind: Kind, patterns: Patterns, secrets: SecretsManager, names: Names) -> list[Found]:
    """Read secrets in order to restore them."""
    prefix = names.prefix(kind)
    listed = {name: text for name, text in secrets.list(prefix).items() if patterns.mean(name.removeprefix(prefix))}
    found = []
    for name, secret in secrets.read(listed).items():
        key, description = name.removeprefix(prefix), listed[name] or None
        if secret.state is not SecretState.TEXT:
            found.append(Found(kind, key, problem=f"its secret is or has: {secret.state}"))
        elif kind is Kind.VARIABLE:
            found.append(variable_found(key, {"value": secret.text, "description": description}))
        else:
            found.append(_connection_of(key, secret.text or "", description))
    return found


def _connection_of(key: str, text: str, description: str | None) -> Found:
    try:
        read = connection_of_secret(key, text)
    except ValueError as error:
        return Found(Kind.CONNECTION, key, problem=f"its secret: {error}")
    fields = {
        name: getattr(read, name) for name in ("conn_type", "host", "login", "password", "schema", "port", "extra")
    }
    return connection_found(key, {**fields, "description": read.description or description})


def _planned(found: Found, names: Names, form: SecretForm) -> _Planned:
    item = _Planned(found, names.of(found.kind, found.key), Step.REFUSED, found.problem)
    item.reason = item.reason or problem_of_name(item.name)
    if item.reason:
        return item
    try:
        item.text = (
            secret_of_connection(found.value, form) if isinstance(found.value, Connection) else found.value or ""
        )
    except ValueError as error:
        item.reason = f"{error}; keep it as JSON" if form is SecretForm.URI else str(error)
    else:
        item.reason = problem_of_value(item.text)
    return item


def _step(item: _Planned, there: Secret, options: MigrationOptions) -> tuple[Step, str]:
    if there.state is SecretState.ABSENT:
        return Step.CREATED, ""
    if there.state is SecretState.TO_BE_DELETED:
        if options.restore_deleted:
            return Step.RESTORED, ""
        return Step.REFUSED, (
            f"secret {item.name!r} is scheduled for deletion; wait until it is deleted, or set restore_deleted"
        )
    if there.text is not None and _is_same(item.found, there.text):
        return Step.SAME, ""
    steps = {"fail": Step.CONFLICT, "skip": Step.SKIPPED, "overwrite": Step.OVERWRITTEN}
    return steps[options.on_conflict], ""


def _is_same(found: Found, text: str) -> bool:
    if not isinstance(found.value, Connection):
        return found.value == text
    try:
        return not differing_fields(found.value, connection_of_secret(found.key, text))
    except ValueError:
        return False


def _check(planned: Iterable[_Planned], options: MigrationOptions) -> None:
    items = list(planned)
    refused = [item for item in items if item.step is Step.REFUSED]
    if refused and not options.leave_out_refused:
        raise MigrationRefused(
            f"{len(refused)} cannot be moved, so nothing was written: "
            f"{_listed(f'{_label(item)}: {item.reason}' for item in refused)}.",
            advice="Correct that, or leave them out with {}.",
            parameter="leave_out_refused",
            keys=tuple(item.found.key for item in refused),
        )
    conflicts = [item for item in items if item.step is Step.CONFLICT]
    if conflicts:
        raise MigrationRefused(
            f"{len(conflicts)} already in Secrets Manager with another value, so nothing was written: "
            f"{_listed(map(_label, conflicts))}.",
            advice="Compare them, or set {} to overwrite or skip.",
            parameter="on_conflict",
            keys=tuple(item.found.key for item in conflicts),
        )


def _label(item: _Planned) -> str:
    return f"{item.found.kind} {item.found.key!r}"


def _listed(labels: Iterable[str]) -> str:
    shown = list(labels)
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return "; ".join(shown[:_SHOWN]) + more


def _write(item: _Planned, secrets: SecretsManager) -> None:
    found = item.found
    if item.step is Step.CREATED:
        description = found.value.description if isinstance(found.value, Connection) else found.description
        if len(description or "") > MAX_DESCRIPTION_CHARS:
            log.warning(
                "%s %r: its description is truncated to %d characters", found.kind.capitalize(), found.key,
                MAX_DESCRIPTION_CHARS,
            )  # fmt: skip
        if secrets.create(item.name, item.text, description):
            return
        there = secrets.read([item.name])[item.name]
        if there.text is None or not _is_same(found, there.text):
            raise SecretsError(
                f"Secret {item.name!r}: it was created meanwhile, with another value. Compare them, and run the "
                "migration again.",
                secret=item.name,
            )
    elif item.step is Step.OVERWRITTEN:
        secrets.replace(item.name, item.text)
    elif item.step is Step.RESTORED:
        secrets.restore(item.name)
        there = secrets.read([item.name])[item.name]
        if there.text is None or not _is_same(found, there.text):
            secrets.replace(item.name, item.text)


def _check_read_back(item: _Planned, secrets: SecretsManager, read_back: ReadBack) -> None:
    """Read a secret as a task would. Retry for a while, because a new value may not be visible immediately.

    :raises SecretsError: a task would get something else.
    """

    def attempt() -> None:
        with values_kept_out_of_logs():
            read = read_back(item.found.kind, item.found.key)
        value = item.found.value
        if isinstance(value, Connection) and isinstance(read, Connection):
            different = ", ".join(differing_fields(value, read))
        else:
            different = "" if read == value else "its value" if read is not None else "it cannot be read at all"
        if different:
            raise SecretsError(
                f"Secret {item.name!r}: a task that reads {_label(item)} would get another one ({different}). Compare "
                "the backend's prefixes with those given here. The source was not changed.",
                secret=item.name,
                transient=True,
            )

    secrets.repeated(attempt, deadline_s=_READ_BACK_S)


def _outcome(planned: Iterable[_Planned], *, is_dry_run: bool) -> Outcome:
    outcome = Outcome({kind: {} for kind in Kind}, {}, {kind: [] for kind in Kind}, is_dry_run)
    for item in planned:
        outcome.steps[item.found.kind][item.found.key] = item.step
        if item.reason:
            outcome.reasons[item.found.kind, item.found.key] = item.reason
    return outcome


def importable(found: Sequence[Found], *, leave_out_refused: bool) -> tuple[dict[str, Found], dict[str, str]]:
    """Return what can be restored, by key, and why the rest cannot.

    :raises MigrationRefused: something cannot be restored, and is not to be skipped.
    """
    refused = {item.key: item.problem for item in found if item.problem}
    if refused and not leave_out_refused:
        raise MigrationRefused(
            f"{len(refused)} cannot be restored from Secrets Manager, so nothing was written: "
            f"{_listed(f'{key!r}: {problem}' for key, problem in refused.items())}.",
            advice="Correct that, or leave them out with {}.",
            parameter="leave_out_refused",
            keys=tuple(refused),
        )
    return {item.key: item for item in found if not item.problem}, refused
