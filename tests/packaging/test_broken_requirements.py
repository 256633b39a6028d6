# SPDX-License-Identifier: Apache-2.0
"""Each broken file is detected, and the table in the docs agrees with the command."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.problems import Problem
from airflow_mwaa_provider.packaging.requirements import checking
from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.parsing import decode
from airflow_mwaa_provider.packaging.requirements.regime import Regime, essential_pins, regime_of
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Resolution, Resolver
from airflow_mwaa_provider.packaging.requirements.target import Target
from tests.packaging.broken_requirements import BROKEN, Broken
from tests.packaging.conftest import uv_folder
from tests.packaging.wheel_index import WheelIndex

pytestmark = pytest.mark.once
FULL = os.environ.get("AIRFLOW_MWAA_TEST_FULL") == "1"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "requirements.md"


class Nothing(Resolver):
    """Resolves to nothing, without any requests."""

    def __init__(self) -> None:
        super().__init__(Target.of("3.3.1"), "nothing")

    def resolve(self, asked: Asked) -> Resolution:
        return Resolution({})

    def _build(self, source: Path, folder: str) -> None:
        raise NotImplementedError


def problems_of(broken: Broken, folder: Path) -> tuple[Problem, ...]:
    file = folder / "requirements.txt"
    file.write_bytes(broken.bytes)
    return check_requirements(file, broken.airflow, private_web_server=broken.is_private).problems


def row(broken: Broken, problem: Problem) -> str:
    """Return the row of the docs: without the reasons that uv words, which depend on its version."""
    what = re.sub("Because .*", "…", problem.what)
    says = {None: "not tried", "": "installs it"}.get(broken.pip, f"{broken.pip.strip()}…" if broken.pip else "")
    cells = (problem.code, f"`{broken.shown.replace('0' * 64, '0…')}`", f"{what} {problem.fix}", says)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.code}: {broken.shown[:40]}")
def test_it_is_found_and_the_docs_say_so(broken: Broken, index: WheelIndex, tmp_path: Path) -> None:
    found = problems_of(broken, tmp_path)
    [problem] = [problem for problem in found if problem.code == broken.code][:1] or [None]
    assert problem is not None, found
    assert row(broken, problem) in PAGE.read_text(encoding="utf-8")


def test_the_docs_list_no_other() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| [a-z0-9-]+ \| `", line)]
    assert len(rows) == len(BROKEN) >= 25


def test_each_code_of_the_sources_has_a_file() -> None:
    codes = set()
    for path in Path(checking.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                texts = [each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                codes |= {text for text in texts if isinstance(text, str)}
    assert codes == {broken.code for broken in BROKEN}


def test_no_problem_repeats_a_password(index: WheelIndex, tmp_path: Path) -> None:
    """Wherever an address may occur."""
    secret = "hunter2"
    address = f"https://me:{secret}@example.com"
    lines = [f"--index-url {address}/simple", f"-e git+{address}/maps", f"git+{address}/maps", f"-r {address}/base.txt"]
    lines += [f"-c {address}/c.txt", f"-f {address}/wheels", f"{address}/maps-1.0-cp39-cp39-win_amd64.whl"]
    lines += [f"maps @ {address}/maps-1.0-py3-none-any.whl", f"{address}/maps-1.0.tar.gz", f"-e git+{address}/maps@v1"]
    lines += [
        f"pip install git+{address}/maps",
        f"folium=0.15.1 @{address}/simple",
        f"-r https://{secret}@example.com/x",
    ]
    # A password with @ or /, a token with /, a scheme that was forgotten, a variable beside a password.
    lines += [f"-i https://me:p@{secret}@example.com/s", f"git+https://me:p@{secret}@github.com/a/b"]
    lines += [
        f"https://me:pa/{secret}@example.com/x-1.0-py3-none-any.whl",
        f"-e git+https://ghp_t/{secret}:x@github.com/a",
    ]
    lines += [f"-i me:{secret}@example.com/simple", f"--trusted-host me:{secret}@example.com"]
    lines += [f"-i https://${{U}}:{secret}@example.com/s", f"git+https://{secret}@github.com/a/b"]
    lines += [f'-i "https://me:pa {secret}@example.com/simple"', f'-f "https://me:pa {secret}@example.com/simple"']
    lines += [f"https://bucket.example.com/maps-1.0-py3-none-any.whl?X-Amz-Signature={secret}"]
    # In lines that are no requirement; in a query or a fragment; a variable of the environment that was pasted.
    lines += [f"foo @ https://me:{secret} 2@127.0.0.1/x.whl", f"index-url=https://me:{secret} 3@127.0.0.1/simple"]
    lines += [f"foo @ https://me:2 {secret}@127.0.0.1/x.whl", f"https://example.com/x.tar.gz?{secret}"]
    lines += [f"https://example.com/x.tar.gz#token={secret}", f"https://example.com/x.tar.gz#egg=x&token={secret}"]
    lines += [f"/usr/local/airflow/plugins/x.whl?token={secret}", f"./x.whl?token={secret}", f"-f ./x?token={secret}"]
    lines += [f"-c ./c.txt?token={secret}", f"-r ./c.txt?token={secret}", f"-r ./c.txt#{secret}"]
    lines += [
        f"AWS_SECRET={secret}",
        f"export DB_PASSWORD: {secret}",
        f"api_key = '{secret} 2'",
        f"pip install TOKEN={secret}",
    ]
    for line in lines:
        for is_private in (False, True):
            report = check_requirements(f"{line}\n", "3.3.1", private_web_server=is_private, resolver=Nothing())
            assert report.problems or set("?#") & set(line)
            assert secret not in str((report.as_dict(), *map(str, report.problems)))


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("tokenizers=0.15.2", "Write tokenizers==0.15.2."),
        ("-f ./x#egg=x&sha256=00", "./x#egg=x&sha256=00 is a path"),
        (
            f"AWS_SECRET={'x' * 9}",
            "'AWS_SECRET=****' is not a requirement that pip can parse. Write name==version, one",
        ),
    ],
)
def test_what_is_no_secret_is_repeated(line: str, shown: str) -> None:
    report = check_requirements(f"{line}\n", "3.3.1", resolver=Nothing())
    assert shown in str(report.problems[0])


def test_no_conflict_repeats_a_password(
    index: WheelIndex, index_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "user", "me:hunter2")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index_url.replace("http://", "http://me:hunter2@"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    address = index_url.replace("http://", "http://me:hunter2@").replace("/simple", "/files/needs_old_flask")
    text = f"needs-old-flask @ {address}-1.0-py3-none-any.whl\n"
    for line in (text, text + "flask==3.1.3\n", text.partition("@ ")[2], "# -c none\n" + text):
        report = check_requirements(line, "3.3.1")
        assert report.errors
        assert "hunter2" not in str(report.as_dict())


@pytest.mark.parametrize(
    ("address", "is_told"),
    [
        ("git+https://ghp_token@github.com/a/b", True),
        ("https://${AIRFLOW__FOO__USER}:hunter2@example.com/simple", True),
        ("https://me:pa/ss@example.com/simple", True),
        ("https://${AIRFLOW__FOO__USER}:${AIRFLOW__FOO__PASS}@example.com/simple", False),
        ("git+ssh://git@github.com/a/b@v1", False),
        ("git+https://github.com/a/b@v1.0", False),
    ],
)
def test_which_addresses_hold_a_password(address: str, is_told: bool) -> None:
    line = address if address.startswith("git") else f"--index-url {address}"
    report = check_requirements(f"{line}\n", "3.3.1", resolver=Nothing())
    assert ("credentials-in-url" in {problem.code for problem in report.problems}) is is_told


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest pip, in a separate environment, from the machine's own package index."""
    folder = tmp_path_factory.mktemp("pip")
    command = [uv_folder() / "uv", "venv", "--quiet", "--seed", "--python", sys.executable, folder]
    subprocess.run(command, check=True, env={**os.environ, "SSL_CERT_FILE": os.environ.get("PIP_CERT", "")})
    return folder / "bin" / "pip"


