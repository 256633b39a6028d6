# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa roles``: who may do what with which DAGs of an environment."""

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
    """Look at Airflow's roles, and make one that sees some DAGs only.

    \b
    Example:
      airflow-mwaa roles create production sales-team --dag sales --dag report=read
    """


@roles.command("list")
@env_argument
@environment_command()
def list_roles(remote: Remote, *, output: str) -> None:
    """List the roles, with the DAGs that each is given by name.

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
    """Return what the role may do with which DAGs, of those that it names."""
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
    help="A DAG that it sees, and what it may do with it: read, edit (trigger, pause, clear), delete; read,edit if not "
    "given. Repeatable.",
)
@renamed_option(
    "--base-role",
    "base_role",
    was="--base",
    default="User",
    show_default=True,
    metavar="ROLE",
    help="The role that says what else it may do.",
)
@click.option("--update", is_flag=True, help="Change a role that is there until it is so; else that is an error.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@environment_command(interrupted=_UNKNOWN)
def create(
    remote: Remote, *, name: str, dags: tuple[str, ...], base_role: str, update: bool, dry_run: bool, output: str
) -> None:
    """Make a role that sees these DAGs and no others; it may do what its base may, on them alone.

    A role that is there and is so already is left as it is.

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
            f"Environment {remote.env_name!r}: role {name!r} is there, and differs in {len(change.added)} permissions "
            f"to add and {len(change.removed)} to take away; nothing was changed. Give --update to change it, or "
            "another name."
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
    what = f"{would}created" if change.created else f"{would}changed" if is_change else "is so already"
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
    """Delete a role; its users lose what it gave them. Asks at a terminal.

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
