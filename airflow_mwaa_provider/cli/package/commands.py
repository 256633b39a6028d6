# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa package``: the files to upload to AWS, and the pins of MWAA images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from airflow_mwaa_provider.cli.package.plugins import package_plugins
from airflow_mwaa_provider.cli.package.requirements import package_requirements
from airflow_mwaa_provider.cli.support.errors import mwaa_errors_in_one_line
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_json, echo_table, output_option
from airflow_mwaa_provider.cli.support.output_files import file_option
from airflow_mwaa_provider.packaging.lambda_setup import RUNTIMES, HandlerName, setup_of

if TYPE_CHECKING:
    from airflow_mwaa_provider.packaging.lambda_setup import FunctionSetup
    from airflow_mwaa_provider.packaging.lambda_zip import LambdaZip


_LAMBDA_ZIP = "mwaa-lambda.zip"


@click.group()
def package() -> None:
    """Build and check the files to upload to AWS; print the pins of an image.

    \b
    Example:
      airflow-mwaa package plugins plugins/ --upload s3://my-bucket/plugins.zip
      airflow-mwaa package lambda --output trigger.zip
      airflow-mwaa package constraints 3.3.1 > constraints.txt
      airflow-mwaa package requirements requirements.txt --airflow-version 3.3.1
    """


package.add_command(package_requirements)
package.add_command(package_plugins)


@package.command("lambda")
@file_option(".zip", _LAMBDA_ZIP)
@click.option(
    "--handler",
    type=click.Choice([name.value for name in HandlerName]),
    default=HandlerName.TRIGGER.value,
    show_default=True,
    help="Handler whose setup to show: trigger runs a DAG, endpoints creates VPC endpoints. The zip has both.",
)
@click.option(
    "--with-requests",
    is_flag=True,
    help="Add the package requests, for transports web_session and cli, or an old boto3.",
)
@click.option("--force", is_flag=True, help="Replace the file even if this command did not write it.")
@mwaa_errors_in_one_line
def package_lambda(*, output: tuple[Path | None, str], handler: str, with_requests: bool, force: bool) -> None:
    """Build the zip of a Lambda function that triggers a DAG, and show how to set the function up.

    It needs no Airflow, and only boto3 of the Lambda runtime. Builds are reproducible, byte for byte.

    \b
    Example:
      airflow-mwaa package lambda --output trigger.zip
      airflow-mwaa package lambda --output trigger.zip --output json --handler endpoints
    """
    from airflow_mwaa_provider.packaging.lambda_zip import build_zip, write_zip

    named, form = output
    path = named or Path(_LAMBDA_ZIP)
    built = build_zip(with_requests=with_requests)
    changed = write_zip(built, path, replace_anything=force)
    setup = setup_of(HandlerName(handler))
    if form == "json":
        click.echo(json.dumps(_as_json(path, built, changed, setup), indent=2))
    else:
        _echo(path, built, changed, setup)


def _as_json(path: Path, built: LambdaZip, changed: bool, setup: FunctionSetup) -> dict[str, object]:
    return {
        "file": str(path),
        "changed": changed,
        "bytes": len(built.content),
        "sha256": built.sha256,
        "bundled": built.bundled,
        "handler": setup.handler,
        "runtimes": list(RUNTIMES),
        "timeout_s": setup.timeout_s,
        "memory_mb": setup.memory_mb,
        "environment_variables": [
            {"name": variable.name, "required": variable.required, "says": variable.says}
            for variable in setup.variables
        ],
        "iam_actions": list(setup.actions),
        "policy": setup.policy,
    }


def _echo(path: Path, built: LambdaZip, changed: bool, setup: FunctionSetup) -> None:
    bundled = ", ".join(f"{name} {version}" for name, version in built.bundled.items())
    done = "Wrote" if changed else "Unchanged:"
    click.echo(
        f"{done} {path}: {len(built.names)} files, {len(built.content)} bytes{f', with {bundled}' * bool(bundled)}"
    )
    click.echo(f"  SHA-256      {built.sha256}")
    click.echo(f"  Handler      {setup.handler}")
    click.echo(f"  Runtime      {RUNTIMES[0]} (or {', '.join(RUNTIMES[1:])})")
    click.echo(f"  Timeout      {setup.timeout_s} s, memory {setup.memory_mb} MB")
    click.echo("  Environment variables:")
    for variable in setup.variables:
        click.echo(f"    {variable.name}{'' if variable.required else ' (optional)'}: {variable.says}")
    click.echo("  Permissions of the role, in addition to AWSLambdaBasicExecutionRole:")
    for line in json.dumps(setup.policy, indent=2).splitlines():
        click.echo(f"    {line}")


@package.command("constraints")
@click.argument("version", required=False)
@output_option
@mwaa_errors_in_one_line
def package_constraints(*, version: str | None, output: str) -> None:
    """Print the constraints file of an MWAA image, or list the images.

    VERSION is the Airflow version of the image. The file has the pins of the image, for pip's option -c. It is part of
    this package: nothing is downloaded.

    \b
    Example:
      airflow-mwaa package constraints
      airflow-mwaa package constraints 3.3.1 > constraints.txt
    """
    from airflow_mwaa_provider.packaging import image_constraints

    if version is None:
        _echo_images(output)
    elif output == "json":
        python, pins = image_constraints.python_of(version), image_constraints.pins_of(version)
        echo_json({"airflow": version, "python": python, "pins": pins})
    else:
        echo_exactly(image_constraints.text_of(version))


def _echo_images(output: str) -> None:
    from airflow_mwaa_provider.packaging import image_constraints

    images = []
    for version in image_constraints.versions():
        pins = image_constraints.pins_of(version)
        images.append(
            {
                "airflow": version,
                "python": image_constraints.python_of(version),
                "amazon_provider": pins["apache-airflow-providers-amazon"],
                "boto3": pins["boto3"],
                "pins": len(pins),
            }
        )
    if output == "json":
        echo_json(images)
    else:
        echo_table(
            [["Airflow", "Python", "amazon provider", "boto3", "pins"], *(list(image.values()) for image in images)]
        )
