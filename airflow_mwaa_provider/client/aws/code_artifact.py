# SPDX-License-Identifier: Apache-2.0
"""Tokens of CodeArtifact, with which pip and other clients log in to its repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mwaa_provider.client.aws.calls import AwsCalls
from airflow_mwaa_provider.quiet_logs import values_kept_out_of_logs

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["make_token"]


def make_token(client: Any, domain: str, domain_owner: str, lifetime: timedelta) -> tuple[str, datetime]:
    """Return a new token of a domain, and when it expires. It is in no log.

    :param client: boto3's client for CodeArtifact, without retries of its own.
    :param lifetime: 15 minutes to 12 hours.
    :raises AccessDenied: CodeArtifact denied it; names the action to allow.
    :raises AwsError: it returned no token.
    """
    with values_kept_out_of_logs():
        made = AwsCalls(client, "CodeArtifact", "codeartifact").call(
            "GetAuthorizationToken",
            f"CodeArtifact domain {domain!r}",
            member="authorizationToken",
            domain=domain,
            domainOwner=domain_owner,
            durationSeconds=int(lifetime.total_seconds()),
        )
    return made["authorizationToken"], made["expiration"]
