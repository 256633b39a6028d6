# SPDX-License-Identifier: Apache-2.0
"""``import`` and ``export`` of variables, connections and pools: all or nothing, and never half a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.errors import fail, warn
from airflow_mwaa_provider.cli.support.inputs import STDIN, read_place
from airflow_mwaa_provider.cli.support.interrupts import signals_as_interrupts
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_json, on_one_line
from airflow_mwaa_provider.cli.support.progress import Progress
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command

if TYPE_CHECKING:
    from airflow_mwaa_provider.cli.stored.texts import Words
    from airflow_mwaa_provider.client.transactional_import import ImportResult

_DONE = {"created": "created", "changed": "changed", "skipped": "skipped"}
_PLANNED = {"created": "would create", "changed": "would change", "skipped": "would skip"}


def import_command(words: Words) -> click.Command:
    """Build the command ``import``."""

    @click.command(
        "import",
        help=f"Import a JSON file of {words.nouns} into an environment: all of it, or nothing.\n\n"
        "FILE is a path, s3://BUCKET/KEY, or - for stdin, in the format of Airflow's own export. What it does not "
        "contain is not changed. If anything fails, or on Ctrl-C, what was written is rolled back.\n\n"
        "\b\nExample:\n"
        f"  airflow-mwaa {words.nouns} import production {words.nouns}.json --dry-run\n"
        f"  airflow-mwaa {words.nouns} export staging - | airflow-mwaa {words.nouns} import production -",
    )
    @env_argument
    @click.argument("place", metavar="FILE")
    @click.option("--dry-run", is_flag=True, help="Write nothing; list the keys that would be created or changed.")
    @click.option(
        "--on-conflict",
        type=click.Choice(["overwrite", "skip", "fail"]),
        default="overwrite",
        show_default=True,
        help="What to do with those that exist and differ.",
    )
    @click.option(
        "--overwrite-hidden",
        is_flag=True,
        help="Also overwrite values that Airflow masks, which cannot be rolled back.",
    )
    @environment_command()
    def import_file(
        remote: Remote, *, place: str, dry_run: bool, on_conflict: str, overwrite_hidden: bool, output: str
    ) -> None:
        from airflow_mwaa_provider.client.stored.documents import read_document
        from airflow_mwaa_provider.client.stored.kinds import KINDS
        from airflow_mwaa_provider.client.transactional_import import import_stored

        document = read_document(read_place(remote, place), words.nouns, "on stdin" if place == STDIN else place)
        kind = KINDS[words.nouns](remote.environment)
        wanted = kind.parse(document)
        noun = words.noun if len(wanted) == 1 else words.nouns
        try:
            with (
                Progress(is_plain_too=False) as progress,
                signals_as_interrupts("" if dry_run else "interrupted; rolling back what was written ..."),
            ):
                progress.show(remote.env_name, f"{'comparing' if dry_run else 'importing'} {len(wanted)} {noun}")
                result = import_stored(
                    kind, wanted, on_conflict=on_conflict, dry_run=dry_run, overwrite_hidden=overwrite_hidden
                )
        except KeyboardInterrupt:
            fail(f"interrupted; the {words.nouns} of {remote.env_name} are as they were before.")
        if output == "json":
            echo_json({"env_name": remote.env_name, **result.as_dict()})
        else:
            _echo(remote, words, result)

    return import_file


def _echo(remote: Remote, words: Words, result: ImportResult) -> None:
    lines = _PLANNED if result.dry_run else _DONE
    for name, done in lines.items():
        for key in getattr(result, name):
            click.echo(f"  {done.ljust(12 if result.dry_run else 7)}  {on_one_line(key)}")
    counts = ", ".join(f"{len(getattr(result, name))} {done}" for name, done in lines.items() if name != "skipped")
    if result.dry_run:
        counts = f"{len(result.created)} to create, {len(result.changed)} to change"
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    end = "; nothing was written" if result.dry_run else ""
    click.echo(f"{words.nouns} of {remote.env_name}: {counts}{skipped}, {len(result.same)} the same{end}")


def export_command(words: Words) -> click.Command:
    """Build the command ``export``."""
    passwords = " It has no passwords, because Airflow never returns them." * (words.noun == "connection")

    @click.command(
        "export",
        help=f"Export all {words.nouns} of an environment to a JSON file for import.{passwords}\n\n"
        "FILE is a path, s3://BUCKET/KEY, or - for stdout. It is written completely or not at all. On disk, only its "
        "owner may read it.\n\n\b\nExample:\n"
        f"  airflow-mwaa {words.nouns} export production {words.nouns}.json",
    )
    @env_argument
    @click.argument("place", metavar="FILE")
    @click.option("--leave-out-hidden", is_flag=True, help="Omit values that Airflow masks, instead of failing.")
    @environment_command()
    def export_file(remote: Remote, *, place: str, leave_out_hidden: bool, output: str) -> None:
        from airflow_mwaa_provider.client.stored.files import write_file
        from airflow_mwaa_provider.client.stored.kinds import KINDS
        from airflow_mwaa_provider.client.transactional_import import export_stored

        kind = KINDS[words.nouns](remote.environment)
        document, left_out = export_stored(kind, leave_out_hidden=leave_out_hidden)
        text = json.dumps(document, indent=4, sort_keys=True) + "\n"
        if place == STDIN:
            echo_exactly(text)
        else:
            write_file(place, text.encode(), remote.s3)
        if left_out:
            warn(f"omitted, because Airflow masks them: {', '.join(map(repr, left_out))}")
        if place == STDIN:
            return
        if output == "json":
            exported = {"destination": place, "exported": sorted(document), "left_out": left_out}
            echo_json({"env_name": remote.env_name, **exported})
        else:
            noun = words.noun if len(document) == 1 else words.nouns
            click.echo(f"{len(document)} {noun} of {remote.env_name} written to {place}")

    return export_file
