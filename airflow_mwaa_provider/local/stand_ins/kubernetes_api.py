# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API of an EKS cluster, as far as pods need it, over TLS.

It verifies each bearer token as EKS does: the presigned URL in it is called, STS says whose it is, and an access entry
says which Kubernetes user that is. Roles say what a user may do in a namespace. Pods go through their phases, and have
events and a log, but their commands are not run, because there are no containers: :data:`Program` says how each ends.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import copy
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import aiohttp
import trustme
from aiohttp import web
from yarl import URL

from airflow_mwaa_provider.local.errors import LocalMwaaError

__all__ = ["POD_ROLE", "KubernetesApi", "Outcome", "Program", "Request", "say_not_run"]

POD_ROLE = frozenset(
    {
        ("pods", "create"), ("pods", "get"), ("pods", "list"), ("pods", "patch"), ("pods", "delete"),
        ("pods/log", "get"), ("events", "list"), ("events", "watch"),
    }
)  # fmt: skip
"""What KubernetesPodOperator does, as resources and verbs of a Role."""

_PREFIX = "k8s-aws-v1."
_VALID = timedelta(minutes=15)
# Source: aws-iam-authenticator, pkg/token: the only parameters that a token's URL may have, and their limits.
_PARAMETERS = {
    "action", "version", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token",
    "x-amz-signature", "x-amz-signedheaders",
}  # fmt: skip
_CLUSTER_HEADER = "x-k8s-aws-id"
_REQUIREMENT = re.compile(r"(!?)([\w./-]+)(?:(==|=|!=)([\w.-]*))?")
_EXIT = re.compile(r"exit (\d+)")
_START_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """How a container ends.

    :param lines: what it has written.
    """

    exit_code: int = 0
    lines: tuple[str, ...] = ()


Program = Callable[[Mapping[str, Any]], Outcome]
"""Says how a pod's container ends: from the pod, as it was created."""


def say_not_run(pod: Mapping[str, Any]) -> Outcome:
    """End with the exit code of a command such as ``exit 3``, otherwise with 0, and log that nothing was run."""
    container = pod["spec"]["containers"][0]
    command = " ".join([*container.get("command", ()), *container.get("args", ())])
    found = _EXIT.search(command)
    line = f"{command!r} is not run in {container['image']}: this Kubernetes API is a stand-in without containers"
    return Outcome(int(found[1]) if found else 0, (line,))


@dataclass(frozen=True)
class Request:
    """A request that was answered."""

    user: str | None
    """Kubernetes' name of the user; None if the token was not accepted."""
    verb: str
    resource: str
    namespace: str
    status: int


@dataclass
class _Pod:
    body: dict[str, Any]
    outcome: Outcome
    created: float
    starts_after_s: float
    runs_s: float
    version: int

    @property
    def phase(self) -> str:
        age = time.monotonic() - self.created
        if age < self.starts_after_s:
            return "Pending"
        if age < self.starts_after_s + self.runs_s:
            return "Running"
        return "Failed" if self.outcome.exit_code else "Succeeded"

    def document(self) -> dict[str, Any]:
        """Return the pod with its present status."""
        made = copy.deepcopy(self.body)
        phase = self.phase
        started = _written(made["metadata"]["creationTimestamp"], self.starts_after_s)
        state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        if phase == "Running":
            state = {"running": {"startedAt": started}}
        elif phase in ("Succeeded", "Failed"):
            state = {
                "terminated": {
                    "exitCode": self.outcome.exit_code,
                    "reason": "Error" if self.outcome.exit_code else "Completed",
                    "startedAt": started,
                    "finishedAt": _written(started, self.runs_s),
                }
            }
        made["metadata"]["resourceVersion"] = str(self.version)
        made["status"] = {
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "restartCount": 0,
                    "ready": phase == "Running",
                    "state": state,
                }
                for container in made["spec"]["containers"]
            ],
        }
        return made


