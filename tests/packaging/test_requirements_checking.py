# SPDX-License-Identifier: Apache-2.0
"""What a check resolves: with which wheels, under which constraints, for which image; and with pip without uv."""

from __future__ import annotations

import ensurepip
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.report import RequirementsReport
from airflow_mwaa_provider.packaging.requirements.resolving import Asked, Unresolvable, find_resolver
from airflow_mwaa_provider.packaging.requirements.target import Target
from tests.packaging.wheel_index import WheelIndex, metadata, wheel

pytestmark = pytest.mark.once
OURS = "https://raw.githubusercontent.com/apache/airflow/constraints-3.3.1/constraints-3.12.txt"


def versions(report: RequirementsReport) -> dict[str, str]:
    return {package.name: package.version for package in report.resolved}


def codes(report: RequirementsReport) -> list[tuple[str, str]]:
    return [(problem.code, problem.where.partition(":")[2]) for problem in report.problems]


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, version, needs in (("maps", "1.0", ("branca",)), ("branca", "0.8.2", ())):
        about = metadata(name, version, needs, "", ())
        content = wheel(name, version, about, "py3-none-any", {})
        (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(content)
    return folder


def test_a_private_web_server_installs_from_its_wheels_and_asks_no_index(index: WheelIndex, wheels: Path) -> None:
    text = "--find-links /usr/local/airflow/plugins\n--no-index\nmaps==1.0\n"
    report = check_requirements(text, "3.3.1", private_web_server=True, wheels=wheels)
    assert (codes(report), versions(report)) == ([], {"branca": "0.8.2", "maps": "1.0"})
    (wheels / "branca-0.8.2-py3-none-any.whl").unlink()
    report = check_requirements(text, "3.3.1", private_web_server=True, wheels=wheels)
    assert codes(report) == [("lines-conflict", "3")]
    assert index.asked == []


def test_wheels_that_are_not_here_are_taken_from_the_index(index: WheelIndex) -> None:
    text = "--find-links /usr/local/airflow/plugins\n--no-index\nfolium==0.15.1\n"
    report = check_requirements(text, "3.3.1", private_web_server=True)
    assert codes(report) == [("not-here", "1")]
    assert versions(report) == {"branca": "0.8.2", "folium": "0.15.1"}


@pytest.mark.parametrize(
    "line",
    [
        "/usr/local/airflow/plugins/maps-1.0-py3-none-any.whl",
        "file:///usr/local/airflow/plugins/maps-1.0-py3-none-any.whl",
        "maps @ file:///usr/local/airflow/plugins/maps-1.0-py3-none-any.whl",
    ],
)
def test_a_wheel_of_plugins_zip_by_its_path(line: str, index: WheelIndex, wheels: Path) -> None:
    report = check_requirements(f"{line}\n", "3.3.1", wheels=wheels)
    assert (codes(report), versions(report)) == ([], {"branca": "0.8.2", "maps": "1.0"})
    assert codes(check_requirements(f"{line}\n", "3.3.1")) == [("not-here", "1")]


def test_an_archive_by_its_address(index: WheelIndex, index_url: str) -> None:
    address = index_url.replace("/simple", "/files/folium-0.15.1-py3-none-any.whl")
    assert versions(check_requirements(f"{address}\n", "3.3.1")) == {"branca": "0.8.2", "folium": "0.15.1"}
    gone = index_url.replace("/simple", "/files/pure-sasl-9.tar.gz")
    assert check_requirements(f"{gone}\nfolium==0.15.1\n", "3.3.1").errors[0].code == "lines-conflict"


@pytest.mark.parametrize("line", [f"-c {OURS}", f'--constraint "{OURS}"'])
def test_the_published_constraints_are_those_of_the_package(line: str, index: WheelIndex) -> None:
    """Nothing is requested from GitHub, because they are the same files."""
    report = check_requirements(f"{line}\npandas\n", "3.3.1")
    assert (versions(report), report.moved_pins) == ({"pandas": "3.0.5"}, ())
    report = check_requirements(f"{line}\nawswrangler==3.12.0\n", "3.3.1")
    assert [problem.code for problem in report.errors] == ["pin-conflict"]


def test_constraints_of_ones_own_count_and_what_they_move_is_told(index: WheelIndex, tmp_path: Path) -> None:
    own = tmp_path / "ours.txt"
    own.write_text("pandas==2.3.3\n")
    text = "--constraint /usr/local/airflow/dags/ours.txt\npandas\n"
    report = check_requirements(text, "3.3.1", constraints=own)
    assert versions(report) == {"pandas": "2.3.3"}
    assert ("moves-pin", "2") in codes(report)


def test_an_address_in_constraints_is_where_the_package_is_from(
    index: WheelIndex, index_url: str, tmp_path: Path, wheels: Path
) -> None:
    own = tmp_path / "ours.txt"
    address = index_url.replace("/simple", "/files/branca-0.3.0-py3-none-any.whl")
    text = "--constraint /usr/local/airflow/dags/ours.txt\nbranca\n"
    for place in (address, f"{address} ; python_version > '3'", "file:///usr/local/airflow/plugins/maps.whl"):
        own.write_text(f"Branca @ {place}\nfolium @ git+https://example.com/folium\npandas==3.0.5;\n")
        report = check_requirements(text, "3.3.1", constraints=own)
        expected = ("0.8.2", ["not-here"]) if place.startswith("file:") else ("0.3.0", [])
        found = [problem.code for problem in report.problems if problem.code not in ("unpinned", "moves-pin")]
        assert (versions(report)["branca"], found) == expected


def test_the_extra_of_a_wheel_in_plugins_zip(index: WheelIndex, wheels: Path) -> None:
    about = metadata("maps", "2.0", ("requests; extra == 'fast'",), "", ("fast",))
    (wheels / "maps-2.0-py3-none-any.whl").write_bytes(wheel("maps", "2.0", about, "py3-none-any", {}))
    line = "/usr/local/airflow/plugins/maps-2.0-py3-none-any.whl[fast]\n"
    report = check_requirements(line, "3.3.1", wheels=wheels)
    assert (codes(report), set(versions(report))) == ([], {"maps", "requests"})
    [problem] = check_requirements("./maps-2.0-py3-none-any.whl[fast]\n", "3.3.1").problems
    assert problem.fix.endswith(f"write {line.strip()}.")


def test_the_scheme_of_an_address_in_capitals(index: WheelIndex, index_url: str) -> None:
    address = index_url.replace("http:", "HTTP:").replace("/simple", "/files/branca-0.8.2-py3-none-any.whl")
    for line in (address, f"Branca @ {address}"):
        report = check_requirements(f"{line}\n", "3.3.1")
        assert (codes(report), versions(report)) == ([], {"branca": "0.8.2"})


@pytest.mark.parametrize(
    "refused",
    ["branca[x]==0.8.2", "-r other.txt", "https://example.com/maps-1.0-py3-none-any.whl", "not a line", "-e ."],
)
def test_what_pip_refuses_in_a_constraints_file(refused: str, index: WheelIndex, tmp_path: Path) -> None:
    own = tmp_path / "ours.txt"
    own.write_text(f"pandas==3.0.5\n{refused}\n")
    text = "--constraint /usr/local/airflow/dags/ours.txt\nfolium==0.15.1\n"
    [problem] = check_requirements(text, "3.3.1", constraints=own).errors
    assert (problem.code, problem.where) == ("not-a-requirement", "requirements.txt:1")
    assert f"{refused!r} in line 2 of ours.txt" in problem.what


def test_a_constraints_file_that_is_none(index: WheelIndex, tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(MwaaInputError, match="no such constraints file"):
            check_requirements("folium==0.15.1\n", "3.3.1", constraints=path)
    (tmp_path / "other.txt").write_text("")
    text = "-c /usr/local/airflow/dags/ours.txt\nfolium==0.15.1\n"
    [problem] = check_requirements(text, "3.3.1", constraints=tmp_path / "other.txt").problems
    assert problem.fix == "Give a copy named ours.txt: --constraints FILE."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"-c {OURS.replace('-3.12', '-no-providers-3.12')}\nfolium==0.15.1\n", ["constraints-not-here"]),
        (f"-c {OURS.replace('3.3.1', '3.3.0')}\nfolium==0.15.1\n", ["constraints-of-another-airflow"]),
        (f"-c {OURS}\nboto3\n", []),
        ("pandas==3.0.5\nPandas==3.0.5.0\n", ["repeated"]),
    ],
)
def test_right_files_are_not_refused(text: str, found: list[str], index: WheelIndex) -> None:
    report = check_requirements(text, "3.3.1")
    assert (report.errors, [problem.code for problem in report.problems]) == ((), found)


