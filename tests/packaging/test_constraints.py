# SPDX-License-Identifier: Apache-2.0
"""The pins of MWAA's images: each file, how it is found, that the wheel has it, and where versions are named."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import airflow_mwaa_provider
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging import image_constraints
from tests.packaging.scripts import load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(airflow_mwaa_provider.__file__).parent / "packaging" / "constraints"
VERSIONS = image_constraints.versions()
check_wheel = load("check_wheel")


def test_every_file_is_found_and_the_oldest_comes_first() -> None:
    assert list(VERSIONS) == sorted((path.stem for path in FOLDER.iterdir()), key=Version)
    assert {path.suffix for path in FOLDER.iterdir()} == {".txt"}
    assert {"2.10.3", "3.3.1"} < set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_is_what_its_name_says(version: str) -> None:
    text = image_constraints.text_of(version)
    address = (
        rf"(?m)^# https://raw\.githubusercontent\.com/apache/airflow/constraints-{version}/constraints-([\d.]+)\.txt$"
    )
    [python] = re.findall(address, text)
    assert image_constraints.python_of(version) == python
    assert Version(python) >= Version("3.11")
    pins = image_constraints.pins_of(version)
    assert {"apache-airflow-providers-amazon", "apache-airflow-providers-celery", "boto3", "sqlalchemy"} <= set(pins)
    read = [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert pins == {canonicalize_name(found.name): str(found.specifier).removeprefix("==") for found in read}
    assert not any(found.extras or found.marker or found.url for found in read)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_header_names_source_and_licence_and_has_nothing_that_mwaa_takes_for_an_option(version: str) -> None:
    header, end, _ = image_constraints.text_of(version).partition("everything below it is unchanged.\n")
    assert end
    assert header.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert f"Apache Airflow {version}: Python {image_constraints.python_of(version)}." in header
    assert all(line.startswith("# ") and len(line) <= 120 for line in header.splitlines())
    assert re.search(r"-c |--constraint ", header) is None


def test_pins_are_by_normalized_name_and_comments_are_none() -> None:
    text = "# a==1\n\n  Flask_Session.x==0.8.0  \r\nzope.interface==7.0.post1\nlocal==1!2.0+cpu\n"
    assert image_constraints.pins_in(text, "here") == {
        "flask-session-x": "0.8.0",
        "zope-interface": "7.0.post1",
        "local": "1!2.0+cpu",
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a>=1", "here:2: 'a>=1' is not a pin. Write it as name==version."),
        ("a==1; python_version < '3.12'", "is not a pin"),
        ("a[x]==1", "is not a pin"),
        ("a==1.*", "is not a pin"),
        ("-r other.txt", "is not a pin"),
        ("<html>", "is not a pin"),
        ("B_c==2", "here:2: b-c is pinned twice. Remove one of the lines."),
    ],
)
def test_what_is_no_pin_is_refused_with_its_line(line: str, words: str) -> None:
    with pytest.raises(MwaaInputError) as refused:
        image_constraints.pins_in(f"b.c==1\n{line}\n", "here")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("version", "nearest"),
    [
        ("2.7.2", VERSIONS[0]),
        ("2.10.4", "2.10.3"),
        ("2.12.0", "2.11.2"),
        ("3.0.0", "3.0.6"),
        ("3.0", "3.0.6"),
        ("9.0.0", VERSIONS[-1]),
    ],
)
def test_an_unknown_version_names_the_nearest_and_all(version: str, nearest: str) -> None:
    for function in (
        image_constraints.text_of,
        image_constraints.path_of,
        image_constraints.python_of,
        image_constraints.pins_of,
    ):
        with pytest.raises(MwaaInputError) as refused:
            function(version)
        message = str(refused.value)
        assert message.startswith(
            f"Airflow {version}: this version knows no MWAA image of it. The nearest is {nearest}; "
        )
        assert re.findall(r"\d+\.\d+\.\d+", message.partition(";")[2]) == list(VERSIONS)


@pytest.mark.parametrize("text", ["", "latest", "3.3.1.txt", "../3.3.1", "v3.3.1", "3.3.1\n", "٣.3.1", "9" * 5000])
def test_what_is_no_version_is_called_so(text: str) -> None:
    with pytest.raises(MwaaInputError) as refused:
        image_constraints.text_of(text)
    assert "is not an Airflow version. Give one that MWAA has an image of: 2." in str(refused.value)
    assert len(str(refused.value)) < 250


def test_finding_them_imports_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; from airflow_mwaa_provider.packaging import image_constraints as found\n"
        "found.pins_of(found.versions()[-1])\n"
        "names = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(sorted(name for name in names if not name.startswith(('__', '_distutils', '_virtualenv'))))\n"
        "print(sorted(name for name in sys.modules if name.startswith('airflow_mwaa_provider')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    ours = [
        f"airflow_mwaa_provider{name}" for name in ("", ".exceptions", ".packaging", ".packaging.image_constraints")
    ]
    assert done.stdout.splitlines() == ["['airflow_mwaa_provider']", str(ours)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built like a release: the wheel from the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, capture_output=True, check=True, timeout=120)
    [archive] = folder.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True, timeout=60)
    source = folder / archive.name.removesuffix(".tar.gz")
    subprocess.run([*build, "-t", "wheel"], cwd=source, capture_output=True, check=True, timeout=120)
    [path] = folder.glob("*.whl")
    return path


def test_they_are_read_from_a_wheel_as_it_is(wheel: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\n"
        "from airflow_mwaa_provider.packaging import image_constraints as found\n"
        f"assert found.__file__.startswith({str(wheel)!r})\n"
        "with found.path_of('3.3.1') as path:\n"
        "    print(path.read_text(encoding='utf-8') == found.text_of('3.3.1'))\n"
        "print(path.exists(), found.python_of('2.10.3'), *found.versions())\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "False", "3.11", *VERSIONS]
    with image_constraints.path_of("3.3.1") as path:
        assert path == FOLDER / "3.3.1.txt"
    assert path.exists()


def test_the_wheel_has_them_all_and_the_notices(wheel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_wheel.main([str(wheel)]) == 0
    assert "summary: airflow_mwaa_provider-" in capsys.readouterr().out


IN_THE_WHEEL = "airflow_mwaa_provider/packaging/constraints"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (f"{IN_THE_WHEEL}/3.3.1.txt", None, f"constraints files left out: ['{IN_THE_WHEEL}/3.3.1.txt'], expected []"),
        (f"{IN_THE_WHEEL}/2.8.1.txt", b"a==1\n", f"constraints files that differ: ['{IN_THE_WHEEL}/2.8.1.txt']"),
        (f"{IN_THE_WHEEL}/.9.9.9.txt.part", b"a==1\n", "constraints files of nowhere: ['"),
        ("airflow_mwaa_provider-{}.dist-info/licenses/NOTICE", None, "NOTICE: False, expected True"),
        ("airflow_mwaa_provider-{}.dist-info/licenses/NOTICE", b"", "NOTICE: False, expected True"),
        ("airflow_mwaa_provider-{}.dist-info/licenses/LICENSE", None, "LICENSE: False, expected True"),
    ],
)
def test_a_wheel_without_one_is_refused(
    wheel: Path, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    name = name.format(airflow_mwaa_provider.__version__)
    broken = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(broken, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in whole.namelist():
            if entry != name:
                archive.writestr(entry, whole.read(entry))
        if content is not None:
            archive.writestr(name, content)
    [problem] = check_wheel.problems(broken)
    assert problem.startswith(words)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_docs_name_every_version_that_there_is_a_file_for(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    [paragraph] = re.findall(r"(?ms)^Python 3\.11 and later, (.*?)(?:\n\n|\. |\.\n|\Z)", text)
    named = re.findall(r"\d+\.\d+\.\d+", paragraph)
    assert named == list(VERSIONS)


def test_the_lower_bounds_are_those_of_the_oldest_image() -> None:
    oldest = image_constraints.pins_of(VERSIONS[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {found.name: found.specifier for found in map(Requirement, project["dependencies"])}
    assert str(wanted["apache-airflow"]) == f">={VERSIONS[0]}"
    amazon = "apache-airflow-providers-amazon"
    assert str(wanted[amazon]) == f">={oldest[amazon]}"
    for version in VERSIONS:
        pins = {"apache-airflow": version, **image_constraints.pins_of(version)}
        assert [name for name, bounds in wanted.items() if not bounds.contains(pins[name])] == [], version
