# SPDX-License-Identifier: Apache-2.0
"""Variables, connections and pools of an environment, with one interface for imports and exports.

Each kind knows how it is read and written, what Airflow shows of it and how, and which part could not be restored after
it was overwritten.
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
from airflow_mwaa_provider.client.models import Connection, Pool, Variable
from airflow_mwaa_provider.client.states import TransportName
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
    """What existed before.

    :param hidden: why it cannot be restored completely; empty if it can.
    :param is_useful: restoring it is useful, although not all of it is known.
    """

    item: T
    hidden: str = ""
    is_useful: bool = True


@dataclass(frozen=True)
class Comparison:
    """Whether what exists is what was written.

    :param is_same: ``None`` if it cannot be determined.
    :param hidden: why it cannot be determined: ``"Airflow masks its value"``.
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
        """Read what exists, as Airflow shows it; ``None`` reads all."""

    @abstractmethod
    def completed(self, wanted: T, seen: T | None) -> T:
        """Complete what a document omits with what exists.

        :raises MwaaInputError: the environment cannot store it.
        """

    @abstractmethod
    def is_same(self, seen: T, wanted: T) -> bool:
        """Return whether writing would change nothing, as far as Airflow shows."""

    @abstractmethod
    def is_shown_as(self, seen: T, written: T) -> bool:
        """Return whether this is how Airflow shows what was written."""

    def compare(self, seen: T, written: T) -> Comparison:
        """Compare what is shown with what was written; a hidden part never counts as the same."""
        if not self.is_shown_as(seen, written):
            return Comparison(is_same=False)
        hidden = self._hidden_from_comparison(seen, written)
        return Comparison(is_same=None if hidden else True, hidden=hidden)

    def _hidden_from_comparison(self, seen: T, written: T) -> str:  # noqa: ARG002 - of all kinds
        """Return why two objects that look the same may differ; empty if they cannot."""
        return ""

    @abstractmethod
    def old(self, seen: T, wanted: T) -> Old[T]:
        """Return what must be restored if overwriting it has to be undone."""

    @abstractmethod
    def is_hidden(self, seen: T) -> bool:
        """Return whether Airflow masks a part of it."""

    @abstractmethod
    def write(self, item: T, there: T | None) -> None:
        """Replace what is ``there``, or create it if that is ``None``; may be repeated.

        :raises RemoteConflict: it was to be created and already exists; it was not changed.
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
        """Read what exists; over the CLI with one command for each value."""
        found = {
            variable.key: variable
            for variable in self.environment.variables.list()
            if keys is None or variable.key in keys
        }
        if self._by_cli and found:
            return _read_each(self.environment.variables.get, list(found))
        return found

    def completed(self, wanted: Variable, seen: Variable | None) -> Variable:
        """Keep the existing description if none is given."""
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
        """Compare what is shown with what was written; the CLI shows no description."""
        return self._is_described_as(seen, written) and (self.is_hidden(seen) or self._shows(seen, written))

    def compare(self, seen: Variable, written: Variable) -> Comparison:
        """Compare; a value that is masked, or whose digits Airflow 3 rewrites, is read by the CLI."""
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
        return Comparison(is_same=None, hidden=f"Airflow {hides}, and the CLI, which does not, cannot be used")

    def _is_described_as(self, seen: Variable, other: Variable) -> bool:
        return self._by_cli or (seen.description or "") == (other.description or "")

    def _shows(self, seen: Variable, other: Variable) -> bool:
        return seen.value == other.value or (self._rewrites and _rewritten(seen.value) == _rewritten(other.value))

    def old(self, seen: Variable, wanted: Variable) -> Old[Variable]:  # noqa: ARG002 - of all kinds
        """Return what is to be restored."""
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
        """Return whether it may be stored in another spelling than it is shown."""
        return self._rewrites and _has_spellings(seen.value)

    def exact(self, seen: Variable) -> Old[Variable]:
        """Read the stored text by the CLI: Airflow 3's REST API shows a version 2.10 as 2.1."""
        try:
            text = self._stored_text(seen.key)
        except MwaaError as error:
            return Old(seen, f"Airflow 3 shows 2.10 as 2.1, and the CLI cannot be used ({type(error).__name__})")
        if text is None or _rewritten(text) != _rewritten(seen.value):
            return Old(seen, "Airflow 3 shows 2.10 as 2.1, and the CLI shows another value")
        return Old(replace(seen, value=text))

    def _stored_text(self, key: str) -> str | None:
        """Read a value by the CLI, which shows it as it is stored; ``None`` if it shows none."""
        result = self.environment.run_cli(["variables", "get", *positional(key)], idempotent=True)
        return None if result.exit_status else result.stdout.removesuffix("\n")

    def is_hidden(self, seen: Variable) -> bool:
        """Return whether its value is masked, or may be in part: asterisks can be its own or a mask's."""
        return seen.value is None or (self._rewrites and MASK in seen.value)

    def write(self, item: Variable, there: Variable | None) -> None:
        """Create or replace it."""
        if there is None:
            self.environment.variables.create(item.key, item.value or "", item.description)
            return
        # Also because Airflow 2 would turn a missing description into an empty one.
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
        """Whether values come from Airflow 3's REST API, which masks them and rewrites JSON."""
        return not self._by_cli and not self.environment.airflow_version.startswith("2.")


