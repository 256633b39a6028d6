# SPDX-License-Identifier: Apache-2.0
"""A plugins.zip of wheels: its contents, and that pip installs from it alone."""

from __future__ import annotations

import ensurepip
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError, ResolverUnavailable
from airflow_mwaa_provider.packaging.requirements.offline import OfflinePackage, package_offline
from airflow_mwaa_provider.packaging.requirements.regime import Regime, regime_of
from tests.packaging.wheel_index import WheelIndex, metadata, wheel

pytestmark = pytest.mark.once


def packaged(folder: Path, text: str, **options: object) -> OfflinePackage:
    file = folder / "requirements.txt"
    file.write_text(text)
    return package_offline(file, "3.3.1", folder / "plugins.zip", **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    with zipfile.ZipFile(folder / "plugins.zip") as archive:
        return archive.namelist()


def test_all_wheels_are_in_it_sources_are_built_and_pip_installs_from_it_alone(
    index: WheelIndex, tmp_path: Path
) -> None:
    done = packaged(tmp_path, "folium[maps]==0.15.1 # maps\n--no-binary none\npure-sasl==0.6.2; python_version > '3'\n")
    assert done.report.errors == ()
    assert names(tmp_path) == [
        "branca-0.8.2-py3-none-any.whl",
        "folium-0.15.1-py3-none-any.whl",
        "pure_sasl-0.6.2-py3-none-any.whl",
    ]
    lines = (tmp_path / "packaged_requirements.txt").read_text().splitlines()
    assert lines[1:] == [
        "--find-links /usr/local/airflow/plugins",
        "--no-index",
        "",
        "folium[maps]==0.15.1",
        'pure-sasl==0.6.2; python_version > "3"',
    ]

    plugins = tmp_path / "plugins"
    with zipfile.ZipFile(tmp_path / "plugins.zip") as archive:
        archive.extractall(plugins)
    here = tmp_path / "here.txt"
    here.write_text("\n".join(lines).replace("/usr/local/airflow/plugins", str(plugins)))
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    [pip] = [found for folder in folders if folder for found in Path(folder).glob("pip-*.whl")][:1]
    command = [sys.executable, "-I", "-W", "ignore", str(pip / "pip"), "--isolated", "--disable-pip-version-check"]
    command += ["install", "--dry-run", "--ignore-installed", "--requirement", str(here)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.splitlines()[-1] == "Would install branca-0.8.2 folium-0.15.1 pure-sasl-0.6.2"


def test_the_same_wheels_give_the_same_zip(index: WheelIndex, tmp_path: Path) -> None:
    first = packaged(tmp_path, "folium==0.15.1\npure-sasl==0.6.2\n")
    lines = (tmp_path / "packaged_requirements.txt").read_text().splitlines()
    skipped = "https://example.com/branca-0.8.2-py3-none-any.whl ; python_version < '3'\n"
    again = packaged(tmp_path, f"pure-sasl==0.6.2\nfolium==0.15.1\n{skipped}")
    assert sorted((tmp_path / "packaged_requirements.txt").read_text().splitlines()) == sorted(lines)
    assert first.zip
    assert again.zip
    assert (first.zip.changed, again.zip.changed) == (True, False)
    assert again.as_dict()["offline"]["sha256"] == first.zip.sha256


def test_wheels_of_ones_own_come_before_those_of_an_index(index: WheelIndex, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    about = metadata("maps", "1.0", ("branca", "requests; extra == 'fast'"), "", ("fast",))
    (own / "maps-1.0-py3-none-any.whl").write_bytes(wheel("maps", "1.0", about, "py3-none-any", {}))
    text = "/usr/local/airflow/plugins/maps-1.0-py3-none-any.whl[fast]\nfolium==0.15.1\n"
    assert packaged(tmp_path, text, wheels=own).report.errors == ()
    assert [name.partition("-")[0] for name in names(tmp_path)] == ["branca", "folium", "maps", "requests"]
    assert "\nmaps[fast]==1.0\n" in (tmp_path / "packaged_requirements.txt").read_text()


def test_constraints_that_were_switched_off_stay_so(index: WheelIndex, tmp_path: Path) -> None:
    """Otherwise the image would apply its own to versions that were chosen without them."""
    assert packaged(tmp_path, "# -c none\nawswrangler==3.12.0\n").report.errors == ()
    assert "pandas-2.3.3-py3-none-any.whl" in names(tmp_path)
    assert regime_of((tmp_path / "packaged_requirements.txt").read_text()) is Regime.NONE


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("mysqlclient==2.2.8\n", "needs-compiler"),
        ("/usr/local/airflow/plugins/maps-1.0-py3-none-any.whl\n", "not-here"),
    ],
)
def test_what_cannot_be_packaged_is_an_error_and_nothing_is_written(
    text: str, code: str, index: WheelIndex, tmp_path: Path
) -> None:
    done = packaged(tmp_path, text)
    assert [problem.code for problem in done.report.errors] == [code]
    assert done.as_dict()["offline"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]


def test_another_file_is_not_replaced(index: WheelIndex, tmp_path: Path) -> None:
    (tmp_path / "packaged_requirements.txt").write_text("folium\n")
    with pytest.raises(MwaaInputError, match="was not written by this command"):
        packaged(tmp_path, "folium==0.15.1\n")
    assert not (tmp_path / "plugins.zip").exists()
    packaged(tmp_path, "folium==0.15.1\n", replace_anything=True)


def test_both_files_are_written_or_none(index: WheelIndex, tmp_path: Path) -> None:
    (tmp_path / "packaged_requirements.txt").mkdir()
    with pytest.raises(MwaaInputError, match=r"packaged_requirements\.txt is a folder"):
        packaged(tmp_path, "folium==0.15.1\n", replace_anything=True)
    assert not (tmp_path / "plugins.zip").exists()


@pytest.mark.parametrize("name", ["packaged_requirements.txt", "plugins.zip"])
def test_the_file_is_not_overwritten_by_what_is_made_of_it(name: str, index: WheelIndex, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("folium==0.15.1\n")
    with pytest.raises(MwaaInputError, match="would be overwritten by the result"):
        package_offline(file, "3.3.1", tmp_path / "plugins.zip", replace_anything=True)
    assert file.read_text() == "folium==0.15.1\n"


@pytest.mark.parametrize("place", [".", ""])
def test_a_zip_needs_a_name(place: str, tmp_path: Path) -> None:
    with pytest.raises(MwaaInputError, match="is not a file name"):
        package_offline(tmp_path / "requirements.txt", "3.3.1", Path(place))


def test_a_wheel_that_is_not_the_one_that_was_promised(
    index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in index.pages["branca"]:
        monkeypatch.setitem(file["hashes"], "sha256", "0" * 64)
    with pytest.raises(ResolverUnavailable, match=r"branca-0\.8\.2-py3-none-any\.whl is not the file that the index"):
        packaged(tmp_path, "branca==0.8.2\n")


def test_an_index_with_a_password_gives_its_wheels(
    index: WheelIndex, index_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "user", "aws:hunter2")
    monkeypatch.setenv("UV_DEFAULT_INDEX", index_url.replace("http://", "http://aws:hunter2@"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    done = packaged(tmp_path, "folium==0.15.1\n")
    assert done.zip
    assert len(done.zip.names) == 2
    assert "hunter2" not in str(done.as_dict())
    written = [path for path in tmp_path.iterdir() if path.is_file()]
    assert not any(b"hunter2" in path.read_bytes() for path in written)


def test_a_wheel_whose_metadata_pip_refuses(index: WheelIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an index without metadata files and sizes of its wheels."""
    monkeypatch.delitem(index.files, "omegaconf-2.0.6-py3-none-any.whl.metadata")
    for page in index.pages["omegaconf"]:
        monkeypatch.delitem(page, "size")
    with pytest.raises(ResolverUnavailable, match=r"pip refuses omegaconf-2\.0\.6-py3-none-any\.whl: its metadata"):
        packaged(tmp_path, "omegaconf==2.0.6\n")
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]
