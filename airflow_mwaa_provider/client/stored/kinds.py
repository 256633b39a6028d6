# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools of an environment, alike to what imports and exports them.

What each knows of its own: how it is read and written, what Airflow shows of it and in which words, and what of it
could not be put back once it is overwritten.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_mwaa_provider.client.cli.call import positional
from airflow_mwaa_provider.client.cli.endpoint import command_line
from airflow_mwaa_provider.client.in_parallel import call_all
from airflow_mwaa_provider.client.masks import MASK
from airflow_mwaa_provider.client.models import Connection, Pool, TransportName, Variable
from airflow_mwaa_provider.client.stored import documents as stored_documents
from airflow_mwaa_provider.exceptions import MwaaError, MwaaInputError, RemoteNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from airflow_mwaa_provider.client.environment import MwaaEnvironment

T = TypeVar("T")
log = logging.getLogger(__name__)

__all__ = ["KINDS", "Comparison", "Old", "StoredConnections", "StoredKind", "StoredPools", "StoredVariables"]


@dataclass(frozen=True)
class Old(Generic[T]):
    """What was there before.

    :param hidden: why it cannot all be put back; empty where it can.
    :param is_useful: putting it back is worth while, although not all of it is known.
    """

    item: T
    hidden: str = ""
    is_useful: bool = True


@dataclass(frozen=True)
class Comparison:
    """Whether what is there is what was written.

    :param is_same: ``None`` where it cannot be told.
    :param hidden: why it cannot be told: ``"Airflow masks its value"``.
    """

    is_same: bool | None
    hidden: str = ""


class StoredKind(ABC, Generic[T]):
    """What an environment stores under keys of one kind.

    :param environment: the environment.
    """

    noun: str
    nouns: str

    def __init__(self, environment: MwaaEnvironment) -> None:
        self.environment = environment

    @abstractmethod
    def parse(self, document: Mapping[str, Any]) -> dict[str, T]:
        """Read and check a document of :func:`~.stored_documents.read_document`."""

    @abstractmethod
    def document(self, items: Iterable[T]) -> dict[str, Any]:
        """Write a document."""

    @abstractmethod
    def read(self, keys: Collection[str] | None = None) -> dict[str, T]:
        """Read what is there, as Airflow shows it; ``None`` reads all."""

    @abstractmethod
    def completed(self, wanted: T, seen: T | None) -> T:
        """Fill in what a document doesn't mention with what is there.

        :raises MwaaInputError: the environment cannot store it.
        """

    @abstractmethod
    def is_same(self, seen: T, wanted: T) -> bool:
        """Whether writing would change nothing, as far as Airflow shows."""

    @abstractmethod
    def is_shown_as(self, seen: T, written: T) -> bool:
        """Whether this is how Airflow shows what was written."""

    def compare(self, seen: T, written: T) -> Comparison:
        """Compare what is seen with what was written, and take nothing that is hidden for the same."""
        if not self.is_shown_as(seen, written):
            return Comparison(is_same=False)
        hidden = self._hidden_from_comparison(seen, written)
        return Comparison(is_same=None if hidden else True, hidden=hidden)

    def _hidden_from_comparison(self, seen: T, written: T) -> str:  # noqa: ARG002 - of all kinds
        """Say why two that are shown alike may differ; empty where they cannot."""
        return ""

    @abstractmethod
    def old(self, seen: T, wanted: T) -> Old[T]:
        """Give what must be put back if writing this over it has to be undone."""

    @abstractmethod
    def is_hidden(self, seen: T) -> bool:
        """Whether Airflow masks a part of it."""

    @abstractmethod
    def write(self, item: T, there: T | None) -> None:
        """Replace what is ``there``, or create it where that is ``None``; may be repeated.

        :raises RemoteConflict: it was to be created and is there already; nothing of it was changed.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete it."""


