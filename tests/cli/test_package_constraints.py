# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa package constraints``: the pins of MWAA's images, listed and printed."""

from __future__ import annotations

import ensurepip
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.packaging import image_constraints
from tests.cli.terminal import runner

VERSIONS = image_constraints.versions()
COMMAND = [sys.executable, "-m", "airflow_mwaa_provider.cli.main", "package", "constraints"]


def printed(*arguments: str, status: int = 0) -> str:
    result = runner().invoke(main, ["package", "constraints", *arguments])
    assert result.exit_code == status, result.stderr
    assert (result.stderr if status == 0 else result.stdout) == ""
    return result.stdout or result.stderr


def test_without_a_version_it_lists_the_images_in_80_columns() -> None:
    heading, *rows = printed().splitlines()
    assert heading.split() == ["Airflow", "Python", "amazon", "provider", "boto3", "pins"]
    assert [row.split()[0] for row in rows] == list(VERSIONS)
    assert rows[VERSIONS.index("3.3.1")].split() == ["3.3.1", "3.12", "9.34.0", "1.43.56", "696"]
    assert rows[VERSIONS.index("2.10.3")].split() == ["2.10.3", "3.11", "9.0.0", "1.35.36", "726"]
    assert all(len(line) <= 80 for line in (heading, *rows))


def test_for_machines_the_list_and_a_file_are_json() -> None:
    images = json.loads(printed("--output", "json"))
    assert [image["airflow"] for image in images] == list(VERSIONS)
    for image in images:
        told = json.loads(printed(image["airflow"], "--output", "json"))
        assert list(told) == ["airflow", "python", "pins"]
        assert told["pins"] == image_constraints.pins_of(image["airflow"])
        assert image == {
            "airflow": told["airflow"],
            "python": told["python"],
            "amazon_provider": told["pins"]["apache-airflow-providers-amazon"],
            "boto3": told["pins"]["boto3"],
            "pins": len(told["pins"]),
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_is_printed_as_it_is(version: str) -> None:
    result = runner().invoke(main, ["package", "constraints", version])
    with image_constraints.path_of(version) as path:
        assert result.stdout_bytes == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["2.10.4"],
            "airflow-mwaa: Airflow 2.10.4: this version knows no MWAA image of it. The nearest is 2.10.3; supported: ",
        ),
        (["2.10.4", "--output", "json"], "The nearest is 2.10.3; supported: 2.8.1, "),
        (["latest"], "airflow-mwaa: 'latest' is not an Airflow version. Give one that MWAA has an image of: 2.8.1, "),
        ([""], "'' is not an Airflow version."),
    ],
)
def test_an_unknown_version_is_one_line_and_exit_status_2(arguments: list[str], words: str) -> None:
    [line] = printed(*arguments, status=2).splitlines()
    assert words in line


@pytest.mark.parametrize("arguments", [["3.3.1", "2.10.3"], ["--output", "yaml"], ["--outptu", "json"]])
def test_misuse_has_exit_status_2(arguments: list[str]) -> None:
    assert "Usage: " in printed(*arguments, status=2)


def test_the_help_has_an_example_and_fits_80_columns() -> None:
    text = printed("--help")
    assert "airflow-mwaa package constraints 3.3.1 > constraints.txt" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_reader_that_has_gone_is_no_reason_to_complain() -> None:
    """As with ``| head -1``, but without a race: nothing reads the output from the start."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*COMMAND, "3.3.1"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writing)
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [[], ["3.3.1"], ["--output", "json"]], ids=["list", "file", "json"])
def test_it_loads_neither_boto3_nor_airflow(arguments: list[str]) -> None:
    code = (
        "import sys; from airflow_mwaa_provider.cli.main import main\n"
        f"main(['package', 'constraints', *{arguments}], standalone_mode=False)\n"
        "heavy = {'airflow', 'boto3', 'botocore', 'packaging', 'psycopg2', 'requests', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout
    assert done.stderr.strip() == "[]"


def bundled_pip() -> Path:
    """Python's bundled pip: the environments of the tests have none."""
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    [wheel] = [wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")][:1]
    return wheel / "pip"


def make_wheel(folder: Path, name: str, version: str) -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_pip_obeys_what_is_printed(tmp_path: Path) -> None:
    """If an index has two versions, it uses the pinned one, not the newest."""
    pinned = image_constraints.pins_of("3.3.1")["boto3"]
    for offered in (pinned, "99.0.0"):
        make_wheel(tmp_path, "boto3", offered)
    file = tmp_path / "constraints.txt"
    with file.open("wb") as target:
        subprocess.run([*COMMAND, "3.3.1"], stdout=target, check=True, timeout=60)
    pip = [sys.executable, "-I", str(bundled_pip()), "--isolated", "--disable-pip-version-check", "install"]
    pip += ["--dry-run", "--ignore-installed", "--no-index", "--find-links", str(tmp_path), "-c", str(file), "boto3"]
    done = subprocess.run(pip, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == f"Would install boto3-{pinned}"
