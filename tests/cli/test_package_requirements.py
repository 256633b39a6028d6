# SPDX-License-Identifier: Apache-2.0
"""``airflow-mwaa package requirements``: what it prints, how it ends, and what it does without uv."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from airflow_mwaa_provider.cli.main import main
from tests.cli.terminal import runner
from tests.packaging.conftest import filled_index, index, index_url, uv_cache
from tests.packaging.wheel_index import WheelIndex

__all__ = ["filled_index", "index", "index_url", "uv_cache"]
pytestmark = pytest.mark.once


def printed(folder: Path, text: str, *options: str, status: int = 0) -> list[str]:
    file = folder / "requirements.txt"
    file.write_text(text)
    result = runner().invoke(main, ["package", "requirements", str(file), "--airflow-version", "3.3.1", *options])
    assert result.exit_code == status, f"{result.stdout}{result.stderr}{result.exception!r}"
    return (result.stdout if status < 2 and result.stdout else result.stderr).splitlines()


def test_the_worst_comes_first_and_the_end_says_what_becomes_of_it(index: WheelIndex, tmp_path: Path) -> None:
    found = printed(tmp_path, "folium\nawswrangler==99.0\nrequests==2.0\n", status=1)
    assert found[0].startswith("error: requirements.txt:2: The index has no awswrangler==99.0")
    assert found[1].startswith("error: requirements.txt:3: requests==2.0 is not 2.34.2")
    assert found[2].startswith("warning: requirements.txt:1: folium has no exact version")
    assert found[3:] == ["requirements.txt: MWAA cannot install it (Airflow 3.3.1, Python 3.12): 2 errors."]


def test_warnings_do_not_fail_it(index: WheelIndex, tmp_path: Path) -> None:
    found = printed(tmp_path, "folium\n")
    assert found[-1].startswith(
        "requirements.txt: 2 packages, at most 0 MB to download (Airflow 3.3.1, Python 3.12; by uv"
    )
    assert printed(tmp_path, "# nothing\n") == ["requirements.txt: nothing to install (Airflow 3.3.1, Python 3.12)."]


def test_what_was_not_checked_is_said(index: WheelIndex, tmp_path: Path) -> None:
    for line in ("git+https://github.com/example/maps", "folium==${VERSION}", "-r /usr/local/airflow/dags/base.txt"):
        found = printed(tmp_path, f"{line}\n")
        assert found[-1] == (
            "requirements.txt: nothing else to install; 1 line was not checked (Airflow 3.3.1, Python 3.12)."
        )
    found = printed(
        tmp_path, "-r /usr/local/airflow/dags/base.txt\n", "--offline", str(tmp_path / "plugins.zip"), status=1
    )
    assert found[0].endswith("[not-here]")
    assert not (tmp_path / "plugins.zip").exists()


def test_for_machines_it_is_one_document(index: WheelIndex, tmp_path: Path) -> None:
    document = json.loads("\n".join(printed(tmp_path, "awswrangler==3.12.0\n", "--output", "json", status=1)))
    assert (document["ok"], document["constraints"], document["python"]) == (False, "image", "3.12")
    assert [problem["code"] for problem in document["problems"]] == ["pin-conflict"]
    assert document["moved_pins"][0] == {
        "name": "pandas",
        "pinned": "3.0.5",
        "wanted": "2.3.3",
        "line": 1,
        "chain": ["awswrangler", "pandas"],
        "essential": False,
    }
    document = json.loads("\n".join(printed(tmp_path, "folium==0.15.1\n", "--output", "json")))
    [branca, folium] = document["resolved"]
    assert (branca["name"], folium["name"], folium["is_wheel"]) == ("branca", "folium", True)
    assert document["download_bytes"] == branca["size_bytes"] + folium["size_bytes"]


def test_what_a_dependency_would_do_to_an_essential_pin(index: WheelIndex, tmp_path: Path) -> None:
    [line, _] = printed(tmp_path, "needs-old-flask==1.0\n", status=1)
    assert line == (
        "error: requirements.txt:1: needs-old-flask==1.0 would move what the image pins, which MWAA never lets happen: "
        "flask 3.1.3 to 2.0.0 (needs-old-flask needs flask). No version near it fits. Remove the line. [essential-pin]"
    )


def test_offline(index: WheelIndex, tmp_path: Path) -> None:
    found = printed(tmp_path, "folium==0.15.1\n", "--offline", str(tmp_path / "plugins.zip"))
    assert found[1].startswith(f"Wrote {tmp_path}/plugins.zip: 2 wheels, ")
    assert (tmp_path / "packaged_requirements.txt").is_file()
    found = printed(tmp_path, "# nothing\n", "--offline", str(tmp_path / "none.zip"), "--force")
    assert found[1:] == ["There is nothing to package; no file was written."]
    assert not (tmp_path / "none.zip").exists()
    found = printed(tmp_path, "folium==99\n", "--offline", str(tmp_path / "other.zip"), status=1)
    assert not (tmp_path / "other.zip").exists()


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        (
            "none.txt",
            ["--airflow-version", "3.3.1"],
            "none.txt cannot be read: No such file or directory. Give another",
        ),
        (os.devnull, ["--airflow-version", "3.4.9"], "Airflow 3.4.9: this version knows no MWAA image of it."),
        (os.devnull, ["--airflow-version", "3.3.1", "--wheels", "none"], "none: no such folder of wheels."),
        (os.devnull, [], "Missing option '--airflow-version'"),
    ],
)
def test_misuse(file: str, options: list[str], words: str) -> None:
    result = runner().invoke(main, ["package", "requirements", file, *options])
    assert result.exit_code == 2
    assert words in result.stderr


def test_without_uv_and_with_an_old_one(index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environments of the tests have no pip either."""
    monkeypatch.setenv("PATH", str(tmp_path))
    [first, second, last] = printed(tmp_path, "folium==0.15.1\nnumpy=1\n", status=1)
    assert first == (
        "error: requirements.txt:1: Requirements are resolved by uv, or by pip on Python 3.12 on Linux x86-64: "
        "neither was found. Install it: pip install --upgrade uv. [not-resolved]"
    )
    assert second.startswith(
        "error: requirements.txt:2: 'numpy=1' is not a requirement that pip can parse. Write numpy==1"
    )
    assert last.startswith("requirements.txt: not checked completely; it is unknown whether MWAA can install ")
    old = tmp_path / "uv"
    old.write_text("#!/bin/sh\necho uv 0.4.1\n")
    old.chmod(0o755)
    [line, _] = printed(tmp_path, "folium==0.15.1\n", status=1)
    assert "on Linux x86-64: uv 0.4.1 is too old, and no other was found. Install it" in line


