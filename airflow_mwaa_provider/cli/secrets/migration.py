# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa secrets migrate`` and ``restore``: connections and variables to Secrets Manager, and back."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.inputs import STDIN, read_place
from airflow_mwaa_provider.cli.support.output import echo_json, on_one_line
from airflow_mwaa_provider.cli.support.progress import Progress
from airflow_mwaa_provider.cli.support.remote import Remote, environment_command
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.client.secrets_migration.items import Patterns
    from airflow_mwaa_provider.client.secrets_migration.options import Names
    from airflow_mwaa_provider.client.secrets_migration.source import Source

_KEY_VARIABLE = "AIRFLOW__CORE__FERNET_KEY"
_SHOWN = ("created", "overwritten", "restored", "changed", "skipped", "conflict")
_INTERRUPTED = "interrupted. What was written is kept; run the same command again to continue"


@dataclass(frozen=True)
class _Selection:
    """What both commands are asked to do with which connections and variables."""

    connections: tuple[str, ...]
    variables: tuple[str, ...]
    connections_prefix: str
    variables_prefix: str
    sep: str
    on_conflict: str
    leave_out_refused: bool
    dry_run: bool

    def names(self) -> Names:
        from airflow_mwaa_provider.client.secrets_migration.options import Names

        return Names(self.connections_prefix, self.variables_prefix, self.sep)

    def patterns(self) -> list[Patterns]:
        """Return the patterns of each kind: all, unless one of the two is named; then nothing of the other."""
        from airflow_mwaa_provider.client.secrets_migration.items import Kind, Patterns

        connections, variables = self.connections, self.variables
        if not connections and not variables:
            connections = variables = ("*",)
        return [Patterns(Kind.CONNECTION, connections), Patterns(Kind.VARIABLE, variables)]


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both commands have, and pass them on as ``selection``."""

    @functools.wraps(command)
    def made(**given: Any) -> None:
        selection = _Selection(**{each.name: given.pop(each.name) for each in fields(_Selection)})
        command(selection=selection, **given)

    options = (
        click.option(
            "--connections", multiple=True, metavar="PATTERN",
            help="Only these connections: an ID, or a pattern such as 'sales_*'. Repeatable.",
        ),
        click.option("--variables", multiple=True, metavar="PATTERN", help="Only these variables. Repeatable."),
        click.option("--connections-prefix", default="airflow/connections", show_default=True),
        click.option("--variables-prefix", default="airflow/variables", show_default=True),
        click.option("--sep", default="/", show_default=True, help="The separator between the prefix and the ID."),
        click.option(
            "--on-conflict", type=click.Choice(["fail", "skip", "overwrite"]), default="fail", show_default=True,
            help="What to do where the target already has another value.",
        ),
        click.option("--leave-out-refused", is_flag=True, help="Skip what cannot be moved, instead of failing."),
        click.option("--dry-run", is_flag=True, help="Write nothing; show what would be written."),
    )  # fmt: skip
    for option in reversed(options):
        made = option(made)
    return made


@click.command()
@click.argument("env_name", metavar="[ENV]", required=False, default="")
@_common
@click.option(
    "--from-database",
    metavar="URL",
    help="Read the metadata database at postgresql://USER@HOST:5432/DATABASE. The password comes from PGPASSWORD or "
    "~/.pgpass, the Fernet key from AIRFLOW__CORE__FERNET_KEY.",
)
@click.option("--fernet-key-file", metavar="FILE", help="With --from-database: read the Fernet key from a file.")
@click.option(
    "--connections-file",
    metavar="FILE",
    help="Read connections that Airflow exported as JSON: a path, s3://BUCKET/KEY, or - for stdin.",
)
@click.option("--variables-file", metavar="FILE", help="Read variables in the same way.")
@click.option(
    "--form",
    type=click.Choice(["json", "uri"]),
    default="json",
    show_default=True,
    help="The form in which connections are stored.",
)
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag for secrets that are created. Repeatable."
)
@click.option("--kms-key-id", metavar="KEY", help="Encrypt secrets that are created with this KMS key.")
@click.option("--restore-deleted", is_flag=True, help="Restore secrets that are scheduled for deletion.")
@click.option(
    "--delete-source",
    is_flag=True,
    help="Delete each connection and variable from the source once its secret was read back.",
)
@environment_command(interrupted=_INTERRUPTED)
def migrate(
    remote: Remote,
    *,
    selection: _Selection,
    from_database: str | None,
    fernet_key_file: str | None,
    connections_file: str | None,
    variables_file: str | None,
    form: str,
    tags: tuple[str, ...],
    kms_key_id: str | None,
    restore_deleted: bool,
    delete_source: bool,
    output: str,
) -> None:
    """Move connections and variables to Secrets Manager, and read each back as a task would.

    They are read from an environment, whose REST API shows no passwords; from its metadata database, with its Fernet
    key; or from files that Airflow exported. What cannot be moved is named before anything is written. If the command
    is interrupted, run it again to continue.

    \b
    Example:
      airflow-mwaa secrets migrate production --variables 'sales_*' --dry-run
      airflow-mwaa secrets migrate --from-database postgresql://airflow@db.example.com/airflow --dry-run
      airflow connections export - --file-format json | airflow-mwaa secrets migrate --connections-file -
    """
    from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
    from airflow_mwaa_provider.client.secrets_migration import migration
    from airflow_mwaa_provider.client.secrets_migration.options import MigrationOptions
    from airflow_mwaa_provider.client.secrets_migration.reading_back import reader

    names = selection.names()
    options = MigrationOptions(selection.on_conflict, form, restore_deleted, selection.leave_out_refused, delete_source)
    given_tags = _tags(tags)
    files = connections_file is not None or variables_file is not None
    if [bool(remote.env_name), from_database is not None, files].count(True) != 1:
        raise click.UsageError("Give one source: ENV, --from-database, or --connections-file and --variables-file.")
    if fernet_key_file is not None and from_database is None:
        raise click.UsageError("--fernet-key-file requires --from-database.")
    if from_database is not None:
        source: Source = _database(from_database, fernet_key_file)
    elif files:
        source = _files(remote, connections_file, variables_file)
    else:
        source = _environment(remote)
    client = remote.aws_client("secretsmanager", attempts=1)
    with Progress(is_plain_too=False) as progress:
        progress.show("", "reading")
        outcome = migration.migrate(
            source,
            selection.patterns(),
            SecretsManager(client, tags=given_tags, kms_key_id=kms_key_id),
            names,
            reader(_backend(client, names), names),
            options,
            dry_run=selection.dry_run,
            progress=lambda done, total: progress.show("", f"{done} of {total} secrets written and read back"),
        )
    if output == "json":
        echo_json(outcome.as_dict())
    else:
        _echo(outcome.as_dict(), f"{source.label}: {outcome.counts()}", is_dry_run=selection.dry_run)


@click.command()
@click.argument("env_name", metavar="ENV")
@_common
@click.option(
    "--overwrite-hidden",
    is_flag=True,
    help="Also overwrite connections and variables with hidden values, which cannot be put back.",
)
@environment_command()
def restore(remote: Remote, *, selection: _Selection, overwrite_hidden: bool, output: str) -> None:
    """Write secrets to the connections and variables of an environment. The secrets are kept.

    All connections are written, or none; then all variables, or none. If anything fails, the previous values are put
    back.

    \b
    Example:
      airflow-mwaa secrets restore production --dry-run
    """
    from airflow_mwaa_provider.client.aws.secrets_manager import SecretsManager
    from airflow_mwaa_provider.client.secrets_migration.restoring import restore as restore_secrets

    with Progress(is_plain_too=False) as progress:
        progress.show(remote.env_name, "reading the secrets")
        done = restore_secrets(
            remote.environment,
            selection.patterns(),
            SecretsManager(remote.aws_client("secretsmanager", attempts=1)),
            selection.names(),
            on_conflict=selection.on_conflict,
            leave_out_refused=selection.leave_out_refused,
            overwrite_hidden=overwrite_hidden,
            dry_run=selection.dry_run,
        )
    if output == "json":
        echo_json({"env_name": remote.env_name, **done})
        return
    kinds = [done[nouns] for nouns in ("connections", "variables") if nouns in done]
    counted = {
        name: sum(len(kind[name]) for kind in kinds) for name in ("created", "changed", "same", "skipped", "refused")
    }
    counts = ", ".join(f"{count} {name}" for name, count in counted.items() if count) or "nothing found"
    _echo(done, f"Environment {remote.env_name!r}: {counts}", is_dry_run=selection.dry_run)


def _environment(remote: Remote) -> Source:
    from airflow_mwaa_provider.client.secrets_migration.source import EnvironmentSource

    return EnvironmentSource(remote.environment)


def _database(url: str, fernet_key_file: str | None) -> Source:
    from airflow_mwaa_provider.client.secrets_migration.source import DocumentSource
    from airflow_mwaa_provider.metadata.database import Database
    from airflow_mwaa_provider.metadata.stored_values import StoredValues

    key = os.environ.get(_KEY_VARIABLE)
    if fernet_key_file is not None:
        try:
            key = Path(fernet_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise MwaaInputError(f"File {fernet_key_file!r} cannot be read: {why}. Give another file.") from None
    database = Database.from_url(url)
    stored = StoredValues(database, key).read()
    return DocumentSource(database.label, stored.documents, stored.problems, stored.delete)


def _files(remote: Remote, connections_file: str | None, variables_file: str | None) -> Source:
    from airflow_mwaa_provider.client.secrets_migration.source import DocumentSource
    from airflow_mwaa_provider.client.stored.documents import read_document

    if connections_file == variables_file == STDIN:
        raise click.UsageError("Only one of --connections-file and --variables-file can be stdin.")
    documents = {}
    for kind, place in (("connection", connections_file), ("variable", variables_file)):
        if place is not None:
            where = "on stdin" if place == STDIN else place
            documents[kind] = read_document(read_place(remote, place), f"{kind}s", where)
    return DocumentSource(" and ".join(place for place in (connections_file, variables_file) if place), documents)


def _backend(client: Any, names: Names) -> Any:
    from airflow_mwaa_provider.secrets.read_back import ReadBack

    return ReadBack(
        client, connections_prefix=names.connections_prefix, variables_prefix=names.variables_prefix, sep=names.sep
    )


def _tags(tags: tuple[str, ...]) -> dict[str, str]:
    found = dict(tag.partition("=")[::2] for tag in tags)
    if bad := [tag for tag in tags if "=" not in tag or tag.startswith("=")]:
        raise MwaaInputError(f"--tag {bad[0]!r} has no key. Write --tag KEY=VALUE.")
    return found


def _echo(done: dict[str, Any], summary: str, *, is_dry_run: bool) -> None:
    would = "would be " if is_dry_run else ""
    for noun in ("connection", "variable"):
        of_kind = done.get(f"{noun}s", {})
        for name in _SHOWN:
            shown = name if name == "conflict" else f"{would}{name}"
            for key in of_kind.get(name, []):
                click.echo(f"  {shown.ljust(14)}  {noun} {on_one_line(key)}")
        for key, reason in of_kind.get("refused", {}).items():
            click.echo(f"  refused         {noun} {on_one_line(key)}: {reason}")
    click.echo(f"{summary}{'; nothing was written' if is_dry_run else ''}")
