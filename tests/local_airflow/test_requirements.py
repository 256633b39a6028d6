# SPDX-License-Identifier: Apache-2.0
"""What is passed to pip: paths, constraints, variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mwaa_provider.local.airflow import requirements
from airflow_mwaa_provider.local.machine.mwaa_home import AirflowHome

pytestmark = pytest.mark.once

HOME = Path("/state/source/airflow")
PACKAGES = {"apache-airflow": "3.3.1", "celery": "5.5.2", "requests": "2.32", "pip": "24", "airflow-mwaa-provider": "1"}


@pytest.mark.parametrize(
    ("line", "mapped"),
    [
        ("--find-links /usr/local/airflow/plugins", "--find-links /state/source/airflow/plugins"),
        ("--find-links=/usr/local/airflow/plugins  ", "--find-links=/state/source/airflow/plugins  "),
        ("-f /usr/local/airflow/plugins/", "-f /state/source/airflow/plugins/"),
        (
            '--constraint "/usr/local/airflow/dags/constraints.txt"',
            '--constraint "/state/source/airflow/dags/constraints.txt"',
        ),
        ("-c '/usr/local/airflow/dags/c.txt'", "-c '/state/source/airflow/dags/c.txt'"),
        ("-r /usr/local/airflow/dags/codeartifact.txt", "-r /state/source/airflow/dags/codeartifact.txt"),
        ("/usr/local/airflow/plugins/a-1.whl", "/state/source/airflow/plugins/a-1.whl"),
        ("a @ file:///usr/local/airflow/plugins/a-1.whl", "a @ file:///state/source/airflow/plugins/a-1.whl"),
        ("--find-links /usr/local/airflow2/plugins", "--find-links /usr/local/airflow2/plugins"),
        ("--find-links /opt/usr/local/airflow", "--find-links /opt/usr/local/airflow"),
        ("# --find-links /usr/local/airflow/plugins", "# --find-links /usr/local/airflow/plugins"),
        ("requests==2.32 # why", "requests==2.32 # why"),
    ],
)
def test_mwaas_home_means_this_environments(line, mapped):
    assert requirements.map_paths(line, HOME) == f"{mapped}\n"


def test_mwaas_home_stays_where_there_is_one():
    text = "--find-links /usr/local/airflow/plugins\n-c '/usr/local/airflow/dags/c.txt'\n/usr/local/airflow/a-1.whl\n"
    assert requirements.map_paths(text, Path("/usr/local/airflow")) == text


def test_a_home_with_a_space_in_its_name():
    text = (
        "--find-links /usr/local/airflow/plugins\n"
        '--constraint "/usr/local/airflow/dags/c.txt"\n'
        "a @ file:///usr/local/airflow/plugins/a-1.whl\n"
    )
    assert requirements.map_paths(text, Path("/my state")) == (
        "--find-links '/my state/plugins'\n"
        '--constraint "/my state/dags/c.txt"\n'
        "a @ file:///my%20state/plugins/a-1.whl\n"
    )


@pytest.mark.parametrize(
    ("text", "constrained"),
    [
        ("requests\n", False),
        ('--constraint "https://x/constraints-3.12.txt"\nrequests', True),
        ("requests\n-c /usr/local/airflow/dags/c.txt", True),
        ("#--constraint no-thanks\nrequests", True),
        ("# -c nothing\nrequests", True),
        ("--constraint=/x.txt\nrequests", False),
        ("# no constraint here\nrequests", False),
    ],
)
def test_constraints_are_seen_as_the_image_sees_them(text, constrained):
    assert requirements.brings_constraints(text) is constrained


def test_forced_constraints_are_what_is_installed_but_for_tools_and_ourselves():
    assert requirements.forced_constraints(PACKAGES) == ["apache-airflow==3.3.1", "celery==5.5.2", "requests==2.32"]
    assert requirements.protected_constraints(PACKAGES) == ["apache-airflow==3.3.1", "celery==5.5.2"]


@pytest.mark.parametrize(("text", "asks"), [("", False), ("\n# only\n  # words\n", False), ("--no-index", True)])
def test_an_empty_file_is_how_to_have_none(text, asks):
    assert requirements.asks_for_something(text) is asks


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_is_read_whatever_its_encoding(encoding):
    assert requirements.decode("requests # ü\n".encode(encoding)) == "requests # ü\n"
    assert requirements.decode(b"caf\xe9") == "café"


def test_pip_sees_the_shells_index_and_authorities_and_not_where_it_installs(tmp_path):
    component = {
        "PIP_INDEX_URL": "https://index",
        "PIP_USER": "1",
        "PIP_TARGET": "/elsewhere",
        "SSL_CERT_FILE": "/ours.pem",
        "REQUESTS_CA_BUNDLE": "/ours.pem",
        "AIRFLOW__FOO__PASS": "word",
    }
    shell = {"SSL_CERT_FILE": "/theirs.pem", "SSL_CERT_DIR": "/theirs", "OTHER": "x"}
    found = requirements.pip_variables(component, shell, AirflowHome(tmp_path))
    assert found == {
        "PIP_INDEX_URL": "https://index",
        "SSL_CERT_FILE": "/theirs.pem",
        "SSL_CERT_DIR": "/theirs",
        "AIRFLOW__FOO__PASS": "word",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }


def test_pip_sees_what_a_startup_script_has_configured(tmp_path):
    config = tmp_path / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True)
    config.write_text("[global]\n")
    assert requirements.pip_variables({}, {}, AirflowHome(tmp_path))["PIP_CONFIG_FILE"] == str(config)


def test_passwords_of_indexes_are_secrets():
    variables = {"PIP_INDEX_URL": "https://me:pass-word@host/simple", "PIP_EXTRA_INDEX_URL": "http://a http://[::1 x"}
    assert requirements.all_secrets(["ours"], variables) == {"ours", "pass-word"}
