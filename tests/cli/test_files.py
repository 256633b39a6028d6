# SPDX-License-Identifier: Apache-2.0
"""``import`` and ``export`` with files, stdin, stdout and S3: all or nothing, and no values in the output."""

from __future__ import annotations

import json
import signal
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.cli.terminal import AWKWARD, REST_WAYS, WAYS, Terminal
from tests.client.failure import HUSH
from tests.client.world import KEY, REGION, SECRET, World

DOCUMENTS: dict[str, dict[str, Any]] = {
    "variables": {
        "it's": AWKWARD,
        "nested": {"a": [1, None]},
        "line\nbreak": {"value": HUSH, "description": AWKWARD},
    },
    "connections": {"db": {"conn_type": "http", "host": AWKWARD, "extra": '{"k": "v"}'}},
    "pools": {"it's": {"slots": 4, "description": AWKWARD, "include_deferred": True}},
}


def values(world: World, env_name: str = "env3") -> dict[str, str]:
    return {key: row["value"] for key, row in world.airflow(env_name).objects["variables"].items()}


@pytest.mark.parametrize(
    ("nouns", "env_name", "transport"),
    [("variables", *way) for way in WAYS] + [(nouns, *way) for nouns in ("connections", "pools") for way in REST_WAYS],
)
def test_what_is_imported_is_exported(
    terminal: Terminal, world: World, tmp_path: Path, nouns: str, env_name: str, transport: str
) -> None:
    document, source, target = DOCUMENTS[nouns], tmp_path / "source.json", tmp_path / "target.json"
    if transport == "cli":  # which shows no descriptions
        document = {key: value for key, value in document.items() if "break" not in key}
    source.write_text(json.dumps(document), encoding="utf-8")
    way = (env_name, "--transport", transport)
    planned = terminal.json(nouns, "import", *way, str(source), "--dry-run")
    assert planned["created"] == sorted(document)
    assert world.airflow(env_name).objects[nouns] == {}
    done = terminal.json(nouns, "import", *way, str(source))
    assert done == {**planned, "dry_run": False}
    told = terminal.run(nouns, "export", *way, str(target))
    noun = nouns if len(document) > 1 else nouns.removesuffix("s")
    assert told.stdout == f"{len(document)} {noun} of {env_name} written to {target}\n"
    assert target.stat().st_mode & 0o777 == 0o600
    exported = target.read_text(encoding="utf-8")
    again = terminal.json(nouns, "import", *way, "-", stdin=exported)
    assert (again["same"], again["changed"]) == (sorted(document), [])
    assert terminal.run(nouns, "export", *way, "-").stdout == exported


