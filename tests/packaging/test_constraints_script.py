# SPDX-License-Identifier: Apache-2.0
"""How a new image's constraints file is added: ``scripts/lib/constraints.py``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging import image_constraints
from tests.packaging.scripts import LIB, load

PACKAGE = Path(image_constraints.__file__).parents[1]
KEPT = PACKAGE / "packaging" / "constraints"
constraints = load("constraints")

PUBLISHED = """
#
# This constraints file was automatically generated.
#     --constraint \\
#    "https://raw.githubusercontent.com/apache/airflow/constraints-X.Y.Z/constraints-3.13.txt"
#
apache-airflow-providers-amazon==10.0.0
Boto3==2.0.0
SQLAlchemy==2.1.0
"""
COPIED = (
    "# NOTE: The content of this file was copied from:\n"
    "# https://raw.githubusercontent.com/apache/airflow/constraints-3.4.1/constraints-3.13.txt\n"
) + PUBLISHED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the command writes to in these tests."""
    folder = tmp_path / "constraints"
    folder.mkdir()
    return folder


def test_a_file_gets_a_header_and_stays_as_it_was(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "3.4.1.txt"
    given.write_text(COPIED)
    assert constraints.main(["add", str(given)], folder) == 0
    assert capsys.readouterr().out.startswith("wrote 3.4.1.txt: ")
    [written] = folder.iterdir()
    header, _, rest = written.read_text().partition("everything below it is unchanged.\n")
    assert rest == COPIED
    assert "# Amazon MWAA's image of Apache Airflow 3.4.1: Python 3.13.\n" in header
    assert "images/airflow/3.4.1/etc/airflow_constraints.txt" in header
    assert constraints.main(["add", str(given)], folder) == 0
    assert constraints.main(["add", str(written)], folder) == 0, "its own file is none that differs"
    assert capsys.readouterr().out == "unchanged: 3.4.1.txt\n" * 2


def test_a_published_file_is_not_said_to_be_in_an_image(tmp_path: Path, folder: Path) -> None:
    given = tmp_path / "constraints-3.13.txt"
    given.write_text(PUBLISHED)
    assert constraints.main(["add", str(given), "--airflow", "3.4.1"], folder) == 0
    header, _, rest = (folder / "3.4.1.txt").read_text().partition("everything below it is unchanged.\n")
    assert rest == PUBLISHED
    assert "as published" in header
    assert "images/airflow" not in header


def test_another_file_of_a_version_is_replaced_when_asked_to(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "3.4.1.txt"
    given.write_text(COPIED)
    constraints.main(["add", str(given)], folder)
    before = (folder / "3.4.1.txt").read_text()
    given.write_text(COPIED.replace("10.0.0", "10.0.1"))
    capsys.readouterr()
    assert constraints.main(["add", str(given)], folder) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "constraints.py: 3.4.1.txt is there, and differs. Replace it with --replace.\n",
    )
    assert (folder / "3.4.1.txt").read_text() == before
    assert constraints.main(["add", str(given), "--replace"], folder) == 0
    assert (folder / "3.4.1.txt").read_text() == before.replace("10.0.0", "10.0.1")
    assert [path.name for path in folder.iterdir()] == ["3.4.1.txt"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pins.txt", COPIED, "'pins' is not a version X.Y.Z. Say which Airflow it is of with --airflow."),
        ("3.4.txt", COPIED, "'3.4' is not a version X.Y.Z."),
        ("3.4.2.txt", COPIED, "it is of Airflow 3.4.1, not 3.4.2. Correct --airflow."),
        ("3.4.1.txt", COPIED + "pandas>=2\n", "3.4.1.txt:12: 'pandas>=2' is not a pin. Write it as name==version."),
        ("3.4.1.txt", "<!DOCTYPE html>\n<html>404</html>\n", "3.4.1.txt:1: '<!DOCTYPE html>' is not a pin."),
        ("3.4.1.txt", COPIED.replace("apache-airflow-providers-amazon==10.0.0\n", ""), "no pin of apache-airflow-prov"),
        ("3.4.1.txt", COPIED.replace("Boto3==2.0.0\n", ""), "no pin of boto3. Give the constraints file of an MWAA"),
        ("3.4.1.txt", "", "no pin of apache-airflow-providers-amazon, boto3, sqlalchemy."),
        ("3.4.1.txt", COPIED.replace("3.13.txt", "main.txt"), "which Python is it for? It names none. Its comments"),
        ("3.4.1.txt", COPIED.replace("3.13.txt", "3.12.txt", 1), "which Python is it for? It names 3.12 and 3.13."),
        ("3.4.1.txt", "\udcff" + COPIED, "it is not UTF-8 text."),
        ("3.4.1.txt", None, "No such file or directory. Give a constraints file."),
    ],
)
def test_what_is_no_constraints_file_is_one_line_and_writes_nothing(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, words: str
) -> None:
    given = tmp_path / name
    if text is not None:
        given.write_text(text, errors="surrogateescape")
    assert constraints.main(["add", str(given)], folder) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("constraints.py: ")
    assert words in line
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "3.4.1.txt"
    given.write_text(COPIED)
    assert constraints.main(["add", str(given)], tmp_path / "absent") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "No such file or directory" in line


@pytest.mark.parametrize("version", image_constraints.versions())
def test_every_file_that_is_kept_came_in_this_way(version: str, folder: Path) -> None:
    """The stored files are what the command writes: none was edited afterwards."""
    assert constraints.main(["add", str(KEPT / f"{version}.txt")], folder) == 0
    assert (folder / f"{version}.txt").read_bytes() == (KEPT / f"{version}.txt").read_bytes()


def test_it_runs_in_a_clone_by_its_path_with_nothing_installed(tmp_path: Path) -> None:
    clone = tmp_path / "a clone, ümlaut"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(LIB, clone / "scripts" / "lib", ignore=ignore)
    package = clone / PACKAGE.name
    shutil.copytree(PACKAGE / "packaging", package / "packaging", ignore=ignore)
    for name in ("__init__.py", "exceptions.py"):
        shutil.copyfile(PACKAGE / name, package / name)
    (tmp_path / "3.4.1.txt").write_text(COPIED)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(clone / "scripts" / "lib" / "constraints.py"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run("add", "3.4.1.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert (package / "packaging" / "constraints" / "3.4.1.txt").read_text().endswith(COPIED)
    assert run("add", "absent.txt").returncode == 2
    assert run().returncode == 2
    assert "constraints.py add FILE" in run("--help").stdout


def test_a_new_file_is_found_with_its_python_and_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "3.4.1.txt").write_text(COPIED)
    folder = tmp_path / "packaging" / "constraints"
    shutil.copytree(KEPT, folder)
    assert constraints.main(["add", str(tmp_path / "3.4.1.txt")], folder) == 0
    (folder / "notes.md").touch()
    monkeypatch.setattr(image_constraints.resources, "files", lambda _package: tmp_path / "packaging")
    assert image_constraints.versions()[-2:] == ("3.3.1", "3.4.1")
    assert image_constraints.python_of("3.4.1") == "3.13"
    assert image_constraints.pins_of("3.4.1") == {
        "apache-airflow-providers-amazon": "10.0.0",
        "boto3": "2.0.0",
        "sqlalchemy": "2.1.0",
    }
    (folder / "3.4.2.txt").write_text((folder / "3.4.1.txt").read_text())
    with pytest.raises(MwaaInputError, match=r"^3\.4\.2\.txt: its header does not name its image\. Add it"):
        image_constraints.python_of("3.4.2")