class StoredConnections(StoredKind[Connection]):
    """The connections of an environment. A password that is not given is kept."""

    noun, nouns = "connection", "connections"

    def parse(self, document: Mapping[str, Any]) -> dict[str, Connection]:
        """Read and check a document."""
        return stored_documents.connections_of(document)

    def document(self, items: Iterable[Connection]) -> dict[str, Any]:
        """Write a document, without passwords."""
        return stored_documents.connections_document(items)

    def read(self, keys: Collection[str] | None = None) -> dict[str, Connection]:
        """Read what exists; on Airflow 2 one by one, because its list omits ``extra``."""
        found = {
            connection.conn_id: connection
            for connection in self.environment.connections.list()
            if keys is None or connection.conn_id in keys
        }
        if found and self.environment.airflow_version.startswith("2."):
            return _read_each(self.environment.connections.get, list(found))
        return found

    def completed(self, wanted: Connection, seen: Connection | None) -> Connection:  # noqa: ARG002 - of all kinds
        """Return it unchanged: except for the password, a connection is replaced as a whole."""
        return wanted

    def is_same(self, seen: Connection, wanted: Connection) -> bool:
        """Compare; a password, which Airflow does not show, counts as different."""
        return wanted.password is None and not self.is_hidden(seen) and self.is_shown_as(seen, wanted)

    def is_shown_as(self, seen: Connection, written: Connection) -> bool:
        """Compare all but the password and masked parts of ``extra``."""
        return _without_secrets(seen) == _without_secrets(written) and _is_masked_form(
            _json(seen.extra), _json(written.extra)
        )

    def compare(self, seen: Connection, written: Connection) -> Comparison:
        """Compare with one that was created; Airflow 3 shows whether it has a password."""
        if seen.has_password is not None and seen.has_password != bool(written.password):
            return Comparison(is_same=False)
        return super().compare(seen, written)

    def _hidden_from_comparison(self, seen: Connection, written: Connection) -> str:
        if written.password or seen.has_password is None:
            return "Airflow does not show its password"
        return "Airflow masks a part of its extra" if self.is_hidden(seen) else ""

    def old(self, seen: Connection, wanted: Connection) -> Old[Connection]:
        """Return what is to be restored."""
        if wanted.password is not None:
            return Old(seen, "Airflow does not show the password that it has", is_useful=False)
        if self.is_hidden(seen):
            return Old(seen, "Airflow masks a part of its extra", is_useful=False)
        return Old(seen)

    def is_hidden(self, seen: Connection) -> bool:
        """Return whether ``extra`` is masked, or may be in part."""
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
        """Read what exists."""
        return {pool.name: pool for pool in self.environment.pools.list() if keys is None or pool.name in keys}

    def completed(self, wanted: Pool, seen: Pool | None) -> Pool:
        """Keep the description of ``default_pool``, which Airflow does not allow changing."""
        if wanted.slots < 0 and self.environment.airflow_version.startswith("2."):
            raise MwaaInputError(
                f"Pool {wanted.name!r}: with -1 slots Airflow 2's REST API cannot read pools. Give another number."
            )
        if wanted.name != "default_pool" or seen is None:
            return wanted
        if wanted.description not in (None, seen.description):
            raise MwaaInputError("Pool 'default_pool': Airflow does not allow changing its description. Leave it out.")
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
        """Return what exists, which Airflow shows completely."""
        return Old(seen)

    def is_hidden(self, seen: Pool) -> bool:  # noqa: ARG002 - of all kinds
        """Return that no part of it is masked."""
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
    """Read one by one, without those that are deleted meanwhile."""

    def read(key: str) -> T | None:
        try:
            return get(key)
        except RemoteNotFound:
            return None

    return {key: item for key, item in zip(keys, call_all(read, keys), strict=True) if item is not None}


def _rewritten(text: str | None) -> str | None:
    """Return a value as Airflow 3's REST API shows it: JSON is parsed and written again."""
    try:
        return json.dumps(json.loads(text or ""))
    except (ValueError, RecursionError):
        return text


def _is_fraction(text: str | None) -> bool:
    """Return whether a value is a number whose digits Airflow 3's REST API may change."""
    try:
        return isinstance(json.loads(text or ""), float)
    except (ValueError, RecursionError):
        return False


def _has_spellings(text: str | None) -> bool:
    """Return whether a value is JSON with several spellings: anything but integers, booleans and null."""
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
    """Return whether both are the same, except for what is masked."""
    if isinstance(seen, str) and MASK in seen:
        return True
    if isinstance(seen, dict) and isinstance(written, dict):
        return seen.keys() == written.keys() and all(_is_masked_form(seen[key], written[key]) for key in seen)
    if isinstance(seen, list) and isinstance(written, list):
        return len(seen) == len(written) and all(map(_is_masked_form, seen, written))
    return bool(seen == written)
