# SPDX-License-Identifier: Apache-2.0
"""Constraints with another version of a provider: what changes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.packaging import image_constraints
from airflow_mwaa_provider.packaging.requirements.checking import check_requirements
from airflow_mwaa_provider.packaging.requirements.provider_update import ProviderUpdate, update_provider
from tests.packaging.wheel_index import WheelIndex

pytestmark = pytest.mark.once
NAME = "constraints-3.12-updated.txt"
OURS = "https://raw.githubusercontent.com/apache/airflow/constraints-3.3.1/constraints-3.12.txt"


def updated(folder: Path, provider: str, text: str = "folium==0.15.1\n") -> ProviderUpdate:
    file = folder / "requirements.txt"
    file.write_text(text)
    done = update_provider(file, "3.3.1", provider)
    assert file.read_text() == text
    return done


@pytest.mark.parametrize("provider", ["amazon==9.35.0", "apache-airflow-providers-amazon==9.35.0"])
def test_it_and_what_it_needs_are_changed_and_nothing_else(provider: str, index: WheelIndex, tmp_path: Path) -> None:
    done = updated(tmp_path, provider)
    assert done.report.problems == ()
    assert done.changes == {
        "apache-airflow-providers-amazon": ("9.34.0", "9.35.0"),
        "boto3": ("1.43.56", "1.44.8"),
    }
    assert done.constraints == tmp_path / NAME
    before = image_constraints.pins_of("3.3.1")
    after = image_constraints.pins_in(done.constraints.read_text(), NAME)
    assert dict(after.items() - before.items()) == {"apache-airflow-providers-amazon": "9.35.0", "boto3": "1.44.8"}
    assert after.keys() == before.keys()


def test_requirements_with_its_lines_install(index: WheelIndex, tmp_path: Path) -> None:
    done = updated(tmp_path, "amazon==9.35.0")
    assert done.lines == (f'--constraint "/usr/local/airflow/dags/{NAME}"', "apache-airflow-providers-amazon==9.35.0")
    report = check_requirements("\n".join(done.lines), "3.3.1", constraints=done.constraints)
    assert report.errors == ()
    assert {package.name: package.version for package in report.resolved}["boto3"] == "1.44.8"


@pytest.mark.parametrize(
    "text",
    [
        f"-c {OURS}\nfolium==0.15.1\n",
        "apache-airflow-providers-amazon==9.34.0\nfolium==0.15.1\n",
        f"-c \\\n{OURS}\napache-airflow-providers-amazon \\\n  ==9.34.0\nfolium==0.15.1 # not \\\n",
        "-c a.txt\napache-airflow-providers-amazon\napache-airflow-providers-amazon\nfolium==0.15.1\n",
    ],
)
def test_lines_that_the_new_ones_replace_are_not_checked(text: str, index: WheelIndex, tmp_path: Path) -> None:
    assert updated(tmp_path, "amazon==9.35.0", text).report.problems == ()


def test_constraints_beside_those_that_it_replaces_stay(index: WheelIndex, tmp_path: Path) -> None:
    done = updated(tmp_path, "amazon==9.35.0", f"-c {OURS}\n-c /usr/local/airflow/dags/ours.txt\nfolium==0.15.1\n")
    assert [(problem.code, problem.where) for problem in done.report.problems] == [
        ("constraints-not-here", "requirements.txt:2")
    ]


def test_extras_and_marker_of_the_line_stay(index: WheelIndex, tmp_path: Path) -> None:
    text = "apache-airflow-providers-amazon[s3fs]==9.34.0; python_version > '3'\n"
    done = updated(tmp_path, "amazon==9.35.0", text)
    assert done.lines[1] == 'apache-airflow-providers-amazon[s3fs]==9.35.0; python_version > "3"'
    assert done.changes["apache-airflow-providers-amazon"] == ("9.34.0", "9.35.0")
    assert done.changes["pandas"] == ("3.0.5", "2.3.3")


def test_a_folder_in_its_place(index: WheelIndex, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(MwaaInputError, match=r"is a folder\. Move it"):
        updated(tmp_path, "amazon==9.35.0")


def test_other_lines_are(index: WheelIndex, tmp_path: Path) -> None:
    done = updated(tmp_path, "amazon==9.35.0", "folium==0.15.1\nboto3==1.30.0\n")
    assert [(problem.code, problem.where) for problem in done.report.errors] == [
        ("pin-conflict", "requirements.txt:2"),
        ("lines-conflict", "requirements.txt:4"),
    ]
    assert done.as_dict()["update"]["constraints"] is None
    assert not (tmp_path / NAME).exists()


def test_what_mwaa_never_lets_move_is_not_moved(index: WheelIndex, tmp_path: Path) -> None:
    done = updated(tmp_path, "fab==1.0.0")
    assert [(problem.code, problem.where) for problem in done.report.errors] == [("essential-pin", "--update-provider")]
    assert "flask 3.1.3 to 2.0.0" in done.report.errors[0].what
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.txt"]


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("amazn==9.35.0", "has no constraint for a provider amazn. The nearest: amazon"),
        ("amazon==9.34.0", "is the image's own version: nothing to update"),
        ("amazon", "'amazon' has no exact version. Write amazon==9.35.0."),
        ("amazon>=9", "has no exact version"),
        ("amazon 9", "'amazon 9' is not a provider and a version."),
    ],
)
def test_what_is_no_provider_and_version(provider: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(MwaaInputError, match=words):
        updated(tmp_path, provider)


def test_another_file_is_not_replaced_and_its_own_is(index: WheelIndex, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("mine==1\n")
    with pytest.raises(MwaaInputError, match="was not written by this command"):
        updated(tmp_path, "amazon==9.35.0")
    (tmp_path / NAME).unlink()
    updated(tmp_path, "amazon==9.35.0")
    assert updated(tmp_path, "amazon==9.35.0").constraints