@pytest.mark.parametrize(
    ("line", "is_private", "found"),
    [
        ("-r https://example.com/inc.txt", False, ["not-here"]),
        ("-r https://example.com/inc.txt", True, ["needs-network"]),
        ("-r file:///Users/me/inc.txt", False, ["includes-file"]),
        ("-r file:///usr/local/airflow/dags/inc.txt", True, ["not-here"]),
        ("-c file:///Users/me/c.txt", False, ["local-path"]),
        ("-c file:///usr/local/airflow/dags/c.txt", True, ["constraints-not-here"]),
        ("-c https://example.com/c.txt", True, ["needs-network"]),
        ("-f FILE:/usr/local/airflow/plugins", True, []),
    ],
)
def test_files_of_the_environment_and_of_another_machine(
    line: str, is_private: bool, found: list[str], index: WheelIndex
) -> None:
    report = check_requirements(f"{line}\n", "3.3.1", private_web_server=is_private)
    assert [problem.code for problem in report.problems] == found


def test_a_comment_may_name_the_encoding(index: WheelIndex, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_bytes("# -*- coding: latin-1 -*-\nfolium==0.15.1  # caf\u00e9\n".encode("latin-1"))
    assert check_requirements(file, "3.3.1").problems == ()


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ("nonsense", "unknown-encoding"),
        ("rot13", "unknown-encoding"),
        ("idna", "unknown-encoding"),
        ("ascii", "not-utf-8"),
    ],
)
def test_an_encoding_that_ends_pip(declared: str, code: str, index: WheelIndex, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_bytes(f"# coding: {declared}\n# caf\u00e9\n".encode())
    assert [problem.code for problem in check_requirements(file, "3.3.1").problems] == [code]


def test_without_constraints_what_the_image_has_stays_where_it_can(index: WheelIndex) -> None:
    report = check_requirements("# -c none\nboto3\n", "3.3.1")
    assert versions(report) == {"boto3": "1.43.56"}
    assert report.moved_pins == ()


def test_markers_and_wheels_are_those_of_each_image(index: WheelIndex) -> None:
    text = "folium==0.15.1; python_version < '3.12'\n"
    assert versions(check_requirements(text, "2.10.3"))["folium"] == "0.15.1"
    assert versions(check_requirements(text, "3.3.1")) == {}
    assert [problem.code for problem in check_requirements("tensorflow==2.21.0", "2.10.3").errors] == [
        "needs-another-python"
    ]


def test_the_python_of_an_image_has_a_third_number(index: WheelIndex) -> None:
    text = 'folium==0.15.1; python_full_version >= "3.12.3"\nneeds-a-patch==1.0\n'
    report = check_requirements(text, "3.3.1")
    assert (codes(report), set(versions(report))) == ([], {"branca", "folium", "needs-a-patch"})


def test_quotes_of_the_shell(index: WheelIndex) -> None:
    [problem] = check_requirements('"folium==0.15.1"\n', "3.3.1").problems
    assert problem.fix == "Remove the quotes, which belong to a shell."


@pytest.mark.parametrize("end", [";", " ; ", "; python_version > '3'", " ; python_version > '3'"])
@pytest.mark.parametrize("line", ["folium==0.15.1", "folium @ {}"])
def test_a_marker_that_is_empty_or_true(line: str, end: str, index: WheelIndex, index_url: str) -> None:
    line = line.format(index_url.replace("/simple", "/files/folium-0.15.1-py3-none-any.whl"))
    report = check_requirements(f"{line}{end}\n", "3.3.1")
    assert (codes(report), versions(report)) == ([], {"branca": "0.8.2", "folium": "0.15.1"})


@pytest.mark.parametrize(
    "place",
    [
        "{}/hashed-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "hashed @ {}/hashed-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "/usr/local/airflow/plugins/hashed-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "git+https://example.com/hashed",
    ],
)
def test_a_marker_counts_for_an_address_as_well(place: str, index: WheelIndex, index_url: str) -> None:
    files = index_url.replace("/simple", "/files")
    other = place.format(files)
    ours = f"{files}/hashed-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
    text = f"{ours} ; python_version == '3.12'\n{other} ; python_version == '3.11'\n"
    report = check_requirements(text, "3.3.1")
    assert (codes(report), versions(report)) == ([("marker-false", "2")], {"hashed": "1.0"})


def test_a_source_that_another_package_needs_is_told_with_its_line(index: WheelIndex) -> None:
    [problem] = check_requirements("folium==0.15.1\nsasl-client==1.0\n", "3.3.1").problems
    assert (problem.code, problem.where) == ("source-only", "requirements.txt:2")
    assert problem.what.startswith("pure-sasl 0.6.2 (sasl-client needs pure-sasl) has no wheel")


@pytest.mark.parametrize("without_cache", [True, False])
def test_the_way_to_a_package_asks_the_index_nothing_that_uv_keeps(
    without_cache: bool, index: WheelIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without_cache:
        monkeypatch.setenv("UV_NO_CACHE", "1")
    [problem] = check_requirements("sasl-client==1.0\n", "3.3.1").problems
    assert problem.what.startswith("pure-sasl 0.6.2 (sasl-client needs pure-sasl) has no wheel")
    assert index.asked.count("/simple/sasl-client/") == (2 if without_cache else 1)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("apache-airflow-providers-http==4.13.2", []),
        ("apache-airflow-providers-http==4.13.2\nsasl-client==1.0", ["pure-sasl"]),
        ("dill==0.3.1.1", ["dill"]),
        ("apache-airflow[sasl]==2.10.3", ["dill", "pure-sasl"]),
    ],
)
def test_a_source_that_airflow_needs_is_in_the_image(lines: str, told: list[str], index: WheelIndex) -> None:
    report = check_requirements(f"{lines}\n", "2.10.3")
    assert sorted(problem.what.partition(" ")[0] for problem in report.problems) == told
    assert {problem.code for problem in report.problems} <= {"source-only"}