class StoredVariables(StoredKind[Variable]):
    """The variables of an environment."""

    noun, nouns = "variable", "variables"

    def parse(self, document: Mapping[str, Any]) -> dict[str, Variable]:
        """Read and check a document."""
        return stored_documents.variables_of(document)

    def document(self, items: Iterable[Variable]) -> dict[str, Any]:
        """Write a document."""
        return stored_documents.variables_document(items, is_rewritten=self._rewrites)

    def read(self, keys: Collection[str] | None = None) -> dict[str, Variable]:
        """Read what is there; over the CLI with one command for each value."""
        found = {
            variable.key: variable
            for variable in self.environment.variables.list()
            if keys is None or variable.key in keys
        }
        if self._by_cli and found:
            return _read_each(self.environment.variables.get, list(found))
        return found

    def completed(self, wanted: Variable, seen: Variable | None) -> Variable:
        """Keep the description that is there where none is given."""
        if self._by_cli:
            description = [f"--description={wanted.description}"] if wanted.description is not None else []
            command_line(["variables", "set", *description, *positional(wanted.key, wanted.value or "")])
        if wanted.description is None and seen is not None:
            return replace(wanted, description=seen.description)
        return wanted

    def is_same(self, seen: Variable, wanted: Variable) -> bool:
        """Compare; Airflow 3's REST API shows JSON rewritten, so that ``1.10`` may be what it shows as ``1.1``."""
        if self.is_hidden(seen) or (self._by_cli and wanted.description is not None):
            return False
        if not self._is_described_as(seen, wanted):
            return False
        return seen.value == wanted.value or (self._shows(seen, wanted) and not _is_fraction(seen.value))

    def is_shown_as(self, seen: Variable, written: Variable) -> bool:
        """Compare what is seen with what was written; the CLI shows no description."""
        return self._is_described_as(seen, written) and (self.is_hidden(seen) or self._shows(seen, written))

    def compare(self, seen: Variable, written: Variable) -> Comparison:
        """Compare; of a value that is masked, or whose digits Airflow 3 rewrites, the CLI is asked."""
        if not self.is_shown_as(seen, written) or not (self.is_hidden(seen) or self._loses_digits(seen)):
            return super().compare(seen, written)
        try:
            text = self._stored_text(seen.key)
        except MwaaError as error:
            log.debug("variable %r cannot be read by the CLI: %s", seen.key, error)
            text = None
        if text is not None:
            return Comparison(is_same=text == (written.value or ""))
        hides = "masks its value" if self.is_hidden(seen) else "shows 2.10 as 2.1"
        return Comparison(is_same=None, hidden=f"Airflow {hides}, and the CLI, which does not, cannot be asked")

    def _is_described_as(self, seen: Variable, other: Variable) -> bool:
        return self._by_cli or (seen.description or "") == (other.description or "")

    def _shows(self, seen: Variable, other: Variable) -> bool:
        return seen.value == other.value or (self._rewrites and _rewritten(seen.value) == _rewritten(other.value))

    def old(self, seen: Variable, wanted: Variable) -> Old[Variable]:  # noqa: ARG002 - of all kinds
        """Find out what is to be put back."""
        if self._by_cli:
            return Old(seen, "the CLI does not show its description, and setting a variable replaces that too")
        if self.is_hidden(seen):
            return Old(seen, "Airflow masks its value", is_useful=False)
        if self._loses_digits(seen):
            return self.exact(seen)
        return Old(seen)

    def _loses_digits(self, seen: Variable) -> bool:
        return self._rewrites and _is_fraction(seen.value)

    def may_be_rewritten(self, seen: Variable) -> bool:
        """Whether it may be stored in another spelling than it is shown in."""
        return self._rewrites and _has_spellings(seen.value)

    def exact(self, seen: Variable) -> Old[Variable]:
        """Ask the CLI for the stored text: a version 2.10 is 2.1 to Airflow 3's REST API."""
        try:
            text = self._stored_text(seen.key)
        except MwaaError as error:
            return Old(seen, f"Airflow 3 shows 2.10 as 2.1, and the CLI cannot be asked ({type(error).__name__})")
        if text is None or _rewritten(text) != _rewritten(seen.value):
            return Old(seen, "Airflow 3 shows 2.10 as 2.1, and the CLI shows another value")
        return Old(replace(seen, value=text))

    def _stored_text(self, key: str) -> str | None:
        """Ask the CLI, which shows a value as it is stored; ``None`` where it shows none."""
        result = self.environment.run_cli(["variables", "get", *positional(key)], idempotent=True)
        return None if result.exit_status else result.stdout.removesuffix("\n")

    def is_hidden(self, seen: Variable) -> bool:
        """Whether its value is masked, or may be in part: asterisks in it can be its own or a mask's."""
        return seen.value is None or (self._rewrites and MASK in seen.value)

    def write(self, item: Variable, there: Variable | None) -> None:
        """Create or replace it."""
        if there is None:
            self.environment.variables.create(item.key, item.value or "", item.description)
            return
        # Also because Airflow 2 would make an empty description of none.
        keeps = there.description == item.description and not self._by_cli
        self.environment.variables.set(item.key, item.value or "", item.description, keep_description=keeps)

    def delete(self, key: str) -> None:
        """Delete it."""
        self.environment.variables.delete(key)

    @property
    def _by_cli(self) -> bool:
        return self.environment.transport is TransportName.CLI

    @property
    def _rewrites(self) -> bool:
        """Whether values come from Airflow 3's REST API, which masks, and writes JSON anew."""
        return not self._by_cli and not self.environment.airflow_version.startswith("2.")


