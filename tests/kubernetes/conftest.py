# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of pods in EKS clusters."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.botocore_data import _botocore_data
from tests.kubernetes.world import EksWorld, eks_world
from tests.local.conftest import certificates, lab, moto_url
from tests.local.lab import Lab

__all__ = ["_botocore_data", "certificates", "lab", "moto_url"]


@pytest.fixture
def eks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[EksWorld]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with eks_world(lab) as world:
        for name, value in world.variables().items():
            monkeypatch.setenv(name, value)
        yield world
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of connections that Kubernetes' clients have left open
        gc.collect()
