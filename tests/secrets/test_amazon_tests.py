# SPDX-License-Identifier: Apache-2.0
"""The amazon provider's own tests of its secrets backends pass with our backends.

They are in its source distribution, which pip downloads from the index that is configured for it, and only
AIRFLOW_MWAA_TEST_FULL=1 runs them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from airflow_mwaa_provider.packaging import image_constraints
from tests.secrets.conftest import FERNET_KEY

ROOT = Path(__file__).parents[2]
PROVIDER = "apache-airflow-providers-amazon"
FIRST_WITH_TESTS = "9.6.0"
"""Earlier source distributions have no tests; this version's tests also apply to those versions."""
FILES = ("test_secrets_manager.py", "test_systems_manager.py")

_NAME = "it finds the backend by the name of its class"
_LOGGER = "it finds what is logged by the name of the backend's class, and the amazon provider's backend logs it"
DEVIATIONS = {
    ("ours", "test_systems_manager.py::TestSsmSecrets::test_passing_client_kwargs"): _NAME,
    ("ours", "test_secrets_manager.py::TestSecretsManagerBackend::test_refusing_an_ambiguous_id_is_logged"): _LOGGER,
    ("ours", "test_systems_manager.py::TestSsmSecrets::test_refusing_an_ambiguous_id_is_logged"): _LOGGER,
}
"""Tests that cannot pass, with which backends, and why. Remove one that passes."""


def whose_tests(provider: str) -> str:
    """Return the version whose tests run on a version of the amazon provider."""
    return max(provider, FIRST_WITH_TESTS, key=Version)


@pytest.fixture(scope="module")
def amazon_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests of the installed version, or of the first that has any."""
    folder = tmp_path_factory.mktemp("amazon")
    [python, *_] = (ROOT / ".envs").glob("bootstrap-*/bin/python")  # the environments for Airflow have no pip
    command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PROVIDER, "--dest", folder]
    subprocess.run([*command, f"{PROVIDER}=={whose_tests(version(PROVIDER))}"], check=True, timeout=240)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        for name in FILES:
            [member] = (found for found in packed.getnames() if found.endswith(f"/aws/secrets/{name}"))
            file = packed.extractfile(member)
            assert file is not None
            (folder / name).write_bytes(file.read())
    (folder / "pytest.ini").touch()  # not the project's settings
    return folder


@pytest.mark.skipif(
    os.environ.get("AIRFLOW_MWAA_TEST_FULL") != "1", reason="scripts/test --full downloads the amazon provider's tests"
)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("backends", ["stock", "ours", "uncached", "cached"])
def test_they_pass(amazon_tests: Path, tmp_path: Path, backends: str) -> None:
    outcomes = tmp_path / "outcomes.json"
    variables = {
        **os.environ,
        "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
        "AWS_ACCESS_KEY_ID": "AKIA0",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-c", "pytest.ini", "-p", "no:randomly", "-p", "no:cacheprovider",
            "-p", "no:anyio", "-p", "tests.secrets.stand_in", "--backends", backends, "--outcomes", outcomes, *FILES,
        ],
        cwd=amazon_tests,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=840,
    )  # fmt: skip
    assert run.returncode in (0, 1), run.stdout + run.stderr
    became = json.loads(outcomes.read_text(encoding="utf-8"))
    assert {test.partition("::")[0] for test in became} == set(FILES)
    failed = {test: outcome for test, outcome in became.items() if outcome != "passed"}
    known = {test for which, test in DEVIATIONS if which == backends and test in became}
    assert not set(failed) - known, "\n".join(failed[test] for test in set(failed) - known)
    assert not known - set(failed), "these pass, so they are no deviations"
    print(f"amazon provider {version(PROVIDER)}, {backends}: {len(became)} tests, {len(known)} deviations")


@pytest.mark.once
def test_the_docs_name_each_image_with_its_provider_and_whose_tests_are_run() -> None:
    page = (ROOT / "docs" / "secrets.md").read_text(encoding="utf-8")
    provider = {airflow: image_constraints.pins_of(airflow)[PROVIDER] for airflow in image_constraints.versions()}
    told = re.findall(r"^\| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|$", page, re.MULTILINE)
    assert told == [(airflow, amazon, whose_tests(amazon)) for airflow, amazon in provider.items()]


@pytest.mark.once
def test_the_docs_name_each_test_that_cannot_pass() -> None:
    page = (ROOT / "docs" / "secrets.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_\w+)`", page)) == {test.rpartition("::")[2] for _, test in DEVIATIONS}
