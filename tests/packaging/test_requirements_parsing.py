# SPDX-License-Identifier: Apache-2.0
"""Requirements files are parsed like pip and like the images."""

from __future__ import annotations

import ensurepip
import itertools
import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from airflow_mwaa_provider.local.airflow import requirements as of_the_local_mwaa
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.requirements.parsing import (
    Kind,
    Line,
    decode,
    is_commented_constraint,
    parse,
    parse_line,
)
from airflow_mwaa_provider.packaging.requirements.regime import Regime, essential_pins, regime_of
from airflow_mwaa_provider.packaging.requirements.target import Target

pytestmark = pytest.mark.once

Parser = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def pip() -> Iterator[Parser]:
    """Python's bundled pip, in a separate process."""
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    [wheel] = [wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")][:1]
    command = [sys.executable, "-I", "-W", "ignore", str(Path(__file__).with_name("pip_parser.py")), str(wheel)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def parsed(text: str) -> list[Any]:
            stdin.write(json.dumps(text) + "\n")
            stdin.flush()
            return list(json.loads(stdout.readline()))

        yield parsed


def as_pip(line: Line) -> list[Any]:
    # Words with a "-" first are options, but for "-" itself and what follows "--"; if none was read, pip refuses them.
    words = itertools.takewhile("--".__ne__, line.text.strip().removeprefix(line.asked).split())
    if line.kind is Kind.INVALID and not line.options and any(word > "-" and word[0] == "-" for word in words):
        return [line.number, None, {}]
    found: dict[str, list[str]] = {}
    for name, value in line.options:
        found.setdefault(name, []).append(value)
    for name in ("index-url", "no-index", "pre", "require-hashes"):
        if name in found:
            found[name] = found[name][-1:]
    if "hash" in found:
        found["hash"] = sorted(found["hash"])
    return [line.number, line.asked, found]


NAMES = st.sampled_from(["a", "a-b[x,y]", "numpy", "a @ https://h/a.whl", "./a.whl", "https://h/a.zip#egg=a", "#", "é"])
VERSIONS = st.sampled_from(["", "==1", " >= 1, <2", "===x", "=1", '; python_version < "3"', "; sys_platform=='win32'"])
OPTIONS = st.sampled_from(
    ["-r b.txt", "-rb.txt", "-c c.txt", "--constraint=c.txt", "--constr c", "--constraint", "-e .", "--no-index", "--",
     "-i https://h/", "--index-url 'https://h/ x'", "--extra-index-url https://h", "-f links", '--find-links "a b', "-",
     "--hash=sha256:00", "--hash sha512:11", "--hash=md5:2", "--hash x", "--require-hashes", "--trusted-host h", "-x",
     "--pre"]
)  # fmt: skip
SPACES = st.sampled_from(["", " ", "  ", "\t", "\u00a0", " \\\n", "\\\n", " # c\n", "# c\n", "\\ \n"])
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", " # -c none\n", "#x\n", " #\\\n", "\r", "\x0c", "\u2028"])
TEXTS = st.lists(st.one_of(NAMES, VERSIONS, OPTIONS, SPACES, ENDS, st.just("${HOME_}")), max_size=12).map("".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
@example(text="a \\\n# c\n==1\nb")
@example(text="a==1 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n")
@example(text="a\\\n# c\nb")
@example(text="-r a.txt -c b.txt # c\n")
@example(text="${HOME_} --")
@example(text="${HOME_} -")
def test_lines_and_options_are_those_that_pip_reads(text: str, pip: Parser) -> None:
    assert [as_pip(line) for line in parse(text)] == pip(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("numpy", Kind.NAME),
        ("numpy[x]>=1; python_version > '3'", Kind.NAME),
        ("numpy @ https://h/numpy-1-py3-none-any.whl", Kind.URL),
        ("https://h/numpy-1.tar.gz", Kind.URL),
        ("numpy @ file:///opt/numpy-1.whl", Kind.PATH),
        ("numpy @ https://h/numpy-1.tar.gz; python_version > '3'", Kind.URL),
        ("https://h/numpy-1.tar.gz;python_version", Kind.URL),
        ("./numpy;python_version > '3'", Kind.PATH),
        ("./numpy;python_version", Kind.INVALID),
        ("./numpy", Kind.PATH),
        ("numpy-1-py3-none-any.whl", Kind.PATH),
        ("C:\\wheels\\numpy-1-py3-none-any.whl", Kind.PATH),
        ("numpy @ git+https://h/numpy", Kind.VERSION_CONTROL),
        ("git+ssh://git@h/numpy", Kind.VERSION_CONTROL),
        ("-e git+https://h/numpy", Kind.EDITABLE),
        ("--no-index", Kind.OPTIONS),
        ("numpy 1", Kind.INVALID),
        ("--nothing", Kind.INVALID),
    ],
)
def test_what_a_line_is(text: str, kind: Kind) -> None:
    [line] = parse(text)
    assert line.kind is kind


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://host/a/foo-1.0-py3-none-any.whl#sha256=0", "foo-1.0-py3-none-any.whl"),
        ("https://host/a/foo%2Fbar-1.0-py3-none-any.whl", "bar-1.0-py3-none-any.whl"),
        ("https://host/a/foo-1.0%2Blocal-py3-none-any.whl", "foo-1.0+local-py3-none-any.whl"),
        ("https://host/a/", ""),
    ],
)
def test_the_name_of_the_file_at_an_address(text: str, name: str) -> None:
    assert parse_line(1, text).file_name == name


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_bytes_are_read(mark: str) -> None:
    assert decode("é==1\n".encode(mark))[0] == "é==1\n"


