# SPDX-License-Identifier: Apache-2.0
"""The runtime script: which component gets which packages, arguments of yum and pip, and failures."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.local.machine import processes
from airflow_mwaa_provider.packaging.startup.runtime import runtime_script
from airflow_mwaa_provider.packaging.startup.script import Component, render
from tests.packaging.startup_lab import Container

pytestmark = pytest.mark.once

WORKER, SCHEDULER, WEBSERVER = Component.WORKER, Component.SCHEDULER, Component.WEBSERVER
HOSTILE = [
    "it's",
    'a "b"',
    "$(touch made)",
    "`touch made`",
    "two\nlines",
    "-n",
    "*",
    "",
    "\\",
    "ünï",
    "$HOME",
    "!x",
    "#",
]
"""What bash must pass unchanged."""


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    yield Container(tmp_path)
    processes.end_all(tmp_path)


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """A folder of programs that record their arguments, and fail on demand."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name in ("yum", "sudo", "timeout", "python3", "rpm"):
        program = folder / name
        program.write_text(
            "#!/bin/bash\n"
            f'printf "%s " {name} "$@" >>{tmp_path}/calls; echo >>{tmp_path}/calls\n'
            f'for word; do [[ $word == */requirements.txt ]] && cp "$word" {tmp_path}/given; done\n'
            '[[ ${STUB_FAILS-} == "" || " $* " != *" $STUB_FAILS "* ]] || exit 1\n'
            f"""{'shift 3; exec "$@"' if name == "timeout" else "exit 0"}\n"""
        )
        program.chmod(0o755)
    return folder


def calls(stubs: Path) -> list[str]:
    path = stubs.parent / "calls"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.strip() for line in found if not line.startswith(("timeout ", "rpm "))]


def with_stubs(script: str, stubs: Path) -> str:
    return f"PATH={stubs}:$PATH\n{script}"


YUM = "yum --assumeyes --quiet --setopt=timeout=10 --setopt=retries=1 --setopt=strict=0 install"


def test_each_container_gets_its_own(container: Container, stubs: Path) -> None:
    script = with_stubs(runtime_script({WORKER: ["libaio", "unzip"], WEBSERVER: ["graphviz"]}), stubs)
    script = script.replace("((EUID == 0))", "true")
    container.run(f"set -eux\nIFS=,\n{script}", "worker")
    assert calls(stubs) == [f"{YUM} libaio unzip"]
    assert "airflow-mwaa: libaio unzip: installed in " in container.log
    container.run(script, "hybrid")
    assert calls(stubs) == [f"{YUM} libaio unzip"]
    container.run(script, "scheduler")
    assert calls(stubs) == []
    container.run(script, "webserver")
    assert calls(stubs) == [f"{YUM} graphviz"]
    container.run(script.replace("true || airflow", "false || airflow"), "worker")
    assert calls(stubs) == [f"sudo -n {stubs}/timeout -k 5 120 {YUM} libaio unzip"], "what root does only root can end"


def test_a_web_server_waits_for_a_minute_at_most(container: Container, stubs: Path) -> None:
    script = with_stubs(runtime_script({component: ["libaio"] for component in Component}), stubs)
    script = script.replace("((EUID == 0))", "true")
    for component, limit in (("worker", 120), ("webserver", 60)):
        container.run(script, component)
        [call] = [line for line in (stubs.parent / "calls").read_text().splitlines() if line.startswith("timeout ")]
        assert call.split()[:4] == ["timeout", "-k", "5", str(limit)]
        calls(stubs)


def test_pip_gets_the_lines_and_all_that_is_installed(container: Container, stubs: Path) -> None:
    lines = ["one==1.0 ; python_version > '3'", 'two @ https://${USER}@host/x.whl#"$(touch made)"', "--no-index"]
    text = "\ufeff# why\r\n" + "\r\n".join(lines) + "\r\n\r\n"
    container.run(with_stubs(runtime_script(requirements={WORKER: text}), stubs), "worker")
    listed, installed = calls(stubs)
    assert listed == "python3 -m pip list --disable-pip-version-check --format=freeze"
    assert "--constraint" in installed
    assert (stubs.parent / "given").read_text().splitlines() == lines
    assert "3 lines of requirements for the worker: installed in " in container.log
    assert not list(container.folder.rglob("made"))


