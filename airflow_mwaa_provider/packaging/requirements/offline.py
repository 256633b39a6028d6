# SPDX-License-Identifier: Apache-2.0
"""Requirements that need no package index: a plugins.zip of their wheels, and the lines that install from it.

Source: MWAA's user guide, "Managing Python dependencies in requirements.txt", on wheels in plugins.zip.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.exceptions import MwaaInputError, ResolverUnavailable
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.file_writing import Draft
from airflow_mwaa_provider.packaging.image import PLUGINS_FOLDER
from airflow_mwaa_provider.packaging.image_constraints import normalized
from airflow_mwaa_provider.packaging.masking import masked
from airflow_mwaa_provider.packaging.problems import Severity
from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.downloading import open_file
from airflow_mwaa_provider.packaging.requirements.lines import extras_of, pinned_line
from airflow_mwaa_provider.packaging.requirements.parsing import decode, parse
from airflow_mwaa_provider.packaging.requirements.regime import Regime
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Unresolvable, find_resolver
from airflow_mwaa_provider.packaging.requirements.target import Target
from airflow_mwaa_provider.packaging.requirements.wheel_metadata import why_refused
from airflow_mwaa_provider.packaging.zip_writing import ZipEntry, write_zip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport
    from airflow_mwaa_provider.packaging.requirements.resolving import Package, PackageFile, Resolver
    from airflow_mwaa_provider.packaging.zip_writing import WrittenZip

__all__ = ["REQUIREMENTS_NAME", "OfflinePackage", "package_offline"]

REQUIREMENTS_NAME = "packaged_requirements.txt"
"""Name of the file beside the zip, to be uploaded as the environment's requirements.txt."""
_COMMENT = b"airflow-mwaa package requirements"
_AT_ONCE = 8
_CHUNK_BYTES = 1 << 16
_NOT_PACKAGED = (
    "needs-compiler",
    "not-here",
    "variable",
    "version-control",
    "constraints-not-here",
    "hash-without-pin",
)
"""Codes of warnings about something that the zip would lack."""


@dataclass(frozen=True)
class OfflinePackage:
    """The files that were written.

    :param report: of the check. If it has errors, or nothing is to be installed, nothing was written.
    :param zip: the plugins.zip.
    :param requirements: path of the file with the lines that install from it.
    """

    report: RequirementsReport
    zip: WrittenZip | None = None
    requirements: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return this as a JSON object."""
        offline = None
        if self.zip is not None:
            offline = {
                "zip": str(self.zip.path),
                "changed": self.zip.changed,
                "wheels": list(self.zip.names),
                "size_bytes": self.zip.size_bytes,
                "sha256": self.zip.sha256,
                "requirements": str(self.requirements),
            }
        return {**self.report.as_dict(), "offline": offline}


def package_offline(
    requirements: Path,
    airflow_version: str,
    zip_path: Path,
    *,
    wheels: Path | None = None,
    constraints: Path | None = None,
    replace_anything: bool = False,
) -> OfflinePackage:
    """Write a plugins.zip with the wheels that a requirements file needs, and a requirements file that uses no index.

    The wheels are those that the check has found for the image's Python and platform. They are downloaded and compared
    with the index's SHA-256; a source that is pure Python is built. Then the new file is resolved from the wheels
    alone. The same wheels produce the same zip, byte for byte. Packages that the image already has are included.

    :param requirements: path of the file.
    :param airflow_version: of the environment, such as ``3.3.1``.
    :param zip_path: where the zip is written; ``packaged_requirements.txt`` is written beside it.
    :param wheels: a folder with your own wheels.
    :param constraints: a copy of the constraints file that the requirements name.
    :param replace_anything: also replaces files that this did not write.
    :return: the report of the check, and the files that were written: none if it has errors, or nothing is to be
        installed.
    :raises MwaaInputError: a file cannot be read or written, or would replace one that this did not write.
    :raises ResolverUnavailable: neither uv nor pip can be used, or something cannot be downloaded or built.
    """
    if not zip_path.name:
        raise MwaaInputError(f"{str(zip_path)!r} is not a file name. Give one, such as plugins.zip.")
    beside = zip_path.with_name(REQUIREMENTS_NAME)
    if requirements.resolve() in (beside.resolve(), zip_path.resolve()):
        raise MwaaInputError(f"{requirements} would be overwritten by the result. Rename it, or name another zip.")
    if beside.is_dir():
        raise MwaaInputError(f"{beside} is a folder. Move it, or name a zip in another.")
    if beside.exists() and not replace_anything and not _is_ours(beside):
        raise MwaaInputError(
            f"{beside} exists and was not written by this command. Move it, or replace it with --force."
        )
    resolver = find_resolver(Target.of(airflow_version), wheels)
    report = check_requirements(
        requirements, airflow_version, wheels=wheels, constraints=constraints, resolver=resolver
    )
    problems = tuple(
        replace(problem, severity=Severity.ERROR) if problem.code in _NOT_PACKAGED else problem
        for problem in report.problems
    )
    report = replace(report, problems=problems)
    if report.errors or not report.resolved:
        return OfflinePackage(report)
    lines = _lines(requirements, report)
    with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as folder:
        files = _fetch_all(report.resolved, Path(folder), resolver)
        unfit = [file.name for file in files if resolver.target.rank(file.name) is None]
        if unfit:
            raise ResolverUnavailable(
                f"{unfit[0]} was built on this machine and does not fit the image. Build it on Amazon Linux 2023, and "
                "give its folder with --wheels."
            )
        _check_metadata(report, files)
        _verify(lines, report, replace(resolver, wheels=Path(folder)))
        try:
            # Both or neither: lines that install from an older zip would fail.
            with Draft(beside) as draft:
                draft.file.write("\n".join([*_heading(report), "", *lines, ""]).encode())
                draft.file.flush()
                written = write_zip(
                    zip_path,
                    [ZipEntry(file.name, file) for file in files],
                    comment=_COMMENT,
                    replace_anything=replace_anything,
                )
        except OSError as error:
            raise MwaaInputError(
                f"{beside} cannot be written: {error.strerror or error}. Name a zip in another folder."
            ) from error
    return OfflinePackage(report, written, beside)


def _heading(report: RequirementsReport) -> list[str]:
    heading = [
        f"# For Airflow {report.target.airflow_version}: the wheels are in plugins.zip. Made by airflow-mwaa package.",
        f"--find-links {PLUGINS_FOLDER}",
        "--no-index",
    ]
    if report.regime is not Regime.IMAGE:
        # Like the original file, it must not be installed under the image's constraints.
        heading.append("# --constraint none: these versions were resolved without the image's own constraints.")
    return heading


def _is_ours(path: Path) -> bool:
    try:
        return "Made by airflow-mwaa package." in path.read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return False


def _lines(requirements: Path, report: RequirementsReport) -> list[str]:
    """Return a line for each of the file's packages: with the version that was found, without address or options."""
    found = {package.name: package for package in report.resolved}
    text, _ = decode(requirements.read_bytes())
    lines = []
    for line in parse(text):
        if not report.target.is_wanted(line):
            continue
        if line.requirement is not None:
            name = normalized(line.requirement.name)
            if name in found and found[name].version:
                lines.append(pinned_line(line, found[name].version))
        elif line.asked:
            by_file = (package for package in report.resolved if line.file_name == _name_of(package))
            lines += [f"{package.name}{extras_of(line)}=={package.version}" for package in by_file]
    return list(dict.fromkeys(lines))


