# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa package plugins``: build, upload or check a plugins.zip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from airflow_mwaa_provider.cli.support.aws import Aws, aws_command
from airflow_mwaa_provider.cli.support.output import echo_exactly, echo_fields, echo_json
from airflow_mwaa_provider.cli.support.output_files import file_option
from airflow_mwaa_provider.cli.support.problems import echo_problems
from airflow_mwaa_provider.cli.support.progress import Progress, make_progress

if TYPE_CHECKING:
    from airflow_mwaa_provider.packaging.plugins_zip.building import BuiltPlugins
    from airflow_mwaa_provider.packaging.uploads import Uploaded


class _Path(click.Path):
    """A path. An empty one, as from a variable that is not set, would mean the current folder, and is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("It is empty. Write a path; the current folder is '.'.", param, ctx)
        return super().convert(value, param, ctx)


_FILE = _Path(path_type=Path)
_ZIP = "plugins.zip"


@click.command("plugins")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...", type=_FILE)
@file_option(".zip", _ZIP)
@click.option("--oracle", type=_FILE, metavar="FILE", help="Oracle's instantclient-basic-linux.x64-….zip.")
@click.option("--libaio", type=_FILE, metavar="FILE", help="libaio.so.1 for --oracle, or a .deb with it.")
@click.option("--hadoop", type=_FILE, metavar="FILE", help="Apache's hadoop-….tar.gz.")
@click.option("--hive", type=_FILE, metavar="FILE", help="Apache's apache-hive-…-bin.tar.gz.")
@click.option("--environment-plugin", is_flag=True, help="Add a plugin that sets the binaries' environment variables.")
@click.option(
    "--startup-script", type=_FILE, metavar="FILE", help="Write the exports for a startup script to this file."
)
@click.option("--upload", metavar="s3://BUCKET/KEY", help="Upload the zip, and print its version for the environment.")
@click.option(
    "--airflow-version", metavar="VERSION", help="Airflow of the environment. Default: that of the newest image."
)
@click.option("--stored", is_flag=True, help="Do not compress: the same bytes on any machine, whatever its zlib.")
@click.option(
    "--copy-links", is_flag=True, help="Copy the targets of symbolic links: larger, but the same after any unzip."
)
@click.option("--check", type=_FILE, metavar="FILE.zip", help="Build nothing, and check this zip.")
@click.option("--force", is_flag=True, help="Replace files even if this command did not write them.")
@aws_command
def package_plugins(
    aws: Aws,
    *,
    sources: tuple[Path, ...],
    output: tuple[Path | None, str],
    oracle: Path | None,
    libaio: Path | None,
    hadoop: Path | None,
    hive: Path | None,
    environment_plugin: bool,
    startup_script: Path | None,
    upload: str | None,
    airflow_version: str | None,
    stored: bool,
    copy_links: bool,
    check: Path | None,
    force: bool,
) -> None:
    """Build a plugins.zip from plugins, wheels and binaries, or check one.

    A SOURCE is a folder of plugins (its content is added), a .py file, a wheel, or another plugins.zip. What MWAA could
    not use is reported before anything is written or uploaded. Builds are reproducible, byte for byte.

    \b
    Example:
      airflow-mwaa package plugins plugins/ --upload s3://my-bucket/plugins.zip
      airflow-mwaa package plugins plugins/ extra-1.0-py3-none-any.whl
      airflow-mwaa package plugins --hadoop hadoop-3.3.6.tar.gz --hive apache-hive-3.1.3-bin.tar.gz
      airflow-mwaa package plugins --check plugins.zip --airflow-version 3.0.6
    """
    named, form = output
    path = named or Path(_ZIP)
    built_of = (named, oracle, libaio, hadoop, hive, startup_script, upload)
    if check is not None:
        if sources or any(built_of) or environment_plugin or stored or copy_links or force:
            raise click.UsageError("--check builds nothing. Use --check FILE.zip alone, or with --airflow-version.")
        _check(check, form, airflow_version)
        return
    if not sources and not any((oracle, hadoop, hive)):
        raise click.UsageError(
            "There is nothing to build from. Name a SOURCE, or use --oracle, --hadoop, --hive or --check FILE.zip."
        )
    from airflow_mwaa_provider.exceptions import PluginsRefused
    from airflow_mwaa_provider.packaging.plugins_zip.building import Binaries, build_plugins
    from airflow_mwaa_provider.packaging.uploads import parse_s3_uri
    from airflow_mwaa_provider.packaging.zip_writing import Compression

    client = None
    if upload is not None:
        key = parse_s3_uri(upload).key
        if not key.lower().endswith(".zip"):
            raise click.UsageError(f"--upload {upload}: the key must end in .zip. Write s3://BUCKET/plugins.zip.")
        client = aws.client("s3", attempts=1)
    try:
        with Progress(is_plain_too=False) as progress:
            progress.show("", f"building {path}")
            built = build_plugins(
                sources,
                path,
                binaries=Binaries(oracle, libaio, hadoop, hive),
                with_environment_plugin=environment_plugin,
                compression=Compression.STORED if stored else Compression.DEFLATED,
                airflow_version=airflow_version,
                copies_links=copy_links,
                script=startup_script,
                replace_anything=force,
            )
    except PluginsRefused as error:
        if form == "json":
            echo_json({"file": str(path), "ok": False, "problems": [each.as_dict() for each in error.problems]})
        else:
            echo_problems(error.problems)
        sys.exit(1)
    uploaded = None if client is None or upload is None else _upload(client, path, upload)
    if form == "json":
        echo_json(_as_json(built, uploaded))
    else:
        _echo(built, uploaded, startup_script, has_plugin=environment_plugin)


def _check(path: Path, form: str, airflow_version: str | None) -> None:
    from airflow_mwaa_provider.packaging.plugins_zip.inspection import inspect_file
    from airflow_mwaa_provider.packaging.problems import Severity

    problems = inspect_file(path, airflow_version=airflow_version)
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    if form == "json":
        echo_json({"file": str(path), "ok": not errors, "problems": [problem.as_dict() for problem in problems]})
    elif problems:
        echo_problems(problems)
    else:
        click.echo(f"{path}: no problem found.")
    sys.exit(1 if errors else 0)


def _upload(client: Any, path: Path, uri: str) -> Uploaded:
    from airflow_mwaa_provider.packaging.uploads import upload_file

    whole_mb = path.stat().st_size / 1e6
    with make_progress() as progress:
        # Shown before the first call, which is retried for a minute if S3 cannot be reached.
        progress.show("", f"uploading {path} to {uri}")
        return upload_file(
            client,
            path,
            uri,
            on_progress=lambda sent: progress.show("", f"uploaded {sent / 1e6:.0f} of {whole_mb:.0f} MB"),
        )


def _as_json(built: BuiltPlugins, uploaded: Uploaded | None) -> dict[str, object]:
    document: dict[str, object] = {
        "file": str(built.zip.path),
        "ok": True,
        "changed": built.zip.changed,
        "files": len(built.zip.names),
        "bytes": built.zip.size_bytes,
        "unpacked_bytes": built.zip.unpacked_bytes,
        "sha256": built.zip.sha256,
        "sources": built.counts,
        "left_out": built.left_out,
        "problems": [problem.as_dict() for problem in built.problems],
        "configuration_options": built.options,
        "startup_script": built.startup_script,
    }
    if uploaded is not None:
        document["upload"] = {
            "bucket": uploaded.bucket,
            "key": uploaded.key,
            "version_id": uploaded.version_id,
            "changed": uploaded.changed,
        }
    return document


def _echo(built: BuiltPlugins, uploaded: Uploaded | None, script: Path | None, *, has_plugin: bool) -> None:
    done = "Wrote" if built.zip.changed else "Unchanged:"
    size, unpacked = _megabytes(built.zip.size_bytes), _megabytes(built.zip.unpacked_bytes)
    click.echo(f"{done} {built.zip.path}: {_files(len(built.zip.names))}, {size}, unpacked {unpacked}")
    echo_fields([("SHA-256", built.zip.sha256)])
    echo_fields((source, _files(count)) for source, count in built.counts.items())
    echo_fields((f"omitted: {kind}", _files(count)) for kind, count in built.left_out.items())
    echo_problems(built.problems)
    if built.variables:
        _echo_environment(built, script, has_plugin=has_plugin)
    if uploaded is not None:
        done = "Uploaded" if uploaded.changed else "Unchanged:"
        click.echo(f"{done} s3://{uploaded.bucket}/{uploaded.key}; set its version in the environment:")
        echo_fields([("PluginsS3Path", uploaded.key), ("PluginsS3ObjectVersion", uploaded.version_id)])


def _echo_environment(built: BuiltPlugins, script: Path | None, *, has_plugin: bool) -> None:
    from airflow_mwaa_provider.packaging.image import PLUGINS_FOLDER

    if has_plugin:
        click.echo("The plugin in the zip sets the environment variables of the binaries.")
    else:
        click.echo("Configuration options for the binaries, where airflow-mwaa-provider is installed:")
        for name, value in built.options.items():
            click.echo(f"  {name}: {value}")
    if built.oracle is not None:
        click.echo("Airflow 3 forks its tasks, so an LD_LIBRARY_PATH that a plugin sets comes too late for them.")
    if script is not None:
        click.echo(f"Wrote {script}: the exports for the startup script of the environment.")
    else:
        click.echo("The same for a startup script, which sets them before any process starts:")
        echo_exactly("".join(f"  {line}\n" for line in built.startup_script.splitlines()))
    if built.oracle is not None:
        click.echo(f'In the task: oracledb.init_oracle_client(lib_dir="{PLUGINS_FOLDER}/{built.oracle.folder}")')


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes:,} bytes" if size_bytes < 1_000_000 else f"{size_bytes / 1e6:,.1f} MB"
