# SPDX-License-Identifier: Apache-2.0
"""The buckets and prefixes to which a web server may export, as its configuration names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.s3_uri import S3Uri

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_within", "read_destinations"]


def read_destinations(written: str) -> tuple[str, ...]:
    """Parse places separated by commas: ``s3://bucket/exports, s3://other``.

    :return: each without a trailing slash.
    :raises MwaaInputError: one of them is not an S3 URI.
    """
    places = [place.strip() for place in written.split(",") if place.strip()]
    for place in places:
        if S3Uri.parse(place) is None:
            raise MwaaInputError(f"{place!r} is not an S3 URI. Write s3://BUCKET/PREFIX.")
    return tuple(place.rstrip("/") for place in places)


def is_within(bucket: str, prefix: str, destinations: Iterable[str]) -> bool:
    """Return whether all objects below a prefix are in one of these places.

    :param prefix: the beginning of keys; with a slash at one of its ends it is another prefix, and in none of them.
    """
    if prefix != prefix.strip("/"):
        return False
    asked = f"s3://{bucket}/{prefix}/"
    return any(asked.startswith(f"{place}/") for place in destinations)