def _name_of(package: Package) -> str:
    file = package.wheel or package.source
    return file.name if file else ""


def _check_metadata(report: RequirementsReport, files: Sequence[Path]) -> None:
    """Check the wheels that the image does not have for metadata that pip refuses and the resolver does not."""
    pins = image_constraints.pins_of(report.target.airflow_version)
    new = [
        file for package, file in zip(report.resolved, files, strict=True) if pins.get(package.name) != package.version
    ]
    for file, needed in zip(new, why_refused([(str(file), None) for file in new]), strict=True):
        if needed:
            raise ResolverUnavailable(
                f"pip refuses {file.name}: its metadata says that it needs {needed[:100]!r}, which is not a valid "
                "requirement. Choose another version of it."
            )


def _verify(lines: list[str], report: RequirementsReport, resolver: Resolver) -> None:
    """Resolve the new file from the wheels alone, as an environment without an index does."""
    versions = tuple(f"{package.name}=={package.version}" for package in report.resolved if package.version)
    try:
        resolver.resolve(Asked(tuple(lines), versions, options=(("no-index", ""),)))
    except Unresolvable as error:
        raise ResolverUnavailable(
            f"{report.name}: its wheels alone cannot be installed: {str(error)[:500].rstrip('. ')}. Name the missing "
            "package in the file."
        ) from None


def _fetch_all(packages: Sequence[Package], folder: Path, resolver: Resolver) -> list[Path]:
    """Download or build wheels, eight at once; if one fails, or the command is interrupted, the others end, too."""
    ended = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            return list(pool.map(lambda package: _fetch(package, folder, resolver, ended), packages))
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _fetch(package: Package, folder: Path, resolver: Resolver, ended: threading.Event) -> Path:
    if package.wheel is not None:
        return _download(package.wheel, folder, ended)
    assert package.source is not None
    with tempfile.TemporaryDirectory(prefix="airflow-mwaa-") as sources:
        source = _download(package.source, Path(sources), ended)
        try:
            return resolver.build(source, folder)
        except Unresolvable as error:
            raise ResolverUnavailable(
                f"{package.source.name} cannot be built: {str(error)[-300:].rstrip('. ')}. Build a wheel of it, and "
                "give its folder with --wheels."
            ) from None


def _download(file: PackageFile, folder: Path, ended: threading.Event) -> Path:
    path = folder / Path(file.name).name
    try:
        with open_file(file.address) as answer, path.open("wb") as target:
            while not ended.is_set() and (chunk := answer.read(_CHUNK_BYTES)):
                target.write(chunk)
    except (OSError, ValueError) as error:
        raise ResolverUnavailable(
            f"{masked(file.address)} cannot be downloaded: {error}. Check the connection to the package index, and try "
            "again."
        ) from None
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if file.sha256 and digest != file.sha256:
        raise ResolverUnavailable(
            f"{file.name} is not the file that the index promises: its SHA-256 differs. Try again, and report it to "
            "the operator of the index."
        )
    return path
