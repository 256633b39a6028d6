# SPDX-License-Identifier: Apache-2.0
"""Wait in the triggerer for a pod in an EKS cluster."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_mwaa_provider._compat import TriggerEvent
    from airflow_mwaa_provider.hooks.eks import AsyncEksClusterHook

__all__ = ["EksPodTrigger"]

_PATH = "airflow_mwaa_provider.triggers.eks.EksPodTrigger"
_SECRETS = ("config_dict", "config_file", "connection_extras")
"""Parameters of KubernetesPodTrigger that may hold a token or a key, and that are not needed here."""


class EksPodTrigger(KubernetesPodTrigger):
    """Wait for a pod in an EKS cluster.

    What Airflow stores of it names the cluster and the connection, and holds no token, no credentials and no
    kubeconfig. The triggerer makes its own tokens.

    :param eks: keyword arguments of :class:`~airflow_mwaa_provider.hooks.eks.EksClusterHook`.
    :param pod: keyword arguments of the cncf.kubernetes provider's ``KubernetesPodTrigger``.
    """

    def __init__(self, *, eks: dict[str, Any], pod: dict[str, Any]) -> None:
        known = inspect.signature(KubernetesPodTrigger.__init__).parameters
        # An older name of on_finish_action, which is stored as well, and warns.
        given = {name: value for name, value in pod.items() if name in known and name != "should_delete_pod"}
        super().__init__(**given)
        self.eks = eks

    @classmethod
    def replacing(cls, trigger: Any, eks: dict[str, Any]) -> EksPodTrigger:
        """Make the trigger that waits as another ``KubernetesPodTrigger`` would."""
        _, pod = trigger.serialize()
        return cls(eks=eks, pod={name: value for name, value in pod.items() if name not in _SECRETS})

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores."""
        _, pod = super().serialize()
        dropped = (*_SECRETS, "should_delete_pod")
        return _PATH, {"eks": self.eks, "pod": {name: value for name, value in pod.items() if name not in dropped}}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the pod has ended."""
        async for event in super().run():
            denied = self.hook.denied
            if denied is not None and event.payload.get("status") == "error":
                event.payload["message"] = str(denied)
                event.payload.pop("stack_trace", None)
            yield event

    @cached_property
    def hook(self) -> AsyncEksClusterHook:
        """The hook for the cluster."""
        from airflow_mwaa_provider.hooks.eks import AsyncEksClusterHook, EksClusterHook

        return AsyncEksClusterHook(EksClusterHook(**self.eks).cluster)