class StoredConnections(StoredKind[Connection]):
    """The connections of an environment. A password that isn't given stays as it is."""

    noun, nouns = "connection", "connections"

    def parse(self, document: Mapping[str, Any]) -> dict[str, Connection]:
        """Read and check a document."""
        return stored_documents.connections_of(document)

    def document(self, items: Iterable[Connection]) -> dict[str, Any]:
        """Write a document, without passwords."""
        return stored_documents.connections_document(items)

    def read(self, keys: Collection[str] | None = None) -> dict[str, Connection]:
        """Read what is there; on Airflow 2 one by one, because its list leaves ``extra`` out."""
        found = {
            connection.conn_id: connection
            for connection in self.environment.connections.list()
            if keys is None or connection.conn_id in keys
        }
        if found and self.environment.airflow_version.startswith("2."):
            return _read_each(self.environment.connections.get, list(found))
        return found

    def completed(self, wanted: Connection, seen: Connection | None) -> Connection:  # noqa: ARG002 - of all kinds
        """Give it as it is: but for the password, a connection is replaced as a whole."""
        return wanted

    def is_same(self, seen: Connection, wanted: Connection) -> bool:
        """Compare; a password, which Airflow doesn't show, is taken for another one."""
        return wanted.password is None and not self.is_hidden(seen) and self.is_shown_as(seen, wanted)

    def is_shown_as(self, seen: Connection, written: Connection) -> bool:
        """Compare all but the password, and what is masked in ``extra``."""
        return _without_secrets(seen) == _without_secrets(written) and _is_masked_form(
            _json(seen.extra), _json(written.extra)
        )

    def compare(self, seen: Connection, written: Connection) -> Comparison:
        """Compare with one that was created; Airflow 3 shows whether there is a password."""
        if seen.has_password is not None and seen.has_password != bool(written.password):
            return Comparison(is_same=False)
        return super().compare(seen, written)

    def _hidden_from_comparison(self, seen: Connection, written: Connection) -> str:
        if written.password or seen.has_password is None:
            return "Airflow does not show its password"
        return "Airflow masks a part of its extra" if self.is_hidden(seen) else ""

    def old(self, seen: Connection, wanted: Connection) -> Old[Connection]:
        """Find out what is to be put back."""
        if wanted.password is not None:
            return Old(seen, "Airflow does not show the password that it has", is_useful=False)
        if self.is_hidden(seen):
            return Old(seen, "Airflow masks a part of its extra", is_useful=False)
        return Old(seen)

    def is_hidden(self, seen: Connection) -> bool:
        """Whether ``extra`` is masked, or may be in part."""
        return MASK in (seen.extra or "")

    def write(self, item: Connection, there: Connection | None) -> None:
        """Create or replace it."""
        if there is None:
            self.environment.connections.create(item)
        else:
            self.environment.connections.set(item, keep_password=item.password is None)

    def delete(self, key: str) -> None:
        """Delete it."""
        self.environment.connections.delete(key)