def test_all_that_is_wrong_is_told_at_once(index: WheelIndex) -> None:
    text = "requsts==1\nawswrangler==3.12.0\nboto3==1.30.0\n./x.whl\nfolium==0.0.0\ntensorflow==2.10.0\n"
    report = check_requirements(text, "3.3.1")
    assert [problem.fix for problem in report.errors if problem.where.endswith((":2", ":6"))] == [
        "Write awswrangler==3.17.1.",
        "Write tensorflow==2.21.0.",
    ]
    assert codes(report) == [
        *(("unknown-package", "1"), ("pin-conflict", "2"), ("pin-conflict", "3"), ("local-path", "4")),
        *(("wheel-name", "4"), ("needs-another-python", "6"), ("yanked", "5")),
    ]


INDEX = "https://${AIRFLOW__FOO__USER}:${AIRFLOW__FOO__PASS}@example.com/simple"


@pytest.mark.parametrize(
    "text",
    [
        "--find-links /usr/local/airflow/plugins\n--no-index\nours==1.0\nfolium==0.15.1\n",
        "--find-links /usr/local/airflow/plugins\nawswrangler==1.0\nfolium==0.15.1\n",
        f"--extra-index-url {INDEX}\nours==1.0\nfolium==0.15.1\n",
        f"--index-url {INDEX}\nawswrangler==1.0\nfolium==0.15.1\n",
        "--find-links /usr/local/airflow/plugins\nneeds-ours==1.0\nfolium==0.15.1\n",
    ],
)
def test_what_may_be_in_a_place_that_was_not_asked_is_no_error_and_gets_no_other_version(
    text: str, index: WheelIndex
) -> None:
    """A public package of the same name is a stranger's."""
    report = check_requirements(text, "3.3.1")
    assert report.errors == ()
    [problem] = [problem for problem in report.problems if problem.fix.startswith("Give the folder with its wheel")]
    assert (problem.code, problem.fix) == ("not-here", "Give the folder with its wheel: --wheels FOLDER.")
    assert versions(report) == {"branca": "0.8.2", "folium": "0.15.1"}


