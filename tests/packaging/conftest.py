# SPDX-License-Identifier: Apache-2.0
"""A small package index, and uv that resolves only against it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.wheel_index import WheelIndex

ROOT = Path(__file__).resolve().parents[2]

BUILD_SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    name = "pure_sasl-0.6.2-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for path, text in (
            ("puresasl.py", ""),
            ("pure_sasl-0.6.2.dist-info/METADATA", "Metadata-Version: 2.1\\nName: pure-sasl\\nVersion: 0.6.2\\n"),
            ("pure_sasl-0.6.2.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"),
            ("pure_sasl-0.6.2.dist-info/RECORD", ""),
        ):
            wheel.writestr(zipfile.ZipInfo(path), text)
    return name
"""
"""Files of a source archive that builds without a package index."""


STATIC = {"pyproject.toml": BUILD_SYSTEM, "backend.py": BACKEND}


def uv_folder() -> Path:
    """Return the folder of uv: the scripts' own, which created the tests' environment, or the machine's."""
    found = sorted(ROOT.glob(".envs/bootstrap-*/bin/uv")) or [Path(shutil.which("uv") or "")]
    assert found[0].name == "uv", "uv is missing: run the tests with scripts/test, or install uv"
    return found[0].parent


@pytest.fixture(scope="session")
def filled_index() -> WheelIndex:
    """Packages with their real names and the relevant parts of their real metadata."""
    index = WheelIndex()
    add = index.add
    for name, version in (
        *(("boto3", "1.43.56"), ("boto3", "1.30.0"), ("pandas", "3.0.5"), ("pandas", "2.3.3"), ("pyarrow", "25.0.0")),
        *(("pyarrow", "20.0.0"), ("flask", "3.1.3"), ("flask", "2.0.0"), ("branca", "0.3.0"), ("branca", "0.8.2")),
        *(("apache-airflow", "3.3.1"), ("apache-airflow-providers-amazon", "9.34.0"), ("requests", "2.34.2")),
    ):
        add(name, version)
    add("awswrangler", "2.0.0")  # too old to declare its requirements
    add("awswrangler", "3.1.0", "pyarrow<21", "pandas<3")
    add("awswrangler", "3.12.0", "pyarrow>=18,<21", "pandas<3")
    add("awswrangler", "3.17.1", "pyarrow>=20", "pandas>=2", extras=("redshift",))
    add("boto3", "1.44.8")
    add("apache-airflow-providers-amazon", "9.35.0", "boto3>=1.44", "pandas<3; extra == 's3fs'", extras=("s3fs",))
    add("needs-a-patch", "1.0", python=">=3.12.4")
    add("apache-airflow-providers-fab", "1.0.0", "Flask<3")
    add("needs-old-flask", "1.0", "Flask<3")
    add("folium", "0.15.1", "branca>=0.6.0")
    add("folium", "0.0.0", yanked="bogus version number")
    add("withdrawn", "1.0", yanked="wrong files")
    add("withdrawn", "0.1")
    add("needs-withdrawn", "1.0", "withdrawn==1.0")
    add("needs-some-withdrawn", "1.0", "withdrawn>=0.5")
    add("tensorflow", "2.10.0", tag="cp39-cp39-manylinux_2_17_x86_64")
    add("tensorflow", "2.21.0", tag="cp312-cp312-manylinux_2_27_x86_64")
    add("pure-sasl", "0.6.2", from_source={"pyproject.toml": BUILD_SYSTEM, "backend.py": BACKEND})
    for tag in ("cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_17_x86_64"):
        add("hashed", "1.0", tag=tag)
    add("hashed", "1.0", from_source=STATIC)
    add("needs-ours", "1.0", "ours")
    add("early", "1.0")
    add("early", "2.0rc1")
    add("needs-old-pandas", "1.0", "pandas<3", from_source=STATIC)
    add("mysqlclient", "2.2.8", from_source={"pyproject.toml": "", "src/MySQLdb/_mysql.c": ""})
    add("half-built", "1.0", from_source=STATIC)
    add("half-built", "0.5.1")
    add("sasl-client", "1.0", "pure-sasl")
    add("dill", "0.3.1.1", from_source=STATIC)
    add("apache-airflow", "2.10.3", "dill>=0.2.2", "pure-sasl; extra == 'sasl'", extras=("sasl",))
    add("apache-airflow-providers-http", "4.13.2", "apache-airflow>=2.8.0")
    for version in ("2.0.5", "2.0.6"):
        add("omegaconf", version, "PyYAML>=5.1.*")
    add("omegaconf", "2.3.0", "PyYAML>=5.1.0", python=">=3.6.*")
    add("pyyaml", "6.0.3")
    add("needs-omegaconf", "1.0", "omegaconf<2.1")
    add("needs-omegaconf", "1.1", "omegaconf")
    add("half-refused", "1.1", "PyYAML>=5.1.*")
    add("half-refused", "1.0", "PyYAML>=5.1")
    add("recent", "1.0", uploaded="2025-02-01")
    add("torch", "2.9.1", size=9_000_000_000)
    return index


@pytest.fixture(scope="session")
def index_url(filled_index: WheelIndex) -> Iterator[str]:
    server = filled_index.start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("uv-cache"))


@pytest.fixture
def index(filled_index: WheelIndex, index_url: str, uv_cache: str, monkeypatch: pytest.MonkeyPatch) -> WheelIndex:
    """The running index, as the only one that uv uses."""
    filled_index.asked.clear()
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index_url)
    monkeypatch.setenv("UV_CACHE_DIR", uv_cache)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PATH", f"{uv_folder()}{os.pathsep}{os.environ['PATH']}")
    return filled_index