@pytest.mark.parametrize("failing", ["yum", "list", "-m"])
def test_what_cannot_be_installed_is_a_line_in_the_log(container: Container, stubs: Path, failing: str) -> None:
    script = runtime_script({WORKER: ["libaio"]}, {WORKER: "one"})
    if failing == "yum":
        for name in ("yum", "rpm"):
            (stubs / name).write_text("#!/bin/bash\nexit 1\n")
    found = container.run(f"set -e\n{with_stubs(script, stubs)}export LATER=1\n", "worker", STUB_FAILS=failing)
    assert found["LATER"] == "1"
    what, them = ("libaio", "it") if failing == "yum" else ("requirements for the worker", "them")
    assert f"airflow-mwaa: WARNING: {what}: not installed, and the container starts without {them}\n" in container.log


def test_a_package_that_there_is_not_keeps_no_other_away(container: Container, stubs: Path) -> None:
    """With strict=0, dnf succeeds even if it finds none."""
    (stubs / "rpm").write_text('#!/bin/bash\n[[ "$*" == "-q libaio" || "$*" == "-q --whatprovides virtual" ]]\n')
    script = f"set -eu\n{with_stubs(runtime_script({WORKER: ['typo', 'libaio', 'virtual', 'other']}), stubs)}"
    container.run(script)
    assert "airflow-mwaa: libaio virtual: installed in " in container.log
    assert "airflow-mwaa: WARNING: typo other: not installed, and the container starts without it\n" in container.log


@pytest.mark.parametrize("broken", ["export TMPDIR=/no/such/folder", "mktemp() { echo /no/such/folder; }"])
def test_no_place_for_files_is_no_reason_to_end_the_start(container: Container, stubs: Path, broken: str) -> None:
    script = f"set -eux\n{broken}\n{with_stubs(runtime_script(requirements={WORKER: 'one'}), stubs)}export LATER=1\n"
    assert container.run(script, "worker")["LATER"] == "1"
    assert "airflow-mwaa: WARNING: requirements for the worker: not installed, and the container" in container.log


def test_a_log_that_takes_nothing_is_no_reason_to_end_the_start(container: Container, stubs: Path) -> None:
    script = with_stubs(runtime_script({WORKER: ["libaio"]}), stubs)
    quiet = f"set -e\nexec 3>&1 >/dev/full\n{script}exec >&3\nexport LATER=1\n"
    assert container.run(quiet, "worker")["LATER"] == "1"


@pytest.mark.parametrize(("gone", "limits"), [(0, {"120"}), (200, {"85", "84"}), (290, set())])
def test_what_other_lines_have_taken_is_left_out_of_the_five_minutes(
    container: Container, stubs: Path, gone: int, limits: set[str]
) -> None:
    script = with_stubs(runtime_script({WORKER: ["libaio"]}), stubs)
    assert "'%(%s)T' -2" in script
    script = script.replace("'%(%s)T' -2", f"%s $(($(date +%s) - {gone}))")
    container.run(f"SECONDS={600 - gone}\n{script}", "worker")
    path = stubs.parent / "calls"
    called = path.read_text().splitlines() if path.exists() else []
    found = {line.split()[3] for line in called if line.startswith("timeout ")}
    assert found <= limits
    assert bool(found) == bool(limits)
    assert ("no time is left for: " in container.log) == (not limits)