@pytest.mark.parametrize("line", ["maps[x] @ {}", "{}"])
def test_no_version_is_proposed_for_a_file_and_it_is_called_what_it_was(
    line: str, index: WheelIndex, wheels: Path
) -> None:
    about = metadata("maps", "2.0", ("branca<0.8",), "", ("x",))
    (wheels / "maps-2.0-py3-none-any.whl").write_bytes(wheel("maps", "2.0", about, "py3-none-any", {}))
    asked = line.format("file:///usr/local/airflow/plugins/maps-2.0-py3-none-any.whl")
    [problem] = check_requirements(f"{asked}\nbranca==0.8.2\n", "3.3.1", wheels=wheels).errors
    assert problem.fix in ("Write branca==0.3.0.", "Take another file in line 1, or remove the line.")
    [problem] = check_requirements(f"{asked}\n", "2.10.3", wheels=wheels).problems or [None]
    assert problem is None


def test_a_source_of_plugins_zip(index: WheelIndex, wheels: Path) -> None:
    (wheels / "needs-old-pandas-1.0.tar.gz").write_bytes(index.files["needs-old-pandas-1.0.tar.gz"])
    text = "/usr/local/airflow/plugins/needs-old-pandas-1.0.tar.gz\n"
    assert codes(check_requirements(text, "3.3.1", wheels=wheels)) == [("pin-conflict", "1")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("folium==${VERSION}\n", [("variable", "1")]),
        ("folium==0.15.1 ${MORE}\n", [("variable", "1")]),
        ("folium==${version}\n", [("not-a-requirement", "1")]),
        ("folium==0.15.1; python_version == '${PYTHON}'\n", [("variable", "1")]),
        ("folium==0.15.1 ${x}\n", [("not-a-requirement", "1")]),
        ("folium=${VERSION}\n", [("not-a-requirement", "1"), ("variable", "1")]),
    ],
)
def test_what_surrounds_a_variable_is_judged(text: str, found: list[tuple[str, str]], index: WheelIndex) -> None:
    assert codes(check_requirements(text, "3.3.1")) == found