def test_what_an_import_says_has_keys_and_no_values(terminal: Terminal, world: World) -> None:
    document = {"same": HUSH, "other": HUSH, "line\nbreak": HUSH}
    for key, value in (("same", HUSH), ("other", "old")):
        world.airflow().objects["variables"][key] = {"key": key, "value": value, "description": None}
    text = json.dumps(document)
    planned = terminal.run("variables", "import", "env3", "-", "--dry-run", stdin=text).stdout
    assert planned == (
        "  would create  line\\nbreak\n"
        "  would change  other\n"
        "variables of env3: 1 to create, 1 to change, 1 the same; nothing was written\n"
    )
    skipped = terminal.run("variables", "import", "env3", "-", "--on-conflict", "skip", stdin=text).stdout
    assert skipped == (
        "  created  line\\nbreak\n  skipped  other\nvariables of env3: 1 created, 0 changed, 1 skipped, 1 the same\n"
    )
    line = terminal.error("variables", "import", "env3", "-", "--on-conflict", "fail", status=1, stdin=text)
    assert "'other' already exist with other content; nothing was written." in line
    assert "set --on-conflict to overwrite or skip" in line
    assert terminal.run("variables", "import", "env3", "-", stdin=text).stdout.startswith("  changed  other\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'{{"a": "{HUSH}", "a": 1}}', "the key 'a' is repeated"),
        ("[1]", "a list, not a JSON object"),
        (f'{{"a": "{HUSH}', "is not JSON: "),
        ('{"a": "***"}', "the mask ***"),
        ("", "is not JSON: "),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
        ('{"a": NaN}', "NaN is not a JSON value"),
    ],
)
def test_a_bad_file_is_refused_and_not_quoted(
    terminal: Terminal, world: World, tmp_path: Path, content: str | bytes, words: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert words in terminal.error("variables", "import", "env3", str(path), status=2)
    assert words in terminal.error("variables", "import", "env3", "-", status=2, stdin=content)
    assert world.airflow().objects["variables"] == {}


def test_what_cannot_be_put_back_needs_a_word(terminal: Terminal, world: World) -> None:
    row = {"connection_id": "db", "conn_type": "http", "host": "h", "password": "old"}
    world.airflow().objects["connections"]["db"] = row
    text = json.dumps({"db": {"conn_type": "http", "password": HUSH}})
    line = terminal.error("connections", "import", "env3", "-", status=1, stdin=text)
    assert line.endswith("accept that with --overwrite-hidden.")
    terminal.run("connections", "import", "env3", "-", "--overwrite-hidden", stdin=text)
    assert world.airflow().objects["connections"]["db"]["password"] == HUSH
    assert HUSH not in terminal.run("connections", "export", "env3", "-").stdout


def test_what_airflow_masks_is_left_out_when_asked(terminal: Terminal, world: World, tmp_path: Path) -> None:
    world.airflow().shows_like_airflow_3 = True
    for key in ("open", "a_secret"):
        world.airflow().objects["variables"][key] = {"key": key, "value": HUSH, "description": None}
    path = tmp_path / "all.json"
    line = terminal.error("variables", "export", "env3", str(path), status=1)
    assert line.endswith("Leave them out with --leave-out-hidden.")
    assert not path.exists()
    result = terminal.run("variables", "export", "env3", str(path), "--leave-out-hidden", "--output", "json")
    assert json.loads(result.stdout) == {
        "env_name": "env3",
        "destination": str(path),
        "exported": ["open"],
        "left_out": ["a_secret"],
    }
    assert result.stderr == "airflow-mwaa: omitted, because Airflow masks them: 'a_secret'\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_puts_back_what_it_wrote(
    terminal: Terminal, world: World, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "many.json"
    path.write_text(json.dumps({f"k{n:02}": "v" for n in range(40)}))
    world.fault("rest", "delay", delay_s=0.2)
    process = terminal.start("variables", "import", "env3", str(path), "--transport", "web_session")
    world.until(lambda: len(values(world)) > 4, timeout_s=30)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert errors.decode().splitlines() == [
        "airflow-mwaa: interrupted; rolling back what was written ...",
        "airflow-mwaa: interrupted; the variables of env3 are as they were before.",
    ]
    assert (process.returncode, output) == (1, b"")
    assert values(world) == {}


def test_from_s3_and_to_s3(terminal: Terminal, world: World, moto_url: str) -> None:
    s3 = boto3.client(
        "s3", region_name=REGION, endpoint_url=moto_url, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    bucket = f"bucket-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    terminal.variables["AWS_ENDPOINT_URL_S3"] = moto_url
    s3.put_object(Bucket=bucket, Key="in.json", Body=json.dumps({"a": AWKWARD}).encode())
    terminal.run("variables", "import", "env3", f"s3://{bucket}/in.json")
    terminal.run("variables", "export", "env3", f"s3://{bucket}/out.json")
    assert json.loads(s3.get_object(Bucket=bucket, Key="out.json")["Body"].read()) == {"a": AWKWARD}
    terminal.run("variables", "set", "env3", "b", "--from-file", f"s3://{bucket}/in.json")
    assert json.loads(values(world)["b"]) == {"a": AWKWARD}
    line = terminal.error("variables", "import", "env3", f"s3://{bucket}/none.json", status=2)
    assert line == f"'s3://{bucket}/none.json' does not exist (NoSuchKey). Check bucket and key."


def test_the_end_of_a_pipe_ends_an_export_without_a_traceback(terminal: Terminal, world: World) -> None:
    for number in range(100):
        key = f"k{number}"
        world.airflow().objects["variables"][key] = {"key": key, "value": "v" * 5000, "description": None}
    process = terminal.start("variables", "export", "env3", "-")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    process.wait(30)
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
