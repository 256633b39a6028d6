# SPDX-License-Identifier: Apache-2.0
"""A plugins.zip, assembled, inspected and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from airflow_mwaa_provider.exceptions import MwaaInputError, PluginsRefused
from airflow_mwaa_provider.packaging.file_writing import refuse_other_file, write_text
from airflow_mwaa_provider.packaging.plugins_zip.contents import Contents
from airflow_mwaa_provider.packaging.plugins_zip.environment import (
    ENVIRONMENT_PLUGIN,
    Variable,
    configuration_options,
    merged,
    plugin_source,
    startup_script,
)
from airflow_mwaa_provider.packaging.plugins_zip.hive import add_hadoop, add_hive
from airflow_mwaa_provider.packaging.plugins_zip.inspection import inspect
from airflow_mwaa_provider.packaging.plugins_zip.oracle import OracleClient, add_oracle
from airflow_mwaa_provider.packaging.plugins_zip.sources import add_source
from airflow_mwaa_provider.packaging.problems import Problem, Severity
from airflow_mwaa_provider.packaging.zip_writing import Compression, WrittenZip, ZipEntry, write_zip

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Binaries", "BuiltPlugins", "build_plugins"]

_COMMENT = b"airflow-mwaa package plugins"


@dataclass(frozen=True)
class Binaries:
    """Archives that the user has downloaded.

    :param oracle: Oracle's ``instantclient-basic-linux.x64-….zip``.
    :param libaio: ``libaio.so.1``, or a ``.deb`` with it, which the Instant Client needs.
    :param hadoop: Apache's ``hadoop-….tar.gz``.
    :param hive: Apache's ``apache-hive-…-bin.tar.gz``.
    """

    oracle: Path | None = None
    libaio: Path | None = None
    hadoop: Path | None = None
    hive: Path | None = None


@dataclass(frozen=True)
class BuiltPlugins:
    """A plugins.zip that was written.

    :param counts: number of files by source.
    :param left_out: number of files that were left out, by what they are.
    :param variables: environment variables that the binaries need.
    :param oracle: the Instant Client in it.
    :param problems: warnings; a zip with errors is not written.
    """

    zip: WrittenZip
    counts: dict[str, int]
    left_out: dict[str, int]
    variables: list[Variable] = field(default_factory=list)
    oracle: OracleClient | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def options(self) -> dict[str, str]:
        """Configuration options that set the variables, if this package is installed in the environment."""
        return configuration_options(self.variables, self.oracle.needed if self.oracle else ())

    @property
    def startup_script(self) -> str:
        """Lines of a startup script that set the variables."""
        return startup_script(self.variables) if self.variables else ""


def build_plugins(
    sources: Sequence[Path],
    output: Path,
    *,
    binaries: Binaries | None = None,
    with_environment_plugin: bool = False,
    compression: Compression = Compression.DEFLATED,
    airflow_version: str | None = None,
    copies_links: bool = False,
    script: Path | None = None,
    replace_anything: bool = False,
) -> BuiltPlugins:
    """Build a plugins.zip, and write it if it has no errors.

    The same sources produce the same bytes, regardless of their times and order, unless lines of
    an ``.airflowignore`` begin with ``!``: then their order counts. With :attr:`Compression.DEFLATED` they do wherever
    zlib is the same. It takes a few megabytes of memory.

    :param sources: folders of plugins (their content), ``.py`` files, wheels, other plugins.zip files.
    :param binaries: archives to unpack into it.
    :param with_environment_plugin: adds a plugin that sets the binaries' environment variables, for an environment
        that does not have this package.
    :param airflow_version: of the image that it is for.
    :param copies_links: in the place of a symbolic link there is a copy of what it leads to.
    :param script: where to write the startup script that sets the binaries' environment variables.
    :param replace_anything: also replaces a file that is no zip of this function, and a script that differs.
    :raises PluginsRefused: it would have errors; ``.problems``.
    :raises MwaaInputError: a source is not there or broken, two contradict each other, or the file cannot be written.
    """
    binaries = binaries or Binaries()
    if binaries.libaio is not None and binaries.oracle is None:
        raise MwaaInputError("--libaio is only for Oracle's Instant Client. Give --oracle, too.")
    if script is not None and not (binaries.oracle or binaries.hadoop or binaries.hive):
        raise MwaaInputError(
            "--startup-script: no binary needs environment variables. Give --oracle, --hadoop or --hive."
        )
    variables: list[Variable] = []
    oracle = None
    problems: list[Problem] = []
    written_files = [output] if script is None else [output, script]
    with Contents() as contents:
        for source in sources:
            add_source(contents, source, written=written_files, airflow_version=airflow_version)
        if binaries.oracle is not None:
            oracle = add_oracle(contents, binaries.oracle, binaries.libaio)
            variables += oracle.variables
        if binaries.hadoop is not None:
            variables += add_hadoop(contents, binaries.hadoop)[1]
        if binaries.hive is not None:
            variables += add_hive(contents, binaries.hive)[1]
        variables = merged(variables)
        if with_environment_plugin:
            if not variables:
                raise MwaaInputError(
                    "--environment-plugin sets variables for binaries, but none is given. Give --oracle, --hadoop or "
                    "--hive."
                )
            contents.add(ZipEntry(ENVIRONMENT_PLUGIN, plugin_source(variables).encode()), "--environment-plugin")
        if script is not None and not replace_anything:
            refuse_other_file(
                script,
                startup_script(variables),
                fix="Choose another name and append that to it, or replace it with --force.",
            )

        def check(file: BinaryIO) -> None:
            problems.extend(inspect(file, output.name, airflow_version=airflow_version))
            errors = sum(problem.severity is Severity.ERROR for problem in problems)
            if errors:
                more = f" Errors in all: {errors}." if errors > 1 else ""
                raise PluginsRefused(f"{problems[0]}{more}", problems=tuple(problems))
            if script is not None:  # before the zip replaces the old one: never one without the other
                write_text(script, startup_script(variables))

        written = write_zip(
            output,
            contents.entries(copies_links=copies_links),
            comment=_COMMENT,
            compression=compression,
            replace_anything=replace_anything,
            check=check,
        )
        counts = contents.counts()
        left_out = {kind: count for kind, count in contents.left_out.items() if count}
    return BuiltPlugins(written, counts, left_out, variables, oracle, problems)