def test_options_beside_a_requirement_count_as_little_as_for_pip(index: WheelIndex) -> None:
    report = check_requirements("folium==0.15.1 --index-url https://127.0.0.1:9/simple\n", "3.3.1")
    assert (codes(report), versions(report)["folium"]) == ([("ignored-option", "1")], "0.15.1")
    report = check_requirements(f"folium==0.15.1 -c {OURS}\npandas==2.3.3\n", "3.3.1")
    assert codes(report) == [("ignored-option", "1"), ("moves-pin", "2")]


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("--index-ulr x", "Write --index-url, or remove it."),
        ("--norequire-hashes", "Write --no-require-hashes, or remove it."),
        ("--no-pre", "Remove it."),
        ("--no-deps", "Remove it."),
        ("--no-extra-index-url", "Remove it."),
        ("--no-build-isolation", "Remove it."),
    ],
)
def test_no_option_is_proposed_that_has_another_meaning(option: str, fix: str) -> None:
    [problem] = check_requirements(f"{option}\n", "3.3.1").problems
    assert (problem.code, problem.fix) == ("unknown-option", fix)


def test_options_of_a_new_pip(index: WheelIndex) -> None:
    text = f"--all-releases :all:\n--only-final folium\n--no-require-hashes\nbranca==0.8.2 --hash=sha256:{'0' * 64}\n"
    report = check_requirements(f"{text}folium==0.15.1\n--use-feature fast-deps\n", "3.3.1")
    assert codes(report) == [("hash-of-another-file", "4")]
    assert versions(check_requirements("--all-releases :all:\nearly\n", "3.3.1")) == {"early": "2.0rc1"}
    assert versions(check_requirements("early\n", "3.3.1")) == {"early": "1.0"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("-c # todo\nfolium==0.15.1\n", "bad-option"),
        ("folium==0.15.1 -c #\n", "bad-option"),
        ("folium==0.15.1 \\ \nbranca==0.8.2\n", "space-after-backslash"),
        ("folium==0.15.1 \\  # maps\n  --pre\n", "space-after-backslash"),
        (f"folium==0.15.1 --hash=sha256:{'0' * 64} \\\t\nbranca==0.8.2\n", "space-after-backslash"),
        ("--use-feature=nonsense\n", "bad-option"),
        ("folium==0.15.1 --config-settings x\n", "bad-option"),
        ("folium==0.15.1 --global-option=x\n", "unknown-option"),
        ("--require-hashes\n--no-require-hashes\n", "bad-option"),
        *(
            (f"{line}\n", "not-a-requirement")
            for line in ("https://[x/a.whl", "folium@https://[x/a.whl", "git+ssh://[x")
        ),
        *((f"{option} https://[x\n", "bad-option") for option in ("-c", "-f", "-i")),
        ("folium===banana\n", "missing-version"),
        ('folium==0.15.1; sys_platform ~= "linux"\n', "not-a-requirement"),
        ('https://example.com/a.tar.gz ; sys_platform ~= "linux"\n', "not-a-requirement"),
        ("https://example.com/a.tar.gz ; windows\n", "not-a-requirement"),
        ("folium==0.15.1;;\n", "not-a-requirement"),
    ],
)
def test_what_pip_refuses_ends_no_check(text: str, code: str, index: WheelIndex) -> None:
    assert [problem.code for problem in check_requirements(text, "3.3.1").errors] == [code]


