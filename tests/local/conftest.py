# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the local MWAA's tests."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from airflow_mwaa_provider.local.aws.tls import CertificateAuthority
from tests.botocore_data import _botocore_data
from tests.local.lab import REGION, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["_botocore_data"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(tmp_path_factory.mktemp("ca"))


def fill_s3(url: str) -> None:
    """Create the buckets of the labs' environments."""
    s3 = boto3.client("s3", endpoint_url=url, region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    for bucket in ("bucket", "other"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for key in ("plugins.zip", "requirements.txt", "sub/requirements.txt", "startup.sh"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
    s3.close()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    # Not moto's ThreadedMotoServer, because older releases do not expose their port.
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    fill_s3(url)
    yield url
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def lab(certificates: CertificateAuthority, moto_url: str) -> Iterator[Lab]:
    lab = Lab(certificates, moto_url)
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture
def source(lab: Lab) -> Lab:
    """A lab with an environment called source."""
    lab.environment()
    return lab


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        return probe.getsockname()[1]
