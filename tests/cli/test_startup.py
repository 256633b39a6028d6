# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa startup``: scripts on stdout or in a file, for people and for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import runner

pytestmark = pytest.mark.once

CODEARTIFACT = ("codeartifact", "--domain", "amazon", "--domain-owner", "112233445566", "--repository", "MyRepo")
DBT = ("dbt", "--dbt-version", "1.11.2", "--adapter", "postgres", "--adapter", "redshift==1.9.0")
RUNTIME = ("runtime", "--package", "libaio", "--package", "webserver=unzip")
COMMANDS = [CODEARTIFACT, DBT, RUNTIME]


def printed(*arguments: str, status: int = 0) -> str:
    result = runner().invoke(main, ["startup", *arguments])
    assert result.exit_code == status, result.stderr
    assert (result.stderr if status == 0 else result.stdout) == ""
    return result.stdout or result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_script_is_printed_and_bash_can_read_it(command: tuple[str, ...]) -> None:
    script = printed(*command)
    assert script.startswith("#!/bin/bash\n")
    assert script.endswith("\n")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert json.loads(printed(*command, "--output", "json"))["script"] == script


def test_a_file_is_written_and_what_comes_next_is_said(tmp_path: Path) -> None:
    path = tmp_path / "startup.sh"
    said = printed(*CODEARTIFACT, "--output", str(path))
    assert path.read_text() == printed(*CODEARTIFACT)
    assert said.startswith(f"Wrote {path}: {path.stat().st_size} bytes\n")
    assert '"codeartifact:ReadFromRepository"' in said
    assert printed(*CODEARTIFACT, "--output", str(path)).startswith(f"Unchanged: {path}")
    told = json.loads(printed(*CODEARTIFACT, "--output", str(path), "--output", "json"))
    assert (told["file"], told["changed"], told["script"]) == (str(path), False, path.read_text())
    assert len(told["policy"]["Statement"]) == 3


def test_a_file_that_may_hold_other_parts_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "startup.sh"
    path.write_text("mine")
    assert printed(*CODEARTIFACT, "--output", str(path), status=2) == (
        f"airflow-mwaa: {path} exists and differs from what would be written. Choose another name, replace it with "
        "--force, or append to it: leave --output out, and redirect with '>>'.\n"
    )
    assert path.read_text() == "mine"
    printed(*CODEARTIFACT, "--output", str(path), "--force")
    assert path.read_text() == printed(*CODEARTIFACT)


def test_a_symbolic_link_and_the_permissions_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.sh", tmp_path / "link.sh"
    link.symlink_to("real.sh")
    printed(*CODEARTIFACT, "--output", str(link))
    real.chmod(0o700)
    printed(*DBT, "--output", str(link), "--force")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == (printed(*DBT), 0o700)


def test_what_is_for_which_container(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one\n", encoding="utf-8-sig")
    (tmp_path / "two.txt").write_text("two==2 # no line break")
    files = ["--requirements", f"worker={tmp_path}/one.txt", "--requirements", f"{tmp_path}/two.txt"]
    calls = [line for line in printed(*RUNTIME, *files).splitlines() if line.startswith("airflow_mwaa_")]
    assert [line.removesuffix(" ||") for line in calls if not line.endswith("{")] == [
        "airflow_mwaa_packages worker libaio",
        "airflow_mwaa_packages scheduler libaio",
        "airflow_mwaa_packages webserver unzip",
        "airflow_mwaa_requirements worker one two==2",
        "airflow_mwaa_requirements scheduler two==2",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--package", "wrker=libaio"], "'wrker=libaio': 'wrker' is not one of worker, scheduler, webserver."),
        (["--requirements", "worker="], "'worker=': the value for the worker is empty."),
        (["--package", "worker="], "'worker=': the value for the worker is empty."),
        (["--requirements", "/no/such/file"], "/no/such/file: cannot be read: No such file or directory. Name a req"),
        ([], "airflow-mwaa: runtime: nothing to install. Give packages or requirements."),
    ],
)
def test_runtime_says_what_it_cannot_use(arguments: list[str], words: str) -> None:
    assert words in printed("runtime", *arguments, status=2).splitlines()[-1]


def test_an_error_names_the_file_and_its_line(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one\ntwo \\")
    (tmp_path / "two.txt").write_text("three\n./wheels/x.whl\n")
    files = [f"--requirements=worker={tmp_path}/{file}.txt" for file in ("one", "two")]
    said = printed("runtime", *files, status=2)
    assert said.startswith(f"airflow-mwaa: {tmp_path}/two.txt, line 2: names a file that the container does not have")
    (tmp_path / "two.txt").write_text("three\n")
    assert "airflow_mwaa_requirements worker one two three ||" in printed("runtime", *files)


def test_parts_can_be_put_one_after_another() -> None:
    script = "".join(printed(*command) for command in COMMANDS)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_part_begins_on_a_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``>>``: existing lines may end without a line break."""
    path = tmp_path / "startup.sh"
    for before in ("", "export STAGE=dev", "export STAGE=dev\n"):
        path.write_text(before)
        with path.open("a") as file, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            main(["startup", *DBT], standalone_mode=False)
        lines = path.read_text().splitlines()
        assert lines[lines.index("#!/bin/bash") :] == printed(*DBT).splitlines()
        assert [line for line in lines[: lines.index("#!/bin/bash")] if line] == before.splitlines()


def test_an_output_that_takes_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full, Path(os.devnull).open("w") as null, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit, match="1"):
            main(["startup", *DBT], standalone_mode=False)
        os.dup2(null.fileno(), full.fileno())  # what is left in its buffer
    assert capsys.readouterr().err == (
        "airflow-mwaa: output: cannot be written: No space left on device. Free some space, or write to another disk.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--domain", "ama'zon"], 'airflow-mwaa: domain "ama\'zon": not valid. Give 2 to 50 '),
        (["--domain-owner", "1122"], "airflow-mwaa: domain owner '1122': not valid. Give the "),
        (["--output", "startup.txt"], "'startup.txt' is neither a FILE.sh nor one of text, json."),
        (["--output", "/no/such/folder/startup.sh"], "/no/such/folder/startup.sh cannot be written: No such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(arguments: list[str], words: str) -> None:
    assert words in printed(*CODEARTIFACT, *arguments, status=2).splitlines()[-1]
