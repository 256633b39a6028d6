# SPDX-License-Identifier: Apache-2.0
"""What a check resolves: with which wheels, under which constraints, for which image; and by pip where uv is not."""

from __future__ import annotations

import ensurepip
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

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
    """Nothing is asked of GitHub: they are the same files."""
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


def test_a_source_that_another_package_needs_is_told_with_its_line(index: WheelIndex) -> None:
    [problem] = check_requirements("folium==0.15.1\nsasl-client==1.0\n", "3.3.1").problems
    assert (problem.code, problem.where) == ("source-only", "requirements.txt:2")
    assert problem.what.startswith("pure-sasl 0.6.2 (sasl-client needs pure-sasl) has no wheel")


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
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    report = check_requirements("folium==0.15.1\nbranca==0.8.2\n", image)
    assert report.resolver.startswith("pip ")
    assert (codes(report), versions(report)) == ([], {"branca": "0.8.2", "folium": "0.15.1"})
    with pytest.raises(Unresolvable, match=r"^Cannot install -r requirements\.txt \(line 1\) and branca==0\.3\.0"):
        find_resolver(Target.of(image)).resolve(Asked(("folium==0.15.1", "branca==0.3.0")))