def test_an_index_out_of_reach(index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:hunter2@127.0.0.1:1/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    text = "no-such-package-in-the-cache==1\n"
    [line, _] = printed(tmp_path, text, status=1)
    assert line.startswith("error: requirements.txt:1: The package index cannot be reached: ")
    assert "127.0.0.1:1/simple/no-such-package-in-the-cache" in line
    assert "hunter2" not in line
    found = json.loads("\n".join(printed(tmp_path, text, "--output", "json", status=1)))
    assert [problem["code"] for problem in found["problems"]] == ["not-resolved"]
    assert (found["ok"], found["resolved"]) == (False, [])
    [line, _] = printed(tmp_path, "", "--update-provider", "amazon==9.99.0", status=1)
    assert line.startswith("error: --update-provider: The package index cannot be reached: ")


def test_it_loads_neither_boto3_nor_airflow() -> None:
    code = (
        "import sys; import airflow_mwaa_provider.packaging.requirements.offline\n"
        "print(sorted({'airflow', 'boto3', 'requests', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"


def test_another_version_of_a_provider(index: WheelIndex, tmp_path: Path) -> None:
    found = printed(tmp_path, "folium==0.15.1\n", "--update-provider", "amazon==9.35.0")
    written = tmp_path / "constraints-3.12-updated.txt"
    assert found[1:] == [
        "  apache-airflow-providers-amazon 9.34.0 to 9.35.0",
        "  boto3 1.43.56 to 1.44.8",
        f"Wrote {written}: upload it into dags/, and put these lines into requirements.txt:",
        '  --constraint "/usr/local/airflow/dags/constraints-3.12-updated.txt"',
        "  apache-airflow-providers-amazon==9.35.0",
    ]
    found = printed(tmp_path, "boto3==1.30.0\n", "--update-provider", "amazon==9.35.0", "--force", status=1)
    assert (
        "Nothing was written. requirements.txt was checked with these lines, at its end or replacing its own:" in found
    )
    printed(tmp_path, "", "--update-provider", "amazon==9.35.0", "--offline", "x.zip", status=2)


class Held(dict[str, bytes]):
    """Files of an index whose requests are not answered until the test allows it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.asked, self.answered = threading.Event(), threading.Event()

    def __getitem__(self, name: str) -> bytes:
        if name.endswith(".whl"):
            self.asked.set()
            self.answered.wait(60)
        return super().__getitem__(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing_behind(
    number: signal.Signals, index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of its downloads."""
    printed(tmp_path, "folium==0.15.1\n")  # so that uv requests no more wheels
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    held = Held(index.files)
    monkeypatch.setattr(index, "files", held)
    arguments = ["package", "requirements", str(tmp_path / "requirements.txt"), "--airflow-version", "3.3.1"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "airflow_mwaa_provider.cli.main",
            *arguments,
            "--offline",
            str(tmp_path / "plugins.zip"),
        ],
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
        text=True,
    )
    try:
        assert held.asked.wait(60)
        assert list(temporary.iterdir())
        process.send_signal(number)
    finally:
        held.answered.set()
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "airflow-mwaa: interrupted\n")
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "plugins.zip").exists()
