# SPDX-License-Identifier: Apache-2.0
"""The program ``keyring``, from which pip gets the password of a CodeArtifact repository; run by MWAA's own Python.

``keyring get ADDRESS aws`` prints a token. ``keyring check DOMAIN OWNER REPOSITORY REGION`` prints the address of the
repository for pip, and when a token expires. It imports nothing from this package, which is installed after it runs.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any, NoReturn

LIMIT_S = 40
TOKEN_S = 3600
MOST_CHARACTERS = 300
"""Length of an error: the answer of a proxy may be a page."""
ADDRESS = re.compile(r"((?P<scheme>https?)://([^\s/?#\\@]*@)?)?(?P<host>[^\s/?#\\@]+)(/[^\s?#\\]*)?")
"""Of an index. Addresses whose host parsers find in different ways do not match."""


def main(name: str = "", *arguments: str) -> None:
    """Run a command within the time limit."""
    signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(LIMIT_S)
    try:
        if name == "get":
            get(*arguments)
        elif name == "check":
            check(*arguments)
        else:
            sys.exit(2)
    except Exception as error:  # noqa: BLE001 - whatever fails, the container starts, and the log gets one line
        fail(reason(error))


def get(address: str, _user: str = "aws") -> None:
    """Print a token for an address of pip's index, or for its host."""
    parts = ADDRESS.fullmatch(address)
    for line in os.environ.get("AIRFLOW_MWAA_CODEARTIFACT", "").split(";"):
        known, _, place = line.partition(" ")
        scheme, _, host = known.partition("://")
        if parts and parts["host"] == host and parts["scheme"] in {scheme, None}:
            domain, owner, region = place.split(" ")
            sys.stdout.write(f"{token_of(client_of(region), domain, owner)['authorizationToken']}\n")
            return
    sys.exit(1)


def check(domain: str, owner: str, repository: str, region: str) -> None:
    """Print a repository's address for pip, and when a test token expires."""
    client = client_of(region)
    expires = token_of(client, domain, owner)["expiration"]
    endpoint, note = endpoint_of(client, domain, owner, repository)
    scheme, _, rest = endpoint.partition("://")
    sys.stdout.write(f"{scheme}://aws@{rest.rstrip('/')}/simple/ {expires.astimezone():%Y-%m-%d %H:%M:%S %Z}{note}\n")


def client_of(region: str) -> Any:
    """Return boto3's client with short timeouts, because connections of a private web server hang."""
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})
    return boto3.client("codeartifact", region_name=region, config=limits)


def token_of(client: Any, domain: str, owner: str) -> Any:
    """Request a token: ``authorizationToken`` and ``expiration``."""
    asked = {"domain": domain, "domainOwner": owner, "durationSeconds": TOKEN_S}
    return answer_of(client.get_authorization_token, asked, "authorizationToken", "expiration")


def endpoint_of(client: Any, domain: str, owner: str, repository: str) -> tuple[str, str]:
    """Return the address of a repository, and a note if it is not confirmed."""
    from botocore.exceptions import ClientError

    asked = {"domain": domain, "domainOwner": owner, "repository": repository, "format": "pypi"}
    try:
        endpoint = str(answer_of(client.get_repository_endpoint, asked, "repositoryEndpoint")["repositoryEndpoint"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        # The guide's role may not request it. This is the answer outside of China.
        region = client.meta.region_name
        return f"https://{domain}-{owner}.d.codeartifact.{region}.amazonaws.com/pypi/{repository}/", (
            " (the address is not confirmed: the role needs codeartifact:GetRepositoryEndpoint to check that the"
            " repository exists)"
        )
    if "://" not in endpoint:
        raise OtherAnswerError
    return endpoint, ""


class OtherAnswerError(Exception):
    """A successful answer that is not CodeArtifact's, but a proxy's or a login page."""

    def __str__(self) -> str:
        return "the answer is not from CodeArtifact"


def answer_of(operation: Any, asked: dict[str, Any], *names: str) -> Any:
    """Return an answer that has these members; botocore parses an HTML page as an empty answer."""
    try:
        answer = operation(**asked)
    except (AttributeError, TypeError):  # from botocore, for JSON that is not an object
        raise OtherAnswerError from None
    if not all(answer.get(name) for name in names):
        raise OtherAnswerError
    return answer


def reason(error: Exception) -> str:
    """Return boto3's message, which contains neither the answer nor the token, and what to do."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    answer = getattr(error, "response", None)  # None for connection errors
    answer = answer if isinstance(answer, dict) else {}
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    advice = ""
    if status >= 500 or status == 429 or code.startswith(("Throttling", "TooManyRequests", "InternalServer")):
        advice = "Try again in a few minutes: the settings are not the cause"
    elif code.startswith("AccessDenied"):
        advice = "Allow the execution role codeartifact:GetAuthorizationToken and sts:GetServiceBearerToken"
    elif code.startswith(("Expired", "UnrecognizedClient", "InvalidClientToken", "InvalidSignature")):
        advice = "Check the credentials, and that no variable such as AWS_ACCESS_KEY_ID replaces the role's"
    elif code.isdigit() or kinds & {"OtherAnswerError", "ResponseParserError"}:  # a page, not an error of AWS
        advice = "Check the proxy, and variables such as AWS_ENDPOINT_URL"
    elif code:
        advice = "Check the domain, its owner, the repository and the region"
    elif kinds & {"ConnectionError", "HTTPClientError"}:
        advice = "Check the network; without a route to the internet, VPC endpoints of codeartifact.api are needed"
    elif kinds & {"NoCredentialsError", "NoRegionError"}:
        advice = "Give the container a role and a region"
    elif isinstance(error, ImportError):
        advice = "Make python3 on PATH the image's own, which has boto3"
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"{text[:MOST_CHARACTERS]}. {advice}.".removesuffix(" .")


def too_slow(*_: object) -> NoReturn:
    """Exit when the alarm rings."""
    fail(f"no answer within {LIMIT_S} s. Check the network, and the VPC endpoints of codeartifact.api and sts.")


def fail(message: str) -> NoReturn:
    """Exit with one line in the log."""
    sys.exit(f"airflow-mwaa: CodeArtifact: {' '.join(message.split())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