def test_a_source_by_its_address_that_moves_pins(index: WheelIndex, index_url: str) -> None:
    """Its name is unknown before it is built, and no other version of it can be proposed."""
    address = index_url.replace("/simple", "/files/needs-old-pandas-1.0.tar.gz")
    [problem] = check_requirements(f"{address}\n", "3.3.1").errors
    assert (problem.code, problem.fix) == ("pin-conflict", "No version near it fits. Remove the line.")
    found = codes(check_requirements(f"folium==0.15.1\n{address}\nfolium==99\n", "3.3.1"))
    assert found[:2] == [("pin-conflict", "2"), ("two-versions", "3")]
    found = codes(check_requirements(f"# -c none\nfolium==0.15.1\n{address}\n", "3.3.1"))
    assert found == [("constraints-switched-off", "1"), ("moves-pin", "3"), ("source-only", "3")]


def test_a_conflict_of_lines_hides_no_other_mistake(index: WheelIndex) -> None:
    found = codes(check_requirements("folium==0.15.1\nbranca==0.3.0\ntensorflow==2.10.0\n", "3.3.1"))
    assert found == [("lines-conflict", "2"), ("needs-another-python", "3")]


def test_hashes_of_all_that_is_installed(index: WheelIndex) -> None:
    hashes = {file["filename"]: file["hashes"]["sha256"] for page in ("folium", "branca") for file in index.pages[page]}
    folium = f"folium==0.15.1 --hash=sha256:{hashes['folium-0.15.1-py3-none-any.whl']}\n"
    branca = (
        f"branca==0.8.2 \\\n  --hash=sha256:{'0' * 64} \\\n  --hash=sha256:{hashes['branca-0.8.2-py3-none-any.whl']}\n"
    )
    assert codes(check_requirements(folium + branca, "3.3.1")) == []
    [problem] = check_requirements(folium, "3.3.1").problems
    assert problem.code == "hashes-on-some"
    assert "branca 0.8.2, which one of them needs, has no line" in problem.what


def test_hashes_of_addresses(index: WheelIndex, index_url: str) -> None:
    """Of pip 26.3, given the same lines: an error, or nothing."""
    [file] = index.pages["pure-sasl"]
    source, source_hash = file["url"], file["hashes"]["sha256"]
    [file] = [file for file in index.pages["branca"] if "0.8.2" in file["filename"]]
    url, right, wrong = index_url.replace("/simple", file["url"]), file["hashes"]["sha256"], "0" * 64
    first = f"requests==2.34.2 --hash=sha256:{index.pages['requests'][0]['hashes']['sha256']}"
    source = index_url.replace("/simple", source)
    for lines, found in (
        ([first, f"branca @ {url}"], ["hashes-on-some"]),
        ([first, url], ["hashes-on-some"]),
        ([first, source], ["hashes-on-some", "source-only"]),
        ([first, f"branca @ {url}#sha256={right}"], []),
        ([first, f"{url} --hash=sha256:{right}"], []),
        ([first, f"{source}#sha256={source_hash}"], ["source-only"]),
        ([first, "colorama==0.4.6; sys_platform == 'win32'"], ["marker-false"]),
        ([f"{url} --hash=sha256:{wrong}"], ["hash-of-another-file"]),
        ([f"{url}#sha256={wrong}"], ["hash-of-another-file"]),
        ([f"{url}#egg=branca&sha256={wrong}"], ["hash-of-another-file"]),
        ([f"branca @ {url}#sha256={wrong}"], ["hash-of-another-file"]),
        ([f"branca @ {url}#sha256={wrong} --hash=sha256:{right}"], []),
        ([f"{source}#sha256={wrong}"], ["hash-of-another-file", "source-only"]),
        ([f"branca==0.8.* --hash=sha256:{right}"], []),
    ):
        report = check_requirements("".join(f"{line}\n" for line in lines), "3.3.1")
        assert [problem.code for problem in report.problems if problem.code != "unpinned"] == found, lines


