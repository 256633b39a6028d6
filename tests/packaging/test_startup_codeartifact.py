# SPDX-License-Identifier: Apache-2.0
"""The CodeArtifact script: pip installs from the private index, and the token is exposed nowhere else."""

from __future__ import annotations

import ensurepip
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoRegionError, ProxyConnectionError, ReadTimeoutError

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.local.machine import processes
from airflow_mwaa_provider.packaging.startup import keyring_program
from airflow_mwaa_provider.packaging.startup.codeartifact import codeartifact_policy, codeartifact_script
from airflow_mwaa_provider.packaging.startup.script import render
from scripts.lib import canary
from tests.local_airflow.test_overlay import make_wheel
from tests.packaging.conftest import uv_folder
from tests.packaging.startup_lab import CodeArtifact, Container, code_artifact, variables_for

pytestmark = pytest.mark.once

PLACE = ("amazon", "112233445566", "MyRepo")
KNOWN = "https://aws@amazon-112233445566.d.codeartifact.us-west-2.amazonaws.com/pypi/MyRepo/simple/"


def bundled_pip() -> Path:
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    return next(wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl"))


@pytest.fixture
def server() -> Iterator[CodeArtifact]:
    with code_artifact() as server:
        yield server


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    yield Container(tmp_path)
    processes.end_all(tmp_path)


def with_answer(answer: str, *, replace_pypi: bool = False) -> str:
    """Return a script whose program returns that answer, without an interpreter that imports boto3."""
    variable = "PIP_INDEX_URL" if replace_pypi else "PIP_EXTRA_INDEX_URL"
    given = {"domain": "amazon", "domain_owner": "112233445566", "repository": "MyRepo", "region": "us-west-2"}
    return render("codeartifact.sh", text=f"print({answer!r})\n", variable=variable, **given)


@pytest.fixture
def asking(server: CodeArtifact, monkeypatch: pytest.MonkeyPatch) -> CodeArtifact:
    """The server, for the program in this process."""
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server


def test_pip_is_told_where_and_asks_a_program_for_the_token(server: CodeArtifact, container: Container) -> None:
    script = (
        "set -eux\nset -o pipefail -C\nIFS=,\n"
        + codeartifact_script(*PLACE, region="eu-west-1")
        + "\nexport OPTIONS=$-\n"
    )
    found = container.run(script, **server.variables)
    address = f"{server.url.replace('//', '//aws@')}/pypi/MyRepo/simple/"
    host = server.url.removeprefix("http://")
    assert found["PIP_EXTRA_INDEX_URL"] == address
    assert found["UV_INDEX"] == address
    assert not {"PIP_INDEX_URL", "UV_DEFAULT_INDEX"} & found.keys()
    assert (found["PIP_KEYRING_PROVIDER"], found["PIP_NO_INPUT"]) == ("subprocess", "1")
    assert set(found["OPTIONS"]) >= set("eux"), "the script changed the shell's options"
    assert "repository MyRepo of domain amazon: got a token, valid until 20" in container.log
    assert server.asked == [{"domain": "amazon", "domain-owner": "112233445566", "duration": "3600"}]
    keyring = [Path(found["PATH"].split(":")[0]) / "keyring", "get", host, "aws"]
    answer = subprocess.run(keyring, env={**server.variables, **found}, capture_output=True, text=True, check=True)
    assert answer.stdout == f"{canary.value()}\n"
    assert not any(canary.form_in(value.encode()) for value in found.values())
    canary.check(container.folder)
    assert canary.form_in(container.log.encode()) is None


def test_pip_and_uv_install_by_the_program_and_nobody_learns_the_token(
    server: CodeArtifact, container: Container
) -> None:
    """MWAA installs with pip; tasks that create virtual environments use uv if it is installed."""
    make_wheel(container.folder, "ours", "1.0")
    server.wheels["ours"] = container.folder / "ours-1.0-py3-none-any.whl"
    found = container.run("set -x\n" + codeartifact_script(*PLACE, replace_pypi=True), **server.variables)
    assert found["PIP_INDEX_URL"].endswith("/pypi/MyRepo/simple/")
    assert not {"PIP_EXTRA_INDEX_URL", "UV_INDEX"} & found.keys()
    variables = {"HOME": str(container.home), **server.variables, **found}
    target = str(container.folder / "target")
    # The environment of the tests has no pip; the one that comes with Python runs from its wheel.
    pip = [sys.executable, f"{bundled_pip()}/pip", "install", "--no-cache-dir", "--no-compile", "--no-deps"]
    uv = [f"{uv_folder()}/uv", "pip", "install", "--no-config", "--no-cache", "--python", sys.executable]
    for installer in (pip, uv):
        done = subprocess.run(
            [*installer, "--target", target, "ours"], env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert canary.form_in((done.stdout + done.stderr).encode()) is None
        assert [path.name for path in Path(target).glob("*.py")] == ["ours.py"]
        assert [path.rpartition("/")[2] for path in server.with_token][-1] == "ours-1.0-py3-none-any.whl"
        server.with_token.clear()
        canary.check(container.folder)
        shutil.rmtree(target)
    assert len(server.asked) == 1 + 2, "a trial, and one for each installer"
    assert not any(canary.form_in(value.encode()) for value in found.values())
    assert canary.form_in(container.log.encode()) is None
    assert list(canary.in_processes()) == []


def test_the_program_gives_the_token_to_no_other_host(
    asking: CodeArtifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = asking.url.removeprefix("http://")
    monkeypatch.setenv(
        "AIRFLOW_MWAA_CODEARTIFACT", f"https://one.example a b c;http://{host} amazon 112233445566 us-west-2"
    )
    for address in (host, f"http://{host}", f"http://{host}/pypi/MyRepo/simple/", f"http://aws@{host}/simple/"):
        keyring_program.get(address)
        assert capsys.readouterr().out == f"{canary.value()}\n", address
    for address in (
        *("", "https://other.example/simple/", "evil.example", f"{asking.url}.evil.example/simple/"),
        *(f"https://{host}/simple/", f"ftp://{host}/", f"//{host}/", f"http:/{host}", f"http:///{host}"),
        *(f"http://evil.example{sign}@{host}/simple/" for sign in ("?x", "#", "\\", "/", " ", "\n", "@evil.example")),
        *(f"http://{host}{sign}@evil.example/simple/" for sign in ("?x", "#", "\\", ":1", "", " ")),
        *(f"evil.example{sign}@{host}" for sign in ("?x", "#", "\\", "/", "")),
    ):
        with pytest.raises(SystemExit) as caught:
            keyring_program.get(address)
        assert (caught.value.code, *capsys.readouterr()) == (1, "", ""), address
    assert len(asking.asked) == 4


def test_lines_of_ones_own_cannot_change_what_the_part_does(container: Container) -> None:
    names = "variable domain owner repository region folder python answer index host name"
    script = f"for it in {names}; do readonly $it=mine; done\nset -aeu\n"
    script += "shopt -s expand_aliases\nalias python3='python3 -I' timeout=/no/such\n"
    script += with_answer(f"{KNOWN} x") + with_answer(f"{KNOWN} x", replace_pypi=True)
    found = container.run(f"{script}\nenv >{container.folder}/env\n")
    assert (found["PIP_INDEX_URL"], found["PIP_EXTRA_INDEX_URL"]) == (KNOWN, KNOWN)
    assert container.log.count("got a token, valid until x; pip") == 2
    assert "WARNING" not in container.log
    assert "airflow_mwaa_" not in (container.folder / "env").read_text()
    assert container.run(f"readonly IFS\n{with_answer(f'{KNOWN} x')}") == {}
    assert "WARNING: pip works without CodeArtifact" in container.log


@pytest.mark.parametrize(
    "answer", ["", f"{KNOWN}", f"{KNOWN[:-1]} x", "https://aws@a b/simple/ x", "https://aws@a;b/simple/ x", "page x"]
)
def test_an_answer_without_an_address_is_not_believed(container: Container, answer: str) -> None:
    assert container.run(with_answer(answer)) == {}
    assert "WARNING: pip works without CodeArtifact" in container.log
    assert "got a token" not in container.log


def test_what_python_prints_else_is_not_the_answer(container: Container) -> None:
    assert container.run(with_answer(f"loaded\nhttps://x y\n{KNOWN} x"))["PIP_EXTRA_INDEX_URL"] == KNOWN
    assert "valid until x; pip" in container.log


def test_a_program_that_runs_is_not_written_into(container: Container) -> None:
    """Linux denies that, and concurrent readers would get half of it."""
    script = with_answer(f"{KNOWN} x")
    container.run(script)
    keyring = container.home / ".airflow-mwaa" / "bin" / "keyring"
    with keyring.open() as running:
        container.run(script)
        assert os.fstat(running.fileno()).st_ino != keyring.stat().st_ino
    assert sorted(path.name for path in keyring.parent.iterdir()) == ["codeartifact.py", "keyring"]


def test_two_repositories_and_an_index_that_is_there_already(container: Container) -> None:
    one, two = "https://aws@a.example/simple/", "https://aws@b.example/simple/"
    script = (
        "export PIP_EXTRA_INDEX_URL=https://one.example/simple\n" + with_answer(f"{one} x") + with_answer(f"{two} x")
    )
    found = container.run(script)
    assert found["PIP_EXTRA_INDEX_URL"].split(" ") == ["https://one.example/simple", one, two]
    assert found["AIRFLOW_MWAA_CODEARTIFACT"].split(";") == [
        f"https://{host}.example amazon 112233445566 us-west-2" for host in "ab"
    ]
    assert found["PATH"].count(".airflow-mwaa/bin") == 1


def test_a_second_repository_instead_of_pypi_does_not_replace_the_first(container: Container) -> None:
    one, two = "https://aws@a.example/simple/", "https://aws@b.example/simple/"
    parts = [with_answer(f"{address} x", replace_pypi=True) for address in (one, two, one)]
    found = container.run("export PIP_INDEX_URL=https://mine.example/simple\n" + "".join(parts))
    assert (found["PIP_INDEX_URL"], found["PIP_EXTRA_INDEX_URL"]) == (one, two)
    assert (found["UV_DEFAULT_INDEX"], found["UV_INDEX"]) == (one, two)
    assert container.log.count("WARNING: PIP_INDEX_URL was set before: pip and uv use CodeArtifact instead") == 1
    assert "mine.example" not in container.log


def test_instead_of_pypi_no_index_of_earlier_lines_is_left(container: Container) -> None:
    ours = [f"https://aws@{host}.example/simple/" for host in "abc"]
    names = ["PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"]
    script = "".join(f"export {name}=https://mine.example/simple\n" for name in names)
    script += with_answer(f"{ours[0]} x") + with_answer(f"{ours[1]} x", replace_pypi=True)
    found = container.run(f"set -eu\n{script}{with_answer(f'{ours[2]} x')}")
    assert {name: value for name, value in found.items() if name.endswith(("_INDEX", "_URL"))} == {
        "PIP_INDEX_URL": ours[1],
        "UV_DEFAULT_INDEX": ours[1],
        "PIP_EXTRA_INDEX_URL": f"{ours[0]} {ours[2]}",
        "UV_INDEX": f"{ours[0]} {ours[2]}",
    }
    for name in names:
        assert container.log.count(f"WARNING: {name} was set before: ") == 1, name
    assert "mine.example" not in container.log


def test_a_role_of_the_guide_which_may_not_ask_for_the_endpoint(
    asking: CodeArtifact, capsys: pytest.CaptureFixture[str]
) -> None:
    asking.endpoint_refusal = "AccessDeniedException"
    keyring_program.check(*PLACE, "us-west-2")
    assert re.fullmatch(
        rf"{re.escape(KNOWN)} 20.* \(the address is not confirmed: .*codeartifact:GetRepositoryEndpoint to .*\)\n",
        capsys.readouterr().out,
    )


def test_without_a_token_the_start_goes_on_with_one_line_that_says_why(
    server: CodeArtifact, container: Container
) -> None:
    server.refusal = "AccessDeniedException"
    found = container.run(f"set -e\n{codeartifact_script(*PLACE)}export LATER=1\n", **server.variables)
    assert found == {"LATER": "1"}
    [why] = [line for line in container.log.splitlines() if "airflow-mwaa: CodeArtifact: " in line]
    assert "AccessDeniedException" in why
    assert "Allow the execution role codeartifact:GetAuthorizationToken and sts:GetServiceBearerToken." in why
    assert "WARNING: pip works without CodeArtifact" in container.log


def test_instead_of_pypi_pip_asks_nothing_else_while_there_is_no_token(
    server: CodeArtifact, container: Container
) -> None:
    """Otherwise it would install a package of the same name from PyPI; later it works automatically."""
    server.faults["POST"] = (503, "")
    found = container.run(f"set -eu\n{codeartifact_script(*PLACE, replace_pypi=True)}", **server.variables)
    assert (found["PIP_INDEX_URL"], found["UV_DEFAULT_INDEX"]) == (KNOWN, KNOWN)
    assert (found["PIP_KEYRING_PROVIDER"], found["UV_KEYRING_PROVIDER"]) == ("subprocess", "subprocess")
    assert "domain amazon: WARNING: got no token; pip still uses no other index, and finds no package" in (
        container.log
    )
    assert "Try again in a few minutes" in container.log
    server.faults.clear()
    keyring = [Path(found["PATH"].split(":")[0]) / "keyring", "get", KNOWN.replace("aws@", ""), "aws"]
    answer = subprocess.run(keyring, env={**server.variables, **found}, capture_output=True, text=True, check=True)
    assert answer.stdout == f"{canary.value()}\n"


@pytest.mark.parametrize("before", ["HOME=/dev/null", "readonly PIP_INDEX_URL=mine", "unset AWS_REGION"])
def test_instead_of_pypi_pip_asks_no_index_where_nothing_can_be_set(container: Container, before: str) -> None:
    script = with_answer("", replace_pypi=True).replace("region=us-west-2", "region=''").replace("print('')", "exit(1)")
    if "PIP_INDEX_URL" in before:
        script = with_answer(f"{KNOWN} x", replace_pypi=True)
    found = container.run(f"set -eu\n{before}\n{script}export LATER=1\n", AWS_REGION="us-west-2")
    assert (found["PIP_NO_INDEX"], found["UV_OFFLINE"], found["LATER"]) == ("1", "1", "1")
    assert "WARNING: the CodeArtifact repository could not be set, so pip and uv use no index at all" in (container.log)
    assert "got a token" not in container.log


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no\nsuch"}}, "Get"),
            r".*ResourceNotFound.*: no such\. Check the domain, its owner, the repository and the region\.",
        ),
        (NoRegionError(), r"You must specify a region\. Give the container a role and a region\."),
        (
            ConnectTimeoutError(endpoint_url="https://host/"),
            r"Connect timeout .*\. Check the network; without .*, VPC endpoints of codeartifact\.api are needed\.",
        ),
        (ReadTimeoutError(endpoint_url="https://host/"), r"Read timeout .*\. Check the network; .*"),
        (
            ClientError({"Error": {"Code": "ThrottlingException"}}, "Get"),
            r".*Throttling.* Try again in a few minutes: .*",
        ),
        (ClientError({"Error": {"Code": "ExpiredTokenException"}}, "Get"), r".*Expired.* Check the credentials, .*"),
        (ValueError("what\nis this?"), r"what is this\?\."),
        (UnicodeError(), r"UnicodeError\."),
        (ProxyConnectionError(proxy_url="http://proxy/"), r"Failed to connect to proxy .*\. Check the network; .*"),
        (ModuleNotFoundError("No module named 'boto3'"), r"No module named 'boto3'\. Make python3 on PATH the .*"),
    ],
)
def test_each_kind_of_failure_has_its_advice(error: Exception, line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        keyring_program.fail(keyring_program.reason(error))
    assert re.fullmatch(f"airflow-mwaa: CodeArtifact: {line}", str(caught.value.code))


PAGE = f"<html>Sign in\n{'of long pages ' * 200}</html>"
PROXY = r"\. Check the proxy, and variables such as AWS_ENDPOINT_URL\."
NOT_IT = f"the answer is not from CodeArtifact{PROXY}"


@pytest.mark.parametrize(
    ("method", "status", "body", "words"),
    [
        ("POST", 502, PAGE, r".*502.*\. Try again in a few minutes: the settings are not the cause\."),
        ("POST", 403, PAGE, rf"(?=.{{1,400}}$).*\(403\).*{PROXY}"),
        ("POST", 407, PAGE, rf"(?=.{{1,400}}$).*\(407\).*{PROXY}"),
        ("GET", 503, "", r".*503.*\. Try again in a few minutes: .*"),
        ("POST", 0, "", r"Connection was closed before .*\. Check the network; .*"),
        ("POST", 200, PAGE, NOT_IT),
        ("POST", 200, "[]", NOT_IT),
        ("POST", 200, '{"authorizationToken": "", "expiration": 1}', NOT_IT),
        ("GET", 200, PAGE, NOT_IT),
        ("GET", 200, '{"repositoryEndpoint": "PAGE"}', NOT_IT),
    ],
)
def test_what_a_proxy_or_a_fault_answers_has_its_advice(
    asking: CodeArtifact, method: str, status: int, body: str, words: str
) -> None:
    asking.faults[method] = (status, body)
    with pytest.raises(Exception) as caught:
        keyring_program.check(*PLACE, "us-west-2")
    assert re.fullmatch(words, keyring_program.reason(caught.value))


def test_a_web_server_without_a_route_waits_no_longer_than_the_limit(container: Container) -> None:
    """A socket that listens but never accepts connections."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        script = codeartifact_script(*PLACE).replace("LIMIT_S = 40", "LIMIT_S = 1")
        assert container.run(script, "webserver", **variables_for(f"http://127.0.0.1:{silent.getsockname()[1]}")) == {}
    assert "no answer within 1 s" in container.log
    assert "WARNING: pip works without CodeArtifact" in container.log


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"domain": "ama'zon"}, "domain"),
        ({"domain": "$(touch x)"}, "domain"),
        ({"domain": "a\nb"}, "domain"),
        ({"domain": "Amazon"}, "domain"),
        ({"domain_owner": "1122"}, "domain owner"),
        ({"domain_owner": "\N{ARABIC-INDIC DIGIT ONE}" * 12}, "domain owner"),
        ({"repository": "my repo"}, "repository"),
        ({"repository": ""}, "repository"),
        ({"region": "us west 2"}, "region"),
        ({"region": "evil.example/"}, "region"),
    ],
)
def test_names_that_aws_has_not_are_refused(changed: dict[str, str], named: str) -> None:
    given = {"domain": "amazon", "domain_owner": "112233445566", "repository": "MyRepo", **changed}
    for make in (codeartifact_script, codeartifact_policy):
        with pytest.raises(MwaaInputError, match=rf"^{named} .*: not valid\. Give "):
            make(**given)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        (None, "aws"),
        ("ap-southeast-2", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
        ("xx-new-north-12", "aws"),
    ],
)
def test_the_policy_names_the_domain_and_the_repository(region: str | None, partition: str) -> None:
    policy = codeartifact_policy(*PLACE, region=region)
    resources = [statement["Resource"] for statement in policy["Statement"]]
    assert resources == [
        f"arn:{partition}:codeartifact:{region or '*'}:112233445566:domain/amazon",
        f"arn:{partition}:codeartifact:{region or '*'}:112233445566:repository/amazon/MyRepo",
        "*",
    ]
