# SPDX-License-Identifier: Apache-2.0
"""Add a new image's constraints file to the package: constraints.py add FILE.

The file's name, X.Y.Z.txt, or --airflow gives its version. It is stored unchanged, below a header. An invalid file is
reported in one line on stderr, with exit status 2. Needs only Python's standard library.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from airflow_mwaa_provider.exceptions import MwaaInputError  # noqa: E402
from airflow_mwaa_provider.packaging import image_constraints  # noqa: E402

FOLDER = ROOT / "airflow_mwaa_provider" / "packaging" / "constraints"
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
# Airflow's own address of the file; the example in the comments has X.Y.Z as the version.
ADDRESS = re.compile(r"constraints-(?P<airflow>[0-9.]+|X\.Y\.Z)/constraints-(?P<python>[0-9]+\.[0-9]+)\.txt")
COPIED = "# NOTE: The content of this file was copied from:"
END_OF_HEADER = "# This header was added; everything below it is unchanged.\n"
NEEDED = ("apache-airflow-providers-amazon", "boto3", "sqlalchemy")


def header(airflow: str, python: str, *, copied: bool) -> str:
    """Return the header of a file. It must contain no constraints option: MWAA reads one even in a comment."""
    if copied:
        source = [
            f"# Source: Apache Airflow's constraints, as in images/airflow/{airflow}/etc/airflow_constraints.txt of",
            "# https://github.com/aws/amazon-mwaa-docker-images.",
        ]
    else:
        source = ["# Source: Apache Airflow's constraints as published; no public image has a copy."]
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        f"# Amazon MWAA's image of Apache Airflow {airflow}: Python {python}.",
        *source,
    ]
    return "".join(f"{line}\n" for line in lines) + END_OF_HEADER


def read(path: Path) -> str:
    """Return a file's text without our header."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise MwaaInputError(f"{path}: {error.strerror}. Give a constraints file.") from error
    except UnicodeDecodeError as error:
        raise MwaaInputError(f"{path}: it is not UTF-8 text. Give a constraints file.") from error
    before, end, after = text.partition(END_OF_HEADER)
    return after if end and all(line.startswith("#") for line in before.splitlines()) else text


def python_in(text: str, where: str) -> str:
    """Return the Python that a file is for, from the addresses in its comments."""
    found = sorted({match["python"] for match in ADDRESS.finditer(text)})
    if len(found) != 1:
        what = f"it names {' and '.join(found)}" if found else "it names none"
        raise MwaaInputError(
            f"{where}: which Python is it for? {what[0].upper()}{what[1:]}. Its comments must hold the address that it "
            "was published at, .../constraints-X.Y.Z/constraints-3.N.txt."
        )
    return found[0]


def checked(text: str, airflow: str, where: str) -> str:
    """Return the file as stored, header first; refuse one that is not a constraints file of that Airflow."""
    pins = image_constraints.pins_in(text, where)
    missing = [name for name in NEEDED if name not in pins]
    if missing:
        raise MwaaInputError(f"{where}: no pin of {', '.join(missing)}. Give the constraints file of an MWAA image.")
    others = sorted({match["airflow"] for match in ADDRESS.finditer(text)} - {airflow, "X.Y.Z"})
    if others:
        raise MwaaInputError(f"{where}: it is of Airflow {' and '.join(others)}, not {airflow}. Correct --airflow.")
    return header(airflow, python_in(text, where), copied=COPIED in text) + text


def add(file: str, *, airflow: str | None = None, replace: bool = False, folder: Path = FOLDER) -> str:
    """Write a new image's file; return a description of what was done."""
    source = Path(file)
    version = airflow or source.name.removesuffix(".txt")
    if VERSION.fullmatch(version) is None:
        raise MwaaInputError(f"{file}: {version!r} is not a version X.Y.Z. Say which Airflow it is of with --airflow.")
    content = checked(read(source), version, file).encode()
    target = folder / f"{version}.txt"
    if target.is_file():
        if target.read_bytes() == content:
            return f"unchanged: {target.name}"
        if not replace:
            raise MwaaInputError(f"{target.name} is there, and differs. Replace it with --replace.")
    partial = target.with_name(f".{target.name}.part")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return f"wrote {target.name}: name the version in README.md and docs/index.md, and run tests/packaging"


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(
        prog="constraints.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add", help="bring in the constraints file of a new image")
    adding.add_argument("file", metavar="FILE")
    adding.add_argument("--airflow", metavar="X.Y.Z", help="its version, if its name does not tell")
    adding.add_argument("--replace", action="store_true", help="replace a file that differs")
    given = parser.parse_args(arguments)
    try:
        print(add(given.file, airflow=given.airflow, replace=given.replace, folder=folder))
    except MwaaInputError as error:
        print(f"constraints.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"constraints.py: {error.filename or folder}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
