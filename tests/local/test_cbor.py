# SPDX-License-Identifier: Apache-2.0
"""The CBOR reader, with the examples of RFC 8949, appendix A."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_mwaa_provider.local.aws import cbor

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1000000),
        ("1b000000e8d4a51000", 1000000000000),
        ("20", -1),
        ("3903e7", -1000),
        ("f93c00", 1.0),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("f97c00", math.inf),
        ("f9fc00", -math.inf),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("c11a514b67b0", datetime(2013, 3, 21, 20, 4, tzinfo=UTC)),
        ("c1fb41d452d9ec200000", datetime(2013, 3, 21, 20, 4, 0, 500000, tzinfo=UTC)),
        ("4401020304", b"\x01\x02\x03\x04"),
        ("60", ""),
        ("62c3bc", "ü"),
        ("83010203", [1, 2, 3]),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
    ],
)
def test_the_examples_of_the_rfc(encoded: str, value: Any) -> None:
    assert cbor.loads(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    "encoded",
    ["", "18", "62c3", "8201", "ff", "0000", "9f01", "a1", "82ff01", "1f", "1c", "fc", "81" * 40 + "00", "61ff"],
)
def test_what_is_no_cbor_is_refused(encoded: str) -> None:
    with pytest.raises(cbor.CborError):
        cbor.loads(bytes.fromhex(encoded))


def test_what_is_written_is_read_back() -> None:
    value = {"message": "größer" * 100, "list": [{"a": "b"}, {}], "empty": ""}
    assert cbor.loads(cbor.dumps(value)) == value
