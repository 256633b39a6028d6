# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa roles``: what the roles of an environment may do with which DAGs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.support.nearest import naming_the_nearest_role
from airflow_mwaa_provider.cli.support.output import echo_fields, echo_json, echo_table
from airflow_mwaa_provider.cli.support.questions import ask
from airflow_mwaa_provider.cli.support.remote import Remote, env_argument, environment_command
from airflow_mwaa_provider.cli.support.renamed import renamed_option
from airflow_mwaa_provider.exceptions import MwaaInputError

if TYPE_CHECKING:
    from airflow_mwaa_provider.client.models import Role

_UNKNOWN = "interrupted; the change may have taken effect in {env_name}"
_ACTIONS = ("read", "edit", "delete")
_DAG = "DAG:"
name_argument = click.argument("name", metavar="ROLE")


@click.group()
def roles() -> None:
    """List, show, create and delete Airflow roles that see only some DAGs.

    \b
    Example:
      airflow-mwaa roles create production sales-team --dag sales --dag report=read
    """


@roles.command("list")
@env_argument
@environment_command()
def list_roles(remote: Remote, *, output: str) -> None:
    """List the roles, and the DAGs that each has permissions on by name.

    \b
    Example:
      airflow-mwaa roles list production --output json
    """
    found = remote.environment.roles.list()
    if output == "json":
        echo_json([{"name": role.name, "permissions": len(role.permissions), "dags": _dags(role)} for role in found])
        return
    rows = [(role.name, len(role.permissions), ", ".join(_dags(role))) for role in found]
    echo_table([("ROLE", "PERMISSIONS", "DAGS BY NAME"), *rows])


@roles.command("show")
@env_argument
@name_argument
@environment_command()
def show(remote: Remote, *, name: str, output: str) -> None:
    """Show what a role may do.

    \b
    Example:
      airflow-mwaa roles show production sales-team
    """
    from airflow_mwaa_provider.client.roles import shown

    with naming_the_nearest_role(remote, name):
        role = remote.environment.roles.get(name)
    if output == "json":
        ids = {"env_name": remote.env_name, "name": role.name}
        echo_json({**ids, "dags": _dags(role), "permissions": shown(role.permissions)})
        return
    echo_fields([("role", role.name), *((f"DAG {dag_id}", ", ".join(of)) for dag_id, of in _dags(role).items())])
    others: dict[str, list[str]] = {}
    for action, resource in sorted(role.permissions):
        if not resource.startswith(_DAG):
            others.setdefault(resource, []).append(action.removeprefix("can_"))
    if others:
        echo_table(
            [("OTHER", "MAY"), *((resource, ", ".join(actions)) for resource, actions in sorted(others.items()))]
        )


def _dags(role: Role) -> dict[str, list[str]]:
    """Return the actions of the role on each DAG that it names."""
    found: dict[str, list[str]] = {}
    for action, resource in sorted(role.permissions):
        if resource.startswith(_DAG):
            found.setdefault(resource.removeprefix(_DAG), []).append(action.removeprefix("can_"))
    return found


@roles.command("create")
@env_argument
@name_argument
@click.option(
    "--dag",
    "dags",
    metavar="DAG[=ACTIONS]",
    multiple=True,
    required=True,
    help="A DAG that the role sees, and its actions on it: read, edit (trigger, pause, clear), delete. Default: "
    "read,edit. Repeatable.",
)
@renamed_option(
    "--base-role",
    "base_role",
    was="--base",
    default="User",
    show_default=True,
    metavar="ROLE",
    help="The role whose other permissions it gets.",
)
@click.option("--update", is_flag=True, help="Change the role if it exists and differs, instead of failing.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@environment_command(interrupted=_UNKNOWN)
def create(
    remote: Remote, *, name: str, dags: tuple[str, ...], base_role: str, update: bool, dry_run: bool, output: str
) -> None:
    """Create a role that sees only these DAGs, and on them may do what its base role may do.

    A role that already has exactly these permissions does not change.

    \b
    Example:
      airflow-mwaa roles create production sales-team --dag sales --dag report=read
      airflow-mwaa roles create production sales-team --dag sales --update --dry-run
    """
    from airflow_mwaa_provider.client.roles import shown

    access = dict(map(_access, dags))
    environment = remote.environment
    with naming_the_nearest_role(remote, base_role, list(access)):
        change = environment.roles.restrict(name, access, base_role=base_role, dry_run=True)
    is_change = change.created or change.added or change.removed
    if is_change and not change.created and not update:
        raise MwaaInputError(
            f"Environment {remote.env_name!r}: role {name!r} exists, and differs in {len(change.added)} permissions to "
            f"add and {len(change.removed)} to remove; nothing was changed. Use --update to change it, or another name."
        )
    if is_change and not dry_run:
        change = environment.roles.set(change.role)
    added, removed = shown(change.added), shown(change.removed)
    if output == "json":
        document = {"env_name": remote.env_name, "name": name, "created": change.created, "dry_run": dry_run}
        echo_json({**document, "added": added, "removed": removed})
        return
    for sign, permissions in (("-", removed), ("+", added)):
        for permission in permissions:
            click.echo(f"  {sign} {permission}")
    would = "would be " if dry_run else ""
    what = f"{would}created" if change.created else f"{would}changed" if is_change else "has these permissions already"
    click.echo(f"role {name!r} {what} in {remote.env_name}")


def _access(given: str) -> tuple[str, list[str]]:
    dag_id, equals, actions = given.partition("=")
    chosen = actions.split(",") if equals else ["read", "edit"]
    unknown = [action for action in chosen if action not in _ACTIONS]
    if not dag_id or unknown:
        raise click.UsageError(f"--dag {given!r}: write DAG, or DAG=ACTIONS with some of {','.join(_ACTIONS)}.")
    return dag_id, chosen


@roles.command("delete")
@env_argument
@name_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@environment_command(transports=("rest_api", "web_session"), interrupted=_UNKNOWN)
def delete(remote: Remote, *, name: str, yes: bool, output: str) -> None:
    """Delete a role. Its users lose its permissions. On a terminal, the command asks first.

    \b
    Example:
      airflow-mwaa roles delete production sales-team
    """
    ask(f"Delete role {name!r} of {remote.env_name}?", yes=yes)
    with naming_the_nearest_role(remote, name):
        remote.environment.roles.delete(name)
    if output == "json":
        echo_json({"env_name": remote.env_name, "deleted": name})
    else:
        click.echo(f"role {name!r} deleted in {remote.env_name}")
