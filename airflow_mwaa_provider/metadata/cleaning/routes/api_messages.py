# SPDX-License-Identifier: Apache-2.0
"""The messages between route ``api`` of a cleanup and the plugin ``metadata_api``: plain JSON, and no SQL.

A server refuses a request with an option that it does not know: to ignore it could delete rows that the option keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.cleaning.options import CleanupOptions
from airflow_mwaa_provider.metadata.cleaning.outcome import Outcome, Plan, RetainedRows, TableOutcome, TablePlan
from airflow_mwaa_provider.metadata.remote_api.messages import read_object, reading

__all__ = ["PLAN", "STEPS", "UNITS", "Step", "StepRequest", "Units", "read_options", "read_outcome", "read_plan"]

UNITS, PLAN, STEPS = "/cleanup/units", "/cleanup/plan", "/cleanup/steps"
"""The paths of the three requests, after the prefix of the metadata API."""

_OF_ONE_KIND: dict[str, type] = {"keep_last_run": bool, "force": bool, "batch_rows": int, "workers": int, "now": str}
_TIMES = ("retention", "max_age", "max_transaction", "lock_timeout", "max_pause", "max_duration", "statement_timeout")
_NAMES = ("tables", "exclude", "dag_ids", "own_run")


@dataclass(frozen=True)
class Units:
    """The units of a cleanup.

    :param now: the time that ages are counted from.
    :param units: their names, in their order.
    :param refused: those that this caller may not clean, and why.
    """

    now: datetime
    units: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the message in JSON's own types."""
        return {"now": self.now.isoformat(), "units": list(self.units), "refused": self.refused}

    @classmethod
    def from_dict(cls, document: Any) -> Units:
        """Return the checked message.

        :raises MwaaInputError: it is not such a message.
        """
        with reading("the server's answer"):
            refused = dict(document["refused"])
            units = tuple(map(_text, _list(document["units"])))
            return cls(_moment(document["now"]), units, {_text(name): _text(why) for name, why in refused.items()})


@dataclass(frozen=True)
class StepRequest:
    """A request for a step of a cleanup, for as long as a request may take.

    :param after: where the last step stopped.
    """

    options: CleanupOptions
    unit: str
    after: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the message in JSON's own types."""
        after = None if self.after is None else list(self.after)
        return {"options": self.options.document(), "unit": self.unit, "after": after}

    @classmethod
    def from_dict(cls, document: Any) -> StepRequest:
        """Return the checked message.

        :raises MwaaInputError: it is not such a message.
        """
        with reading("the request"):
            options, unit = read_options(document["options"]), _text(document["unit"])
            after = _after(document.get("after"))
        if options.now is None:
            raise MwaaInputError("The options of a step have no now. Pass the one that came with the units.")
        return cls(options, unit, after)


@dataclass(frozen=True)
class Step:
    """The outcome of a step.

    :param after: where to continue, empty for the start; ``None`` if the unit is done.
    """

    outcome: Outcome
    after: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the message in JSON's own types."""
        return {"outcome": self.outcome.document(), "after": None if self.after is None else list(self.after)}

    @classmethod
    def from_dict(cls, document: Any) -> Step:
        """Return the checked message.

        :raises MwaaInputError: it is not such a message.
        """
        with reading("the server's answer"):
            return cls(read_outcome(document["outcome"]), _after(document["after"]))


def read_options(document: Any) -> CleanupOptions:
    """Return the checked options of a :meth:`CleanupOptions.document`.

    :raises MwaaInputError: it is not such a document, or has an option that is unknown to this version.
    """
    if not isinstance(document, dict):
        raise MwaaInputError("The options of a cleanup must be an object.")
    known = {item.name for item in fields(CleanupOptions)}
    if unknown := sorted(map(str, set(document) - known)):
        raise MwaaInputError(
            f"The airflow-mwaa-provider of the web server does not know the cleanup's option {unknown[0]!r}, and would "
            "delete more than you asked for. Install the same version on both sides."
        )
    given = {name: value for name, value in document.items() if value is not None}
    with reading("the options of the cleanup"):
        for name, kind in _OF_ONE_KIND.items():
            if name in given and type(given[name]) is not kind:
                raise TypeError(f"{name} is not of type {kind.__name__}")
        for name in _TIMES:
            _seconds(given.get(name, 0))
        for name in _NAMES:
            for item in _list(given.get(name, [])):
                _text(item)
        for name, seconds in given.get("retention_by_table", {}).items():
            _text(name)
            _seconds(seconds)
    return CleanupOptions.read(given)


def read_plan(document: Any, *, route: str) -> Plan:
    """Return the checked plan of a :meth:`Plan.document`.

    :param route: the route by which it came.
    :raises MwaaInputError: it is not such a document.
    """
    with reading("the server's plan"):
        tables = [
            read_object(TablePlan, {**table, "older_than": _moment(table["older_than"])}, "a table of the plan")
            for table in document["tables"].values()
        ]
        for table in tables:
            _check(table, {"table": str, "root": str, "rows": int, "bytes": int})
        kept = [read_object(RetainedRows, item, "what is kept") for item in _list(document["kept"])]
        for item in kept:
            _check(item, {"table": str, "why": str})
        version = document["airflow_version"]
        return Plan(
            tables=tuple(tables),
            kept=tuple(kept),
            advice=tuple(map(_text, _list(document["advice"]))),
            seconds=_seconds(document["seconds"]),
            now=_moment(document["now"]),
            route=route,
            airflow_version=None if version is None else _text(version),
        )


def read_outcome(document: Any) -> Outcome:
    """Return the checked outcome of an :meth:`Outcome.document`.

    :raises MwaaInputError: it is not such a document.
    """
    with reading("the server's outcome"):
        tables = {
            _text(name): read_object(TableOutcome, table, "a table of the outcome")
            for name, table in document["tables"].items()
        }
        for table in tables.values():
            _check(table, {"matched": int, "deleted": int, "batches": int})
            _seconds(table.seconds)
            _seconds(table.longest_transaction_s)
            if table.failure is not None:
                _text(table.failure)
        return Outcome(
            tables=tables,
            is_complete=bool(document["is_complete"]),
            skipped=[_text(why) for why in _list(document["left"])],
            seconds=_seconds(document["seconds"]),
            paused_s=_seconds(document["paused_s"]),
            paused_why={_text(why): _seconds(seconds) for why, seconds in document.get("paused_why", {}).items()},
            longest_transaction_s=_seconds(document["longest_transaction_s"]),
        )


def _check(found: object, kinds: dict[str, type]) -> None:
    for name, kind in kinds.items():
        if type(getattr(found, name)) is not kind:
            raise TypeError(f"{name} is not of type {kind.__name__}")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a string")
    # PostgreSQL accepts neither in a statement.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("a string that PostgreSQL cannot store")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"{type(value).__name__} instead of seconds")
    return float(value)


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(_text(value))
    if found.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return found


def _after(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(_text, _list(value)))