class StoredPools(StoredKind[Pool]):
    """The pools of an environment."""

    noun, nouns = "pool", "pools"

    def parse(self, document: Mapping[str, Any]) -> dict[str, Pool]:
        """Read and check a document."""
        return stored_documents.pools_of(document)

    def document(self, items: Iterable[Pool]) -> dict[str, Any]:
        """Write a document."""
        return stored_documents.pools_document(items)

    def read(self, keys: Collection[str] | None = None) -> dict[str, Pool]:
        """Read what is there."""
        return {pool.name: pool for pool in self.environment.pools.list() if keys is None or pool.name in keys}

    def completed(self, wanted: Pool, seen: Pool | None) -> Pool:
        """Keep the description of ``default_pool``, which Airflow lets nobody change."""
        if wanted.slots < 0 and self.environment.airflow_version.startswith("2."):
            raise MwaaInputError(
                f"Pool {wanted.name!r}: with -1 slots Airflow 2's REST API cannot read pools; give a number."
            )
        if wanted.name != "default_pool" or seen is None:
            return wanted
        if wanted.description not in (None, seen.description):
            raise MwaaInputError("Pool 'default_pool': Airflow lets nobody change its description; leave it out.")
        return replace(wanted, description=seen.description)

    def is_same(self, seen: Pool, wanted: Pool) -> bool:
        """Compare."""
        return self.is_shown_as(seen, wanted)

    def is_shown_as(self, seen: Pool, written: Pool) -> bool:
        """Compare; no description and an empty one are the same."""
        return replace(seen, description=seen.description or "") == replace(
            written, description=written.description or ""
        )

    def old(self, seen: Pool, wanted: Pool) -> Old[Pool]:  # noqa: ARG002 - of all kinds
        """Give what is there: all of it is shown."""
        return Old(seen)

    def is_hidden(self, seen: Pool) -> bool:  # noqa: ARG002 - of all kinds
        """Nothing of it ever is."""
        return False

    def write(self, item: Pool, there: Pool | None) -> None:
        """Create or replace it."""
        if there is None:
            self.environment.pools.create(item)
        else:
            self.environment.pools.set(item)

    def delete(self, key: str) -> None:
        """Delete it."""
        self.environment.pools.delete(key)


KINDS: dict[str, type[StoredKind[Any]]] = {
    kind.nouns: kind for kind in (StoredVariables, StoredConnections, StoredPools)
}


def _read_each(get: Callable[[str], T], keys: list[str]) -> dict[str, T]:
    """Read one by one, but for those that somebody deletes meanwhile."""

    def read(key: str) -> T | None:
        try:
            return get(key)
        except RemoteNotFound:
            return None

    return {key: item for key, item in zip(keys, call_all(read, keys), strict=True) if item is not None}


def _rewritten(text: str | None) -> str | None:
    """Give a value as Airflow 3's REST API shows it: what is JSON is read and written anew."""
    try:
        return json.dumps(json.loads(text or ""))
    except (ValueError, RecursionError):
        return text


def _is_fraction(text: str | None) -> bool:
    """Whether a value is a number whose digits Airflow 3's REST API may change."""
    try:
        return isinstance(json.loads(text or ""), float)
    except (ValueError, RecursionError):
        return False


def _has_spellings(text: str | None) -> bool:
    """Whether a value is JSON that can be spelled in several ways: anything but a whole number and the like."""
    try:
        return not isinstance(json.loads(text or ""), int | None)
    except (ValueError, RecursionError):
        return False


def _without_secrets(connection: Connection) -> tuple[object, ...]:
    texts = (connection.host, connection.login, connection.schema, connection.description)
    return (connection.conn_id, connection.conn_type, connection.port, *(text or "" for text in texts))


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _is_masked_form(seen: Any, written: Any) -> bool:
    """Whether this is the other, but for what is masked."""
    if isinstance(seen, str) and MASK in seen:
        return True
    if isinstance(seen, dict) and isinstance(written, dict):
        return seen.keys() == written.keys() and all(_is_masked_form(seen[key], written[key]) for key in seen)
    if isinstance(seen, list) and isinstance(written, list):
        return len(seen) == len(written) and all(map(_is_masked_form, seen, written))
    return bool(seen == written)
