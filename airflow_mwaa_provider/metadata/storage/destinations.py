# SPDX-License-Identifier: Apache-2.0
"""Where a web server may write exports to: buckets and prefixes that its configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_within", "read_destinations"]


def read_destinations(written: str) -> tuple[str, ...]:
    """Read places, separated by commas: ``s3://bucket/exports, s3://other``.

    :return: each without a slash at its end.
    :raises MwaaInputError: one of them is no place in S3.
    """
    places = [place.strip() for place in written.split(",") if place.strip()]
    for place in places:
        if S3Uri.parse(place) is None:
            raise MwaaInputError(f"{place!r} is no place in S3; write s3://BUCKET/PREFIX.")
    return tuple(place.rstrip("/") for place in places)


def is_within(bucket: str, prefix: str, destinations: Iterable[str]) -> bool:
    """Whether all objects below a prefix lie in one of these places.

    :param prefix: as keys will begin: with a slash at one of its ends it is another one, and none of these.
    """
    if prefix != prefix.strip("/"):
        return False
    asked = f"s3://{bucket}/{prefix}/"
    return any(asked.startswith(f"{place}/") for place in destinations)
