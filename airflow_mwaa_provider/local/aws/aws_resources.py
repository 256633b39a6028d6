# SPDX-License-Identifier: Apache-2.0
"""Resources of other AWS services that a request of MWAA names: are they there? Asked of moto."""

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
"""EC2's name space, whose last slash moto writes or not, by release."""


class AwsResources:
    """Looks at the buckets and networks that moto has."""

    def __init__(self, http: aiohttp.ClientSession, moto_url: str, region: str) -> None:
        self._http = http
        self._moto_url = moto_url
        self._region = region

    async def check_bucket(self, bucket: str) -> None:
        """Check that there is a bucket. :raises EnvironmentProblem: there is none of that name."""
        if not await self._is_in_s3(bucket):
            raise EnvironmentProblem(f"SourceBucketArn: there is no bucket {bucket}. Create it first.")

    async def check_files(self, bucket: str, files: Iterable[S3File]) -> None:
        """Check that files are in a bucket. :raises EnvironmentProblem: names the first that isn't."""
        for file in files:
            if not await self._is_in_s3(bucket, file.path, file.version):
                version = f" in version {file.version}" if file.version is not None else ""
                raise EnvironmentProblem(f"Bucket {bucket}: there is no file {file.path}{version}. Upload it first.")

    async def check_network(self, network: Mapping[str, Sequence[str]]) -> None:
        """Check a NetworkConfiguration.

        :raises EnvironmentProblem: a subnet or a security group isn't there, or the subnets are in one zone.
        """
        groups = network.get("SecurityGroupIds", ())
        known = await self._ids("DescribeSecurityGroups", "securityGroupInfo", "groupId")
        for group in groups:
            if group not in known:
                raise EnvironmentProblem(f"SecurityGroupIds: there is no security group {group} in {self._region}.")
        subnets = network.get("SubnetIds", ())
        zones = await self._ids("DescribeSubnets", "subnetSet", "subnetId", "availabilityZone")
        for subnet in subnets:
            if subnet not in zones:
                raise EnvironmentProblem(f"SubnetIds: there is no subnet {subnet} in {self._region}.")
        if subnets and len({zones[subnet] for subnet in subnets}) < 2:
            raise EnvironmentProblem(
                f"SubnetIds: {', '.join(subnets)} are in one Availability Zone. Name subnets in two of them."
            )

    async def query_ec2(self, action: str) -> ElementTree.Element:
        """Call an action of EC2 that takes no more than its name.

        :raises aiohttp.ClientError: moto doesn't answer, or refuses it.
        """
        form = {"Action": action, "Version": "2016-11-15"}
        async with self._http.post(self._moto_url, data=form, headers=self._signed("ec2")) as answer:
            text = await answer.text()
            answer.raise_for_status()
        return ElementTree.fromstring(text)  # noqa: S314 - moto's own

    async def _ids(self, action: str, found: str, member: str, value: str = "") -> dict[str, str]:
        """Return the ids of all resources of a kind, and for each one more of its members."""
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