@pytest.mark.skipif(not FULL, reason="scripts/test --full asks the real package index")
@pytest.mark.parametrize(
    "broken",
    [broken for broken in BROKEN if broken.pip is not None and broken.code != "install-time"],
    ids=lambda broken: f"{broken.code}: {broken.shown[:40]}",
)
def test_what_pip_says_of_it(broken: Broken, pip: Path, tmp_path: Path) -> None:
    """The same file, passed to pip as the image does."""
    (tmp_path / "requirements.txt").write_bytes(broken.bytes)
    pins = dict(essential_pins(broken.airflow))
    if regime_of(decode(broken.bytes)[0]) is Regime.IMAGE:
        pins = {**image_constraints.pins_of(broken.airflow), **pins}
    (tmp_path / "constraints.txt").write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
    command = [str(pip), "install", "--isolated", "--dry-run", "--ignore-installed", "--no-input", "--retries", "0"]
    command += ["--disable-pip-version-check", "-r", "requirements.txt", "-c", "constraints.txt"]
    command += ["--cert", os.environ["PIP_CERT"]] if "PIP_CERT" in os.environ else []
    command += ["--index-url", os.environ["PIP_INDEX_URL"]] if "PIP_INDEX_URL" in os.environ else []
    command += ["--no-index"] if broken.is_private else []
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    said = done.stdout + done.stderr
    assert broken.pip is not None
    if broken.pip:
        assert broken.pip.partition(" (")[0] in said
    else:
        assert done.returncode == 0, said