class _Refused(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def answer(self) -> web.Response:
        status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "code": self.code,
        }  # fmt: skip
        return web.json_response(status, status=self.code)


@dataclass
class KubernetesApi:
    """A Kubernetes API server on 127.0.0.1; a context manager.

    :param cluster_name: the name that tokens must be made for.
    :param sts_url: the endpoint of the STS that verifies tokens; they must be made for it.
    :param access_entries: the Kubernetes user of each IAM role or user, by its ARN. For an assumed role that is the
        role's ARN, without a path, as in ``aws-auth``.
    :param roles: what each user may do in a namespace, as resources and verbs. The namespaces of all users exist.
    :param program: says how pods end.
    :param starts_after_s: how long pods are Pending.
    :param runs_s: how long pods are Running.
    """

    cluster_name: str
    sts_url: str
    access_entries: Mapping[str, str]
    roles: Mapping[tuple[str, str], frozenset[tuple[str, str]]]
    """By user and namespace."""
    program: Program = say_not_run
    starts_after_s: float = 0.3
    runs_s: float = 1.0
    requests: list[Request] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list, repr=False)
    """Each bearer token that was sent, once, in their order."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._pods: dict[tuple[str, str], _Pod] = {}
        self._version = 1
        self._authority = trustme.CA()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """The URL, as DescribeCluster returns it."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def certificate_authority(self) -> str:
        """The certificate of its authority, as DescribeCluster returns it."""
        return base64.b64encode(self._authority.cert_pem.bytes()).decode()

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """Return the pods of a namespace, with their present status."""
        return [pod.document() for (of, _), pod in self._pods.items() if of == namespace]

    def used(self) -> set[tuple[str, str]]:
        """Return the resources and verbs of all requests that were granted."""
        return {(request.resource, request.verb) for request in self.requests if request.status < 400}

    def __enter__(self) -> KubernetesApi:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="kubernetes-api", daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise LocalMwaaError("the stand-in for the Kubernetes API did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_START_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self._port = runner.addresses[0][1]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as self._http:
            self._ready.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        user: str | None = None
        parts = request.path.strip("/").split("/")
        namespace = parts[3] if parts[:3] == ["api", "v1", "namespaces"] and len(parts) > 4 else ""
        resource = "/".join([parts[4], *parts[6:]]) if namespace else request.path
        name = parts[5] if len(parts) > 5 else ""
        verb = _verb(request, has_name=bool(name))
        try:
            user = await self._user(request.headers.get("Authorization", ""))
            self._check_role(user, verb, resource, namespace)
            answer = await self._answer(request, resource, verb, namespace, name, user)
        except _Refused as refused:
            answer = refused.answer()
            self.requests.append(Request(user, verb, resource, namespace, refused.code))
        return answer

    # Who calls

    async def _user(self, authorization: str) -> str:
        """Return the Kubernetes user of a token. An answer never says why a token was not accepted.

        Source: aws-iam-authenticator, ``tokenVerifier.Verify``.
        """
        kind, _, token = authorization.partition(" ")
        if token not in self.tokens:
            self.tokens.append(token)
        unauthorized = _Refused(401, "Unauthorized", "Unauthorized")
        try:
            encoded = token.removeprefix(_PREFIX)
            url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            parsed, own = urlsplit(url), urlsplit(self.sts_url)
            values = {key.lower(): found[-1] for key, found in parse_qs(parsed.query, strict_parsing=True).items()}
            signed_at = datetime.strptime(values["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            well_formed = (
                kind == "Bearer"
                and token.startswith(_PREFIX)
                and (parsed.scheme, parsed.netloc, parsed.path) == (own.scheme, own.netloc, own.path or "/")
                and set(values) <= _PARAMETERS
                and values["action"] == "GetCallerIdentity"
                and _CLUSTER_HEADER in values["x-amz-signedheaders"].split(";")
                and 0 < int(values["x-amz-expires"]) <= _VALID.total_seconds()
                and abs(self.clock() - signed_at) <= _VALID
            )
        except (binascii.Error, KeyError, ValueError):
            raise unauthorized from None
        if not well_formed:
            raise unauthorized
        signed = URL(url, encoded=True)  # to be sent as it was signed
        async with self._http.get(signed, headers={_CLUSTER_HEADER: self.cluster_name}) as answer:
            text = await answer.text()
            if answer.status != 200:
                raise unauthorized
        found = ElementTree.fromstring(text).iter()  # noqa: S314 - STS's own answer
        arn = next(element.text or "" for element in found if element.tag.rpartition("}")[2] == "Arn")
        user = self.access_entries.get(_role_of(arn))
        if user is None:
            raise unauthorized
        return user

    def _check_role(self, user: str, verb: str, resource: str, namespace: str) -> None:
        if (resource, verb) in self.roles.get((user, namespace), ()):
            return
        raise _Refused(
            403, "Forbidden",
            f'{resource.split("/")[0]} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group '
            f'"" in the namespace "{namespace}"',
        )  # fmt: skip

    # What it answers

    async def _answer(
        self, request: web.Request, resource: str, verb: str, namespace: str, name: str, user: str
    ) -> web.StreamResponse:
        def granted(status: int = 200) -> None:
            self.requests.append(Request(user, verb, resource, namespace, status))

        if (resource, verb) == ("pods", "create"):
            created = self._create(namespace, await _body(request))
            granted(201)
            return web.json_response(created, status=201)
        if (resource, verb) == ("pods", "list"):
            chosen = _selection(request.query.get("labelSelector", ""))
            items = [pod for pod in self.pods(namespace) if chosen(pod["metadata"].get("labels") or {})]
            granted()
            return web.json_response(self._list("PodList", items))
        if (resource, verb) == ("events", "list"):
            granted()
            return web.json_response(self._list("EventList", self._events(namespace, request)))
        if (resource, verb) == ("events", "watch"):
            granted()
            return await self._watch(request, namespace)
        pod = self._pods.get((namespace, name))
        if pod is None:
            raise _Refused(404, "NotFound", f'pods "{name}" not found')
        if (resource, verb) == ("pods/log", "get"):
            if pod.phase == "Pending":
                text = f'container "{pod.body["spec"]["containers"][0]["name"]}" in pod "{name}" is waiting to start'
                raise _Refused(400, "BadRequest", f"{text}: ContainerCreating")
            granted()
            return await self._log(request, pod)
        if (resource, verb) == ("pods", "patch"):
            _merge(pod.body, await _body(request))
            self._changed(pod)
        elif (resource, verb) == ("pods", "delete"):
            del self._pods[namespace, name]
        elif (resource, verb) != ("pods", "get"):
            raise _Refused(501, "NotImplemented", f"the stand-in has no {verb} of {resource}")
        granted()
        return web.json_response(pod.document())

    def _create(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body.get("metadata", {}).get("name", "")
        containers = body.get("spec", {}).get("containers") or ()
        if not name or not containers or any(not container.get("image") for container in containers):
            raise _Refused(422, "Invalid", f'Pod "{name}" is invalid: a name, spec.containers and images are required')
        if (namespace, name) in self._pods:
            raise _Refused(409, "AlreadyExists", f'pods "{name}" already exists')
        made = {"kind": "Pod", "apiVersion": "v1", **copy.deepcopy(body)}
        made["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        pod = _Pod(made, self.program(made), time.monotonic(), self.starts_after_s, self.runs_s, 0)
        self._pods[namespace, name] = pod
        self._changed(pod)
        return pod.document()

    def _changed(self, pod: _Pod) -> None:
        self._version += 1
        pod.version = self._version

    def _list(self, kind: str, items: list[Any]) -> dict[str, Any]:
        return {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": str(self._version)}, "items": items}

    def _events(self, namespace: str, request: web.Request) -> list[dict[str, Any]]:
        """Return the events of the pod that a field selector names."""
        field_name, _, name = request.query.get("fieldSelector", "").partition("=")
        pod = self._pods.get((namespace, name)) if field_name == "involvedObject.name" else None
        if pod is None:
            return []
        uid, created = pod.body["metadata"]["uid"], pod.body["metadata"]["creationTimestamp"]
        reasons = ["Scheduled"] if pod.phase == "Pending" else ["Scheduled", "Pulled", "Started"]
        return [
            {
                "kind": "Event",
                "apiVersion": "v1",
                "metadata": {
                    "name": f"{name}.{number}", "namespace": namespace, "uid": f"{uid}-{number}",
                    "resourceVersion": str(number + 1), "creationTimestamp": created,
                },
                "involvedObject": {"kind": "Pod", "namespace": namespace, "name": name, "uid": uid},
                "reason": reason, "message": f"{reason} by the stand-in", "type": "Normal",
                "firstTimestamp": created, "lastTimestamp": created, "count": 1,
            }
            for number, reason in enumerate(reasons)
        ]  # fmt: skip

    async def _watch(self, request: web.Request, namespace: str) -> web.StreamResponse:
        """Send events as they arise, until the requested time has passed."""
        ends = time.monotonic() + float(request.query.get("timeoutSeconds") or 30)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        sent: set[str] = set()
        while time.monotonic() < ends and not self._ended.is_set():
            for event in self._events(namespace, request):
                if event["metadata"]["uid"] not in sent:
                    sent.add(event["metadata"]["uid"])
                    await response.write(json.dumps({"type": "ADDED", "object": event}).encode() + b"\n")
            await asyncio.sleep(0.1)
        return response

    async def _log(self, request: web.Request, pod: _Pod) -> web.StreamResponse:
        """Send what the container has written; with ``follow``, until it has ended."""
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        written = pod.created + pod.starts_after_s
        since = float(request.query.get("sinceSeconds") or 0)
        if not since or written >= time.monotonic() - since:
            at = _written(pod.body["metadata"]["creationTimestamp"], pod.starts_after_s)
            prefix = f"{at} " if request.query.get("timestamps") in ("true", "True") else ""
            await response.write("".join(f"{prefix}{line}\n" for line in pod.outcome.lines).encode())
        follows = request.query.get("follow") in ("true", "True")
        while follows and pod.phase == "Running" and not self._ended.is_set():
            await asyncio.sleep(0.05)
        return response


def _verb(request: web.Request, *, has_name: bool) -> str:
    """Return what RBAC calls a request."""
    if request.method == "GET" and not has_name:
        return "watch" if request.query.get("watch") in ("true", "True") else "list"
    return {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]


def _role_of(arn: str) -> str:
    """Return the ARN of the role that a session has assumed; any other ARN unchanged."""
    found = re.fullmatch(r"arn:(aws[\w-]*):sts::(\d+):assumed-role/([^/]+)/.+", arn)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else arn


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _Refused(400, "BadRequest", "the body is not an object in JSON")
    return body


def _selection(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Parse a label selector: equality, inequality and existence."""
    requirements = [text.strip() for text in selector.split(",") if text.strip()]
    parsed = [_REQUIREMENT.fullmatch(text) for text in requirements]
    for text, found in zip(requirements, parsed, strict=True):
        if found is None:
            raise _Refused(400, "BadRequest", f"unable to parse requirement: {text}")

    def chosen(labels: Mapping[str, str]) -> bool:
        for found in parsed:
            assert found is not None
            absent, key, operator, value = found.groups()
            if operator is None:
                fits = (key in labels) != bool(absent)
            else:
                fits = (labels.get(key) == value) != (operator == "!=")
            if not fits:
                return False
        return True

    return chosen


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _written(moment: str, after_s: float) -> str:
    """Return a time of the API, some seconds after another one."""
    then = datetime.fromisoformat(moment.replace("Z", "+00:00")) + timedelta(seconds=after_s)
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")