def test_what_the_image_has_needs_no_hash(index: WheelIndex) -> None:
    digests = {file["filename"]: file["hashes"]["sha256"] for file in index.pages["awswrangler"]}
    digest = digests["awswrangler-3.17.1-py3-none-any.whl"]
    report = check_requirements(f"awswrangler==3.17.1 --hash=sha256:{digest}\n", "3.3.1")
    assert report.errors == ()
    assert [problem.code for problem in report.problems] == ["hashes-on-some", "hashes-on-some"]
    assert all("refuses it, unless the image has it." in problem.what for problem in report.problems)


def test_any_file_of_a_package_may_have_the_hash(index: WheelIndex) -> None:
    def judged(digest: str) -> tuple[list[str], str]:
        report = check_requirements(f"hashed==1.0 --hash={digest}\n", "3.3.1")
        [package] = report.resolved
        file = package.wheel or package.source
        assert file
        return [problem.code for problem in report.problems], file.name

    files = {file["filename"]: file["hashes"]["sha256"] for file in index.pages["hashed"]}
    assert len(files) == 3
    for name, digest in files.items():  # the best wheel, the second, the source
        expected = ([] if name.endswith(".whl") else ["source-only"], name)
        assert judged(f"sha256:{digest}") == judged(f"sha256:{digest.upper()}") == expected
    best = "hashed-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert judged(f"sha512:{'0' * 128}") == ([], best)  # of which the index gives none
    assert judged(f"sha256:{'0' * 64}") == (["hash-of-another-file"], best)


@pytest.mark.skipif(sys.platform != "linux", reason="pip resolves for its own platform, and the images have Linux")
def test_pip_where_there_is_no_uv(
    index: WheelIndex, index_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    [pip] = [found for folder in folders if folder for found in Path(folder).glob("pip-*.whl")][:1]
    image = {"3.11": "2.10.3", "3.12": "3.3.1"}[f"{sys.version_info.major}.{sys.version_info.minor}"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with zipfile.ZipFile(pip) as archive:
        archive.extractall(tmp_path / "pip")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "pip"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", index_url)
    # Which say what is taken, and not from where.
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nno-deps = true\n[install]\npre = true\nno-binary = :all:\nconstraint = /no/such/file\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    report = check_requirements("folium==0.15.1\nbranca==0.8.2\n", image)
    assert report.resolver.startswith("pip ")
    assert (codes(report), versions(report)) == ([], {"branca": "0.8.2", "folium": "0.15.1"})
    with pytest.raises(Unresolvable, match=r"^Cannot install -r requirements\.txt \(line 1\) and branca==0\.3\.0"):
        find_resolver(Target.of(image)).resolve(Asked(("folium==0.15.1", "branca==0.3.0")))
    extra = "awswrangler[parquet]==3.17.1\n" * (image == "3.3.1")
    report = check_requirements(f"folium==0.0.0\n{extra}", image)
    told = {problem.code: problem.what for problem in report.problems}
    assert told["yanked"] == "This version of folium was withdrawn by its authors: bogus version number."
    assert not extra or told["unknown-extra"].startswith("awswrangler has no extra parquet")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    report = check_requirements("branca==0.8.2\nfolium=0.15.1\n", image)
    assert codes(report) == [("not-resolved", "1"), ("not-a-requirement", "2")]
    assert report.errors[0].what.startswith("The package index cannot be reached: Could not fetch URL")
    assert not report.is_complete