def test_lines_of_ones_own_cannot_change_what_a_part_does(container: Container, stubs: Path) -> None:
    """Names in use, aliases, and ``set -a``, which makes bash export definitions."""
    names = "name limit left component began manager folder status variable domain region python host index answer"
    script = f"for it in {names}; do readonly $it=mine; done\nset -aeu\n"
    script += "shopt -s expand_aliases\nalias yum=/no/such timeout=/no/such python3=/no/such\n"
    script += with_stubs(runtime_script({WORKER: ["libaio"]}, {WORKER: "one"}), stubs)
    script = script.replace("((EUID == 0))", "true")
    found = container.run(f"{script}\nenv >{container.folder}/env\n")
    assert calls(stubs)[0] == f"{YUM} libaio"
    assert "1 lines of requirements for the worker: installed in " in container.log
    assert "read" not in container.log
    assert not [name for name in found if name.startswith("airflow_mwaa_")]
    assert "airflow_mwaa_" not in (container.folder / "env").read_text()


def test_a_machine_without_yum(container: Container) -> None:
    script = "PATH=/no/such/folder\n" + runtime_script({WORKER: ["libaio"]})
    assert container.run(script, "worker") == {"PATH": "/no/such/folder"}
    assert "yum was not found\nairflow-mwaa: WARNING: libaio: not installed, and the container" in container.log


@pytest.mark.parametrize("template", ["codeartifact.sh", "dbt.sh"])
def test_hostile_values_arrive_as_they_are(container: Container, template: str) -> None:
    """They are refused before that; the quoting does not rely on it."""
    names = {
        "codeartifact.sh": ["variable", "domain", "domain_owner", "repository", "region"],
        "dbt.sh": ["packages", "components"],
    }[template]
    if template == "codeartifact.sh":
        values = dict(zip(names, HOSTILE, strict=False))
        names = ["variable", "domain", "owner", "repository", "region"]
        shown = 'printf "%s\\0"' + "".join(f' "$airflow_mwaa_{name}"' for name in names)
        expected = HOSTILE[: len(names)]
    else:
        values = dict.fromkeys(names, HOSTILE)
        shown = 'printf "%s\\0" "${airflow_mwaa_packages[@]}" "${airflow_mwaa_components[@]}"'
        expected = HOSTILE * 2
    script = render(template, text="", **values)
    first = "    local airflow_mwaa_bin=" if template == "codeartifact.sh" else "    if ! airflow_mwaa_is_in"
    script = script.replace(first, f"    {shown} >{container.folder}/shown; return 0\n{first}", 1)
    container.run(f"set -u\n{script}")
    assert (container.folder / "shown").read_text().split("\0")[:-1] == expected
    assert not list(container.folder.rglob("made"))


