# SPDX-License-Identifier: Apache-2.0
"""The zip of the Lambda functions, and the command that builds it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

import airflow_mwaa_provider
from airflow_mwaa_provider import aws_lambda, aws_lambda_endpoints
from airflow_mwaa_provider.cli.main import main
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.lambda_setup import HandlerName, setup_of
from airflow_mwaa_provider.packaging.lambda_zip import build_zip, write_zip

PACKAGE = Path(airflow_mwaa_provider.__file__).parent
ROOT = Path(__file__).resolve().parents[2]
_SHA = "from airflow_mwaa_provider.packaging.lambda_zip import build_zip; print(build_zip().sha256)"


def names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_it_holds_what_the_handlers_need_and_no_more() -> None:
    wanted = ["__init__.py", "py.typed", "exceptions.py", "quiet_logs.py", "s3_uri.py"]
    wanted += [path.name for path in PACKAGE.glob("aws_lambda*.py")]
    of_client = [path.relative_to(PACKAGE) for path in (PACKAGE / "client").rglob("*.py")]
    wanted += [path.as_posix() for path in of_client if "secrets_migration" not in path.parts]
    assert names(build_zip().content) == sorted(f"airflow_mwaa_provider/{name}" for name in wanted)


def test_the_same_sources_give_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    copy = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, copy, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__"))
    for path in copy.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {_SHA}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == build_zip().sha256
    (copy / "client" / "models.py").write_text("x = 1\n")
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() != build_zip().sha256


def test_with_requests_it_holds_what_requests_needs_and_nothing_compiled() -> None:
    built = build_zip(with_requests=True)
    found = names(built.content)
    assert {"requests", "certifi", "idna"} <= set(built.bundled)
    assert {"requests/__init__.py", "certifi/cacert.pem"} <= set(found)
    assert not any(name.endswith((".so", ".pyd", ".pyc")) or name.startswith(("urllib3", "..", "/")) for name in found)
    assert any(name.startswith("requests-") and "licen" in name.lower() for name in found)
    assert set(names(build_zip().content)) < set(found)


def test_only_its_own_kind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    assert write_zip(build_zip(), path)
    assert not write_zip(build_zip(), path)
    assert write_zip(build_zip(with_requests=True), path)
    path.write_bytes(b"precious")
    with pytest.raises(MwaaInputError, match=r"was not written by this command; choose another name, or replace it"):
        write_zip(build_zip(), path)
    assert path.read_bytes() == b"precious"
    assert write_zip(build_zip(), path, replace_anything=True)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(MwaaInputError):
        write_zip(build_zip(), tmp_path / "other.zip")
    with pytest.raises(MwaaInputError, match="is not a file"):
        write_zip(build_zip(), tmp_path, replace_anything=True)
    with pytest.raises(MwaaInputError, match=r"cannot be written: No such file or directory\. Choose another place"):
        write_zip(build_zip(), tmp_path / "absent" / "x.zip")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["other.zip", "x.zip"]


@pytest.mark.parametrize(
    ("handler", "module"), [(HandlerName.TRIGGER, aws_lambda), (HandlerName.ENDPOINTS, aws_lambda_endpoints)]
)
def test_the_setup_is_that_of_the_handler_and_the_docs_say_the_same(handler: HandlerName, module: object) -> None:
    setup = setup_of(handler)
    assert setup.handler == f"{module.__name__}.handler"  # type: ignore[attr-defined]
    assert callable(module.handler)  # type: ignore[attr-defined]
    assert [variable.name for variable in setup.variables] == list(module.VARIABLES)  # type: ignore[attr-defined]
    page = (ROOT / "docs" / "lambda.md").read_text(encoding="utf-8")
    policies = [json.loads(block.partition("```")[0]) for block in page.split("```json\n")[1:]]
    assert setup.policy in policies
    assert setup.handler in page
    for variable in setup.variables:
        assert f"`{variable.name}`" in page


def test_the_command_says_what_to_set_up(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    done = CliRunner().invoke(main, ["package", "lambda", "--output", str(path)])
    assert done.exit_code == 0, done.output
    assert "airflow_mwaa_provider.aws_lambda.handler" in done.output
    assert "MWAA_ENV_NAME" in done.output
    assert "airflow:InvokeRestApi" in done.output
    asked = ["package", "lambda", "--output", str(path), "--output", "json", "--handler", "endpoints"]
    told = json.loads(CliRunner().invoke(main, asked).output)
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["file"], told["changed"], told["bytes"]) == (str(path), False, path.stat().st_size)
    assert told["handler"] == "airflow_mwaa_provider.aws_lambda_endpoints.handler"
    assert "ec2:CreateVpcEndpoint" in told["iam_actions"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output", "t.tar"], "neither a FILE.zip nor one of text, json"),
        (["--output", "a.zip", "--output", "b.zip"], "name only one file"),
        (["--handler", "other"], "trigger"),
    ],
)
def test_misuse_has_exit_status_2(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(main, ["package", "lambda", *arguments])
    assert done.exit_code == 2
    assert words in done.output


def test_a_file_of_another_kind_is_one_line_and_exit_status_2(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    path.write_bytes(b"precious")
    done = CliRunner().invoke(main, ["package", "lambda", "--output", str(path)])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert CliRunner().invoke(main, ["package", "lambda", "--output", str(path), "--force"]).exit_code == 0