def test_utf_16_without_a_mark_is_told_from_utf_8() -> None:
    for name in ("utf-16-le", "utf-16-be"):
        text, encoding = decode("folium==0.15.1".encode(name))
        assert (text, encoding.name, encoding.has_mark) == ("folium==0.15.1", name, False)
    assert decode(b"")[1].name == "utf-8"


REGIMES = [
    ("folium==1", Regime.IMAGE),
    ("", Regime.IMAGE),
    ("--constraint c.txt", Regime.OWN),
    ("-c c.txt", Regime.OWN),
    ("folium==1 # --constraint c.txt", Regime.NONE),
    ("# -c c.txt\n-c d.txt", Regime.OWN),
    ("--constraint=c.txt", Regime.IMAGE),
    ("-cc.txt", Regime.IMAGE),
    ("-c\tc.txt", Regime.IMAGE),
]


@pytest.mark.parametrize(("text", "regime"), REGIMES)
def test_whose_constraints_an_image_takes(text: str, regime: Regime) -> None:
    """The local MWAA has its own parser for this, which does not distinguish comments from lines."""
    assert regime_of(text) is regime
    assert of_the_local_mwaa.brings_constraints(text) is (regime is not Regime.IMAGE)


@given(text=TEXTS)
@settings(max_examples=200, deadline=None)
def test_the_local_mwaa_reads_it_alike(text: str) -> None:
    assert of_the_local_mwaa.brings_constraints(text) is (regime_of(text) is not Regime.IMAGE)


def test_a_comment_that_switches_constraints_off() -> None:
    assert is_commented_constraint("# --constraint none")
    assert is_commented_constraint("folium==1 # -c none")
    assert not is_commented_constraint("-c c.txt # ours")
    assert not is_commented_constraint("--constraint c.txt")


@pytest.mark.parametrize("version", image_constraints.versions())
def test_essential_pins_are_of_the_image_and_the_local_mwaa_protects_them(version: str) -> None:
    pins, essential = image_constraints.pins_of(version), essential_pins(version)
    assert 22 <= len(essential) <= 25
    assert essential["apache-airflow"] == version
    assert {"celery", "flask", "sqlalchemy", "watchtower"} <= set(essential)
    beside = {"apache-airflow", "fluent-logger", "flask-bcrypt", "flask-caching"}
    assert {name: value for name, value in essential.items() if name not in beside}.items() <= pins.items()
    protected = of_the_local_mwaa.protected_constraints({**pins, **essential})
    # The local MWAA runs no log router, and guards Airflow's own parts besides.
    assert {f"{name}=={value}" for name, value in essential.items() if name != "fluent-logger"} <= set(protected)


@pytest.mark.parametrize(
    ("file_name", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-cp312-cp312-manylinux_2_34_x86_64.whl", True),
        ("a-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("a-1-cp37-abi3-manylinux1_x86_64.whl", True),
        ("a-1-cp312-cp312-linux_x86_64.whl", True),
        ("a-1-cp312-cp312-manylinux_2_35_x86_64.whl", False),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp312-cp312-manylinux_2_17_aarch64.whl", False),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.whl", False),
        ("a-1-cp313-abi3-manylinux_2_17_x86_64.whl", False),
        ("a-1-py2-none-any.whl", False),
        ("a.whl", False),
    ],
)
def test_which_wheels_fit_an_image(file_name: str, fits: bool) -> None:
    assert (Target.of("3.3.1").rank(file_name) is not None) is fits


def test_the_best_wheel_is_the_most_special() -> None:
    target = Target.of("2.10.3")
    names = [
        "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
        "a-1-cp37-abi3-manylinux_2_28_x86_64.whl",
        "a-1-py3-none-any.whl",
    ]
    assert sorted(names, key=lambda name: target.rank(name) or 0) == names


def test_markers_are_those_of_the_image_and_not_of_this_machine() -> None:
    for marker in ('platform_machine == "x86_64"', 'sys_platform == "linux"', 'os_name == "posix"'):
        assert Target.of("3.3.1").is_wanted(Requirement(f"a; {marker} and python_version == '3.12'"))
        assert Target.of("2.8.1").is_wanted(Requirement(f"a; {marker} and python_version == '3.11'"))
    assert not Target.of("3.3.1").is_wanted(Requirement("a; python_version < '3.12'"))