@pytest.mark.parametrize(
    ("packages", "requirements", "words"),
    [
        ({}, {}, "^runtime: nothing to install"),
        ({WORKER: []}, {WORKER: "# nothing\n"}, "^runtime: nothing to install"),
        ({WORKER: ["lib aio"]}, {}, "^package 'lib aio': .* Give one of Amazon Linux"),
        ({WORKER: ["--nogpgcheck"]}, {}, "^package '--nogpgcheck'"),
        ({WORKER: ["a;b"]}, {}, "^package 'a;b'"),
        ({}, {WORKER: "one\n-r other.txt"}, "^requirements for the worker, line 2: names a file"),
        ({}, {SCHEDULER: "--index-url https://me:word@host/"}, "^requirements for the scheduler, line 1: has a user, "),
        ({}, {WORKER: "two ==\\\n# comment\n"}, "^requirements for the worker, line 1: pip cannot parse it"),
    ],
)
def test_what_cannot_work_is_refused(
    packages: dict[Component, list[str]], requirements: dict[Component, str], words: str
) -> None:
    with pytest.raises(MwaaInputError, match=words) as caught:
        runtime_script(packages, requirements)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "git+https://SECRET@github.com/o/r.git",
        "r @ git+https://SECRET:@github.com/o/r.git@v1",
        "r @ git+https://SECRET:x-oauth-basic@github.com/o/r.git",
        "r @ git+https://git:SECRET@github.com/o/r.git",
        "r @ https://user:SEC[RET@host/x.whl",
        "r @ https://user:SEC/RET@host/x.whl",
        "r @ https://user:SECRET${NAME}@host/x.whl",
        "r @ https://bucket.s3.amazonaws.com/r.whl?X-Amz-Signature=SECRET",
        *(
            f"r @ https://host/r.whl{sign}{name}=SECRET"
            for sign in ("?", "?x=1&", "#")
            for name in (
                "auth",
                "pass",
                "pwd",
                "jwt",
                "credential",
                "X-JFrog-Art-Api",
                "token",
                "AWSAccessKeyId",
                "apikey",
            )
        ),
        "r @ https://host/r.whl?token=${K}SECRET",
        "--index-url=https://host/simple?token=SECRET",
        'r --config-settings="token=SECRET"',
        "r --config-settings=token=SECRET",
        'r --global-option="--password=SECRET"',
        "-i https://user:SEC\\\nRET@host/simple",
        "-e 'git+https://SECRET@github.com/o/r.git#egg=r'",
        '--extra-index-url "https://${NAME}:SECRET@host/simple"',
    ],
)
def test_no_secret_comes_into_the_script(line: str) -> None:
    with pytest.raises(MwaaInputError, match="line 2: has a user, password or token") as caught:
        runtime_script(requirements={WORKER: f"one\n{line}\n"})
    assert "SEC" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://user:${PIP_PASS}@host/simple",
        "--index-url=https://${PIP_USER}:${PIP_PASS}@host:8080/simple",
        "--index-url https://aws@host/simple",
        "r @ git+ssh://git@github.com/o/r.git@v1.0",
        "r @ git+https://${TOKEN}@github.com/o/r.git",
        "r @ https://[::1]:8080/r.whl",
        "r @ https://${HOST}:${PORT}/r.whl#sha256=00",
        "r==${VERSION}",
        "r @ https://host/r.whl?token=${TOKEN}#sha256=00",
        "r @ https://host/r.whl?monkey=1&tokenizer=2&author=3&bypass=4#egg=token",
        "token==1.0",
        "secret==1; python_version=='3.12'",
        "pyjwt~=2.8 --hash=sha256:00",
    ],
)
def test_what_pip_fills_in_is_taken(line: str) -> None:
    script = runtime_script(requirements={WORKER: line})
    assert shlex.quote(line) in script


def test_lines_arrive_as_pip_joins_them() -> None:
    script = runtime_script(requirements={WORKER: "one \\\n  ==1.0\ntwo \\\n\nthree # https://user:word@host/\n"})
    assert "airflow_mwaa_requirements worker 'one   ==1.0' two three ||" in script


@pytest.mark.parametrize(
    "line",
    [
        "./wheels/x.whl",
        "x.whl",
        "~/x.tar.gz",
        "/opt/mine/x.whl",
        "foo @ file:///opt/mine/x.whl",
        "foo @ file:x.whl",
        "foo @ file:///usr/local/airflow/../../../opt/mine/x.whl",
        "--find-links wheels",
        "-f ./wheels",
        "--find-links=file:///opt/mine/wheels",
        "-i /opt/mine/simple",
        "-r /opt/mine/r.txt",
        "-cother.txt",
        "--requirem other.txt",
        "--editable=.",
    ],
)
def test_a_file_that_the_container_does_not_have_is_refused(line: str) -> None:
    with pytest.raises(MwaaInputError, match=r"^requirements for the worker, line 1: names a file.*\. Write "):
        runtime_script(requirements={WORKER: line})


@pytest.mark.parametrize(
    "line",
    [
        "-c https://host/c.txt",
        "-r /usr/local/airflow/dags/r.txt",
        "--extra-index-url https://host/simple",
        "--find-links /usr/local/airflow/plugins",
        "--find-links ${WHEELS}",
        "foo @ file:///usr/local/airflow/plugins/foo.whl",
        "/usr/local/airflow/plugins/foo-1-py3-none-any.whl",
    ],
)
def test_what_the_container_has_may_be_named(line: str) -> None:
    assert shlex.quote(line) in runtime_script(requirements={WORKER: line})
