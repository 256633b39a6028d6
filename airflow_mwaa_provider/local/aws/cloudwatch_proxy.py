# SPDX-License-Identifier: Apache-2.0
"""CloudWatch at the endpoint: what the service rejects is rejected here; everything else is passed on to moto."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_mwaa_provider.local.aws import cloudwatch_requests
from airflow_mwaa_provider.local.aws.cloudwatch_checks import check
from airflow_mwaa_provider.local.aws.cloudwatch_requests import CloudWatchError
from airflow_mwaa_provider.local.aws.proxy import forward

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web


async def forward_to_cloudwatch(request: web.Request, http: aiohttp.ClientSession, moto_url: str) -> web.StreamResponse:
    """Pass a request that is signed for CloudWatch on to moto, unless CloudWatch would reject it."""
    body = await request.read()
    raw_path, _, query = request.raw_path.partition("?")
    asked = cloudwatch_requests.read(request.method, raw_path, query, request.headers, body)
    if asked is None:
        return await forward(request, http, moto_url, body=body)
    try:
        # A megabyte of metrics takes so long that everybody else would have to wait.
        await asyncio.to_thread(check, asked)
    except CloudWatchError as error:
        return asked.refusal(error)
    if not asked.was_compressed:
        return await forward(request, http, moto_url, body=body)
    # Older releases of moto cannot read compressed requests.
    headers = {"Content-Encoding": "identity", "Content-Length": str(len(asked.content))}
    return await forward(request, http, moto_url, body=asked.content, extra_headers=headers)
