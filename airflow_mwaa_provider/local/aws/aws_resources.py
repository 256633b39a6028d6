# SPDX-License-Identifier: Apache-2.0
"""Check with moto whether the resources of other AWS services in a request exist."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree

from airflow_mwaa_provider.local.aws.environment import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import aiohttp

    from airflow_mwaa_provider.local.runtime import S3File

ANY_NAMESPACE = "{*}"
"""EC2's XML namespace; releases of moto write it with or without the last slash."""


class AwsResources:
    """Checks moto's buckets and networks."""

    def __init__(self, http: aiohttp.ClientSession, moto_url: str, region: str) -> None:
        self._http = http
        self._moto_url = moto_url
        self._region = region

    async def check_bucket(self, bucket: str) -> None:
        """Check that a bucket exists. :raises EnvironmentProblem: it does not."""
        if not await self._is_in_s3(bucket):
            raise EnvironmentProblem(f"SourceBucketArn: no such bucket: {bucket}. Create it first.")

    async def check_files(self, bucket: str, files: Iterable[S3File]) -> None:
        """Check that files are in a bucket. :raises EnvironmentProblem: the first missing file."""
        for file in files:
            if not await self._is_in_s3(bucket, file.path, file.version):
                version = f" in version {file.version}" if file.version is not None else ""
                raise EnvironmentProblem(f"Bucket {bucket}: no such file: {file.path}{version}. Upload it first.")

    async def check_network(self, network: Mapping[str, Sequence[str]]) -> None:
        """Check a NetworkConfiguration.

        :raises EnvironmentProblem: a subnet or a security group does not exist, or the subnets are in one zone.
        """
        groups = network.get("SecurityGroupIds", ())
        known = await self._ids("DescribeSecurityGroups", "securityGroupInfo", "groupId")
        for group in groups:
            if group not in known:
                raise EnvironmentProblem(f"SecurityGroupIds: no such security group in {self._region}: {group}.")
        subnets = network.get("SubnetIds", ())
        zones = await self._ids("DescribeSubnets", "subnetSet", "subnetId", "availabilityZone")
        for subnet in subnets:
            if subnet not in zones:
                raise EnvironmentProblem(f"SubnetIds: no such subnet in {self._region}: {subnet}.")
        if subnets and len({zones[subnet] for subnet in subnets}) < 2:
            raise EnvironmentProblem(
                f"SubnetIds: {', '.join(subnets)} are in one Availability Zone. Name subnets in two of them."
            )

    async def query_ec2(self, action: str) -> ElementTree.Element:
        """Call an EC2 action without parameters.

        :raises aiohttp.ClientError: moto does not answer, or rejects the call.
        """
        form = {"Action": action, "Version": "2016-11-15"}
        async with self._http.post(self._moto_url, data=form, headers=self._signed("ec2")) as answer:
            text = await answer.text()
            answer.raise_for_status()
        return ElementTree.fromstring(text)  # noqa: S314 - moto's own

    async def _ids(self, action: str, found: str, member: str, value: str = "") -> dict[str, str]:
        """Return the ids of all resources of a kind, each with another of its members."""
        items = (await self.query_ec2(action)).iterfind(f"./{ANY_NAMESPACE}{found}/{ANY_NAMESPACE}item")
        return {
            item.findtext(f"{ANY_NAMESPACE}{member}", ""): item.findtext(f"{ANY_NAMESPACE}{value or member}", "")
            for item in items
        }

    async def _is_in_s3(self, bucket: str, key: str = "", version: str | None = None) -> bool:
        query = f"?versionId={quote(version, safe='')}" if version is not None else ""
        path = f"/{quote(bucket)}/{quote(key)}{query}" if key else f"/{quote(bucket)}"
        async with self._http.head(self._moto_url + path, headers=self._signed("s3")) as answer:
            return answer.status == 200

    def _signed(self, service: str) -> dict[str, str]:
        # moto reads region and service from the signature and checks no more of it.
        credential = f"local/20200101/{self._region}/{service}/aws4_request"
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"}
