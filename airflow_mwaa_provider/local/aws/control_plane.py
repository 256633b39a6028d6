# SPDX-License-Identifier: Apache-2.0
"""MWAA's control plane: the operations of the service model, over signed HTTP requests.

The model (``service_model``) defines what an operation takes and returns, ``sigv4`` and ``identity`` who may call it;
this file has what it does.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_mwaa_provider.local.aws.aws_errors import AwsError, NotImplementedByLocalMwaa
from airflow_mwaa_provider.local.aws.descriptions import describe
from airflow_mwaa_provider.local.aws.environment import EnvironmentNotFound, EnvironmentProblem
from airflow_mwaa_provider.local.aws.environment_files import FILE_MEMBERS, read_files
from airflow_mwaa_provider.local.aws.faults import Fault, FaultCall, carry_out
from airflow_mwaa_provider.local.aws.logging_configuration import MEMBER, merge
from airflow_mwaa_provider.local.aws.request_checks import check_options, check_sizes, check_tags
from airflow_mwaa_provider.local.aws.sigv4 import read_scope, verify
from airflow_mwaa_provider.local.aws.tokens import TokenKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from botocore.model import OperationModel

    from airflow_mwaa_provider.local.aws.aws_resources import AwsResources
    from airflow_mwaa_provider.local.aws.call_log import CallLog
    from airflow_mwaa_provider.local.aws.environment import Environment
    from airflow_mwaa_provider.local.aws.environments import EnvironmentStore
    from airflow_mwaa_provider.local.aws.faults import FaultPlan
    from airflow_mwaa_provider.local.aws.identity import Identity, IdentityStore
    from airflow_mwaa_provider.local.aws.limits import Limits
    from airflow_mwaa_provider.local.aws.rest_api import RestApiCaller
    from airflow_mwaa_provider.local.aws.service_model import MwaaServiceModel
    from airflow_mwaa_provider.local.aws.tokens import TokenStore

    Members = Mapping[str, Any]

_log = logging.getLogger(__name__)

_PAGE = 25
# These become the environment's specification, and are therefore not among its settings.
_SPEC_MEMBERS = FILE_MEMBERS | {
    "AirflowConfigurationOptions",
    "AirflowVersion",
    "DagS3Path",
    "ExecutionRoleArn",
    "Name",
    "SourceBucketArn",
    "Tags",
}


@dataclass
class _Call:
    """A request while it is served."""

    operation: OperationModel
    members: Members
    identity: Identity

    @property
    def env_name(self) -> str | None:
        arn = self.members.get("ResourceArn", "")
        name: str | None = self.members.get("Name") or arn.partition(":environment/")[2] or None
        return name


class ControlPlane:
    """Serves the ``mwaa`` API."""

    def __init__(
        self,
        *,
        model: MwaaServiceModel,
        environments: EnvironmentStore,
        resources: AwsResources,
        identities: IdentityStore,
        tokens: TokenStore,
        rest_api: RestApiCaller,
        limits: Limits,
        faults: FaultPlan,
        calls: CallLog,
        region: str,
        account_id: str,
    ) -> None:
        self._model = model
        self._environments = environments
        self._resources = resources
        self._identities = identities
        self._tokens = tokens
        self._rest_api = rest_api
        self._limits = limits
        self._faults = faults
        self._calls = calls
        self._region = region
        self._account_id = account_id
        self._handlers: dict[str, Callable[[_Call], Awaitable[Members]]] = {
            "CreateCliToken": self._create_cli_token,
            "CreateEnvironment": self._create_environment,
            "CreateWebLoginToken": self._create_web_login_token,
            "DeleteEnvironment": self._delete_environment,
            "GetEnvironment": self._get_environment,
            "InvokeRestApi": self._invoke_rest_api,
            "ListEnvironments": self._list_environments,
            "ListTagsForResource": self._list_tags_for_resource,
            "TagResource": self._tag_resource,
            "UntagResource": self._untag_resource,
            "UpdateEnvironment": self._update_environment,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        started = time.perf_counter()
        call: _Call | None = None
        fault: Fault | None = None
        target = "control_plane"
        try:
            call = self._accept(request, await request.read())
            target = _snake(call.operation.name)
            fault = self._faults.pick(self._fault_call(request, call, target))
            accepted = call
            response = await carry_out(
                fault,
                request,
                answer=lambda: self._answer(accepted),
                effect_only=lambda: self._answer(accepted),
                error=self._injected_error,
            )
        except AwsError as error:
            response = self._error(error)
        except web.HTTPRequestEntityTooLarge:
            response = self._error(AwsError("ValidationException", "The request is too large", status=413))
        reset = fault is not None and fault.kind.value.startswith("reset_")
        members = call.members if call else {}
        self._calls.record(
            target=target,
            environment=call.env_name if call else None,
            method=members.get("Method") or request.method,
            path=members.get("Path") or request.path,
            status=None if reset else response.status,
            seconds=time.perf_counter() - started,
            fault=fault.kind if fault else None,
        )
        return response

    def knows(self, method: str, raw_path: str) -> bool:
        """Return whether a request without a signature is for MWAA, by its path."""
        return self._model.match(method, raw_path) is not None

    def _accept(self, request: web.Request, body: bytes) -> _Call:
        """Check a request's identity, permission and form."""
        raw_path, _, query = request.raw_path.partition("?")
        identity = verify(
            read_scope(request.headers, query),
            self._identities,
            method=request.method,
            raw_path=raw_path,
            query=query,
            headers=request.headers.items(),
            body=body,
            region=self._region,
            now=datetime.now(UTC),
        )
        found = self._model.match(request.method, raw_path)
        if found is None:
            text = f"No operation of the installed botocore's service model has {request.method} {raw_path}"
            raise AwsError("UnknownOperationException", text)
        operation, labels = found
        if operation.name not in self._handlers:
            raise NotImplementedByLocalMwaa(operation.name)
        max_lengths = {"RestApiPath": self._limits.rest_path_max_chars}
        self._authorize(identity, operation.name, labels)
        members = self._model.parse_request(operation, labels, query, body, max_lengths)
        return _Call(operation, members, identity)

    def _authorize(self, identity: Identity, operation_name: str, labels: Mapping[str, str]) -> None:
        action = f"airflow:{operation_name}"
        if identity.may(action):
            return
        if operation_name == "InvokeRestApi":
            # Source: MWAA's own wording, quoted in the amazon provider's tests and by several users.
            raise AwsError("AccessDeniedException", "No Airflow role granted in IAM.")
        prefix = f"arn:aws:airflow:{self._region}:{self._account_id}:"
        name = labels.get("Name", "*")
        role = f"role/{name}/Admin" if operation_name == "CreateWebLoginToken" else f"environment/{name}"
        resource = labels.get("ResourceArn", prefix + role)
        text = f"User: {identity.arn} is not authorized to perform: {action} on resource: {resource}"
        raise AwsError("AccessDeniedException", text)

    @staticmethod
    def _fault_call(request: web.Request, call: _Call, target: str) -> FaultCall:
        path, method = call.members.get("Path"), call.members.get("Method") or request.method
        paths = [request.path, *([path] if path else [])]
        return FaultCall(("control_plane", target), call.env_name, method, paths)

    async def _answer(self, call: _Call) -> web.StreamResponse:
        try:
            members = await self._handlers[call.operation.name](call)
        except AwsError as error:
            return self._error(error)
        except EnvironmentNotFound as error:
            return self._error(self._model.modelled_error("ResourceNotFoundException", str(error)))
        except EnvironmentProblem as error:
            return self._error(self._model.modelled_error("ValidationException", str(error)))
        except Exception:  # noqa: BLE001 - the caller gets AWS's error, the log the cause
            _log.exception("%s failed", call.operation.name)
            text = "An internal error has occurred; the local MWAA's log has the details."
            return self._error(AwsError("InternalServerException", text))
        return self._response(200, self._model.serialize_response(call.operation, members), {})

    def _error(self, error: AwsError) -> web.Response:
        headers = {"x-amzn-ErrorType": error.code}
        return self._response(error.status, self._model.serialize_error(error), headers)

    def _injected_error(self, status: int) -> web.Response:
        codes = {429: "ThrottlingException", 503: "ServiceUnavailableException"}
        code = codes.get(status, "InternalServerException" if status >= 500 else "ValidationException")
        return self._error(AwsError(code, "injected fault", status=status))

    @staticmethod
    def _response(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
        common = {"x-amzn-RequestId": str(uuid.uuid4())}
        return web.Response(status=status, body=body, content_type="application/json", headers={**common, **headers})

    # Operations ------------------------------------------------------------------------------------------------

    async def _create_environment(self, call: _Call) -> Members:
        members = call.members
        bucket = members["SourceBucketArn"].rpartition(":::")[2]
        configuration, files = members.get("AirflowConfigurationOptions", {}), read_files(members)
        settings = {name: value for name, value in members.items() if name not in _SPEC_MEMBERS}
        check_options(configuration)
        check_sizes(settings)
        check_tags(members.get("Tags", {}))
        await self._resources.check_network(members["NetworkConfiguration"])
        await self._resources.check_bucket(bucket)
        await self._resources.check_files(bucket, files.values())
        environment = self._environments.create(
            members["Name"],
            bucket=bucket,
            dag_s3_path=members["DagS3Path"],
            airflow_version=members.get("AirflowVersion"),
            configuration=configuration,
            files=files,
            execution_role_arn=members["ExecutionRoleArn"],
            settings=settings,
            tags=members.get("Tags"),
        )
        return {"Arn": environment.arn}

    async def _update_environment(self, call: _Call) -> Members:
        members = call.members
        bucket = members["SourceBucketArn"].rpartition(":::")[2] if "SourceBucketArn" in members else None
        settings = {name: value for name, value in members.items() if name not in _SPEC_MEMBERS}
        network = settings.pop("NetworkConfiguration", {})
        strategy = settings.pop("WorkerReplacementStrategy", "FORCED")
        await self._resources.check_network(network)
        if bucket is not None:
            await self._resources.check_bucket(bucket)
        # Nothing is awaited from here on, so the environment does not change while it is examined.
        environment = self._environments.get(members["Name"])
        if network:
            # An update names only security groups; the subnets cannot change.
            settings["NetworkConfiguration"] = {**environment.settings.get("NetworkConfiguration", {}), **network}
        if MEMBER in settings:
            settings[MEMBER] = merge(environment.settings.get(MEMBER, {}), settings[MEMBER])
        check_sizes({**environment.settings, **settings})
        self._environments.update(
            environment.name,
            bucket=bucket,
            dag_s3_path=members.get("DagS3Path"),
            airflow_version=members.get("AirflowVersion"),
            configuration=members.get("AirflowConfigurationOptions"),
            files=read_files(members, environment.spec.files),
            execution_role_arn=members.get("ExecutionRoleArn"),
            settings=settings,
            lets_tasks_end=strategy == "GRACEFUL",
        )
        return {"Arn": environment.arn}

    async def _delete_environment(self, call: _Call) -> Members:
        self._environments.delete(call.members["Name"])
        return {}

    async def _get_environment(self, call: _Call) -> Members:
        environment = self._environments.get(call.members["Name"])
        return {"Environment": describe(environment, self._region, self._account_id)}

    async def _list_environments(self, call: _Call) -> Members:
        after = _page_start(call.members.get("NextToken"))
        size = call.members.get("MaxResults", _PAGE)
        names = [environment.name for environment in self._environments.all() if environment.name > after]
        page: dict[str, Any] = {"Environments": names[:size]}
        if len(names) > size:
            page["NextToken"] = base64.urlsafe_b64encode(names[size - 1].encode()).decode("ascii")
        return page

    async def _tag_resource(self, call: _Call) -> Members:
        environment = self._environments.by_arn(call.members["ResourceArn"])
        check_tags(call.members["Tags"])
        tags = {**environment.tags, **call.members["Tags"]}
        if len(tags) > 50:
            raise AwsError("ValidationException", "An environment has at most 50 tags")
        environment.tags = tags
        return {}

    async def _untag_resource(self, call: _Call) -> Members:
        tags = self._environments.by_arn(call.members["ResourceArn"]).tags
        for key in call.members["tagKeys"]:
            tags.pop(key, None)
        return {}

    async def _list_tags_for_resource(self, call: _Call) -> Members:
        return {"Tags": dict(self._environments.by_arn(call.members["ResourceArn"]).tags)}

    async def _create_cli_token(self, call: _Call) -> Members:
        # CreateCliToken has only one error in the model.
        environment = self._usable(call, "ResourceNotFoundException")
        token = self._tokens.issue(TokenKind.CLI, environment.name)
        return {"CliToken": token, "WebServerHostname": environment.address}

    async def _create_web_login_token(self, call: _Call) -> Members:
        environment = self._usable(call, "ValidationException")
        identity = call.identity.iam_name
        return {
            "AirflowIdentity": identity[:64],
            "IamIdentity": identity,
            "WebServerHostname": environment.address,
            "WebToken": self._tokens.issue(TokenKind.WEB_LOGIN, environment.name),
        }

    async def _invoke_rest_api(self, call: _Call) -> Members:
        environment = self._usable(call, "ValidationException")
        self._rest_api.check_rate(environment.name)
        return await self._rest_api.invoke(environment, call.members)

    def _usable(self, call: _Call, refusal: str) -> Environment:
        environment = self._environments.get(call.members["Name"])
        if not environment.status.is_usable:
            text = f"Environment {environment.name} is in state {environment.status}; it must be AVAILABLE"
            raise self._model.modelled_error(refusal, text)
        return environment


def _page_start(next_token: str | None) -> str:
    if not next_token:
        return ""
    try:
        return base64.urlsafe_b64decode(next_token.encode("ascii")).decode("utf-8")
    except (UnicodeError, binascii.Error, ValueError) as error:
        raise AwsError("ValidationException", "Invalid NextToken") from error


def _snake(operation_name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation_name).lower()
