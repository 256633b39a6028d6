# SPDX-License-Identifier: Apache-2.0
"""``startup codeartifact``: pip uses a CodeArtifact repository, with a token that is created when needed."""

from __future__ import annotations

from typing import Any

from airflow_mwaa_provider.packaging.startup.script import checked, read, render

__all__ = ["codeartifact_policy", "codeartifact_script"]

_REGION = r"[a-z]{2,4}(-[a-z]+)+-[0-9]+"


def codeartifact_script(
    domain: str, domain_owner: str, repository: str, *, region: str | None = None, replace_pypi: bool = False
) -> str:
    """Return a startup script with which pip finds the packages of a CodeArtifact repository.

    It contains no secret, and puts none into the container's environment: pip gets the token from a program that asks
    CodeArtifact, so it never expires. If CodeArtifact gives no token, one line in the log reports the reason, pip keeps
    its other indexes, and the container starts.

    :param domain: name of the domain.
    :param domain_owner: account id of its owner.
    :param repository: name of the repository.
    :param region: of the domain; by default the environment's own.
    :param replace_pypi: pip uses no other index, so a package of the same name on PyPI is never installed. The
        repository needs PyPI as an upstream for all other packages.
    :raises MwaaInputError: a name is not valid for AWS.
    """
    _check(domain, domain_owner, repository, region)
    return render(
        "codeartifact.sh",
        text=read("keyring_program.py"),
        domain=domain,
        domain_owner=domain_owner,
        repository=repository,
        region=region or "",
        variable="PIP_INDEX_URL" if replace_pypi else "PIP_EXTRA_INDEX_URL",
    )


def codeartifact_policy(
    domain: str, domain_owner: str, repository: str, *, region: str | None = None
) -> dict[str, Any]:
    """Return the IAM policy that the environment's execution role needs for the script, and pip for its downloads.

    :raises MwaaInputError: a name is not valid for AWS.
    """
    _check(domain, domain_owner, repository, region)
    place = f"arn:{_partition(region)}:codeartifact:{region or '*'}:{domain_owner}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "codeartifact:GetAuthorizationToken",
                "Resource": f"{place}:domain/{domain}",
            },
            {
                "Effect": "Allow",
                "Action": ["codeartifact:GetRepositoryEndpoint", "codeartifact:ReadFromRepository"],
                "Resource": f"{place}:repository/{domain}/{repository}",
            },
            {
                "Effect": "Allow",
                "Action": "sts:GetServiceBearerToken",
                "Resource": "*",
                "Condition": {"StringEquals": {"sts:AWSServiceName": "codeartifact.amazonaws.com"}},
            },
        ],
    }


def _partition(region: str | None) -> str:
    """Return botocore's partition for a region, from its name; without a region, the usual one."""
    from botocore.exceptions import UnknownRegionError
    from botocore.session import get_session

    if region is None:
        return "aws"
    try:
        return str(get_session().get_partition_for_region(region))
    except UnknownRegionError:  # newer than botocore: the images up to 2.10.3 do not know it
        return "aws-eusc" if region.startswith("eusc-") else "aws"


def _check(domain: str, domain_owner: str, repository: str, region: str | None) -> None:
    checked("domain", domain, r"[a-z][a-z0-9-]{0,48}[a-z0-9]", "Give 2 to 50 lower-case letters, digits and dashes.")
    checked("domain owner", domain_owner, r"[0-9]{12}", "Give the account id, 12 digits.")
    checked("repository", repository, r"[A-Za-z0-9][A-Za-z0-9._-]{1,99}", "Give the repository's name in CodeArtifact.")
    if region is not None:
        checked("region", region, _REGION, "Give one such as us-west-2.")
