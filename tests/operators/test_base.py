# SPDX-License-Identifier: Apache-2.0
"""What operators and sensors that call AWS inherit: declared once, documented once, templated the same way."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_mwaa_provider._compat import BaseOperator
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.operators.base import MwaaEnvironmentOperator, MwaaOperator

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
AWS = {"aws_conn_id", "region_name", "region", "verify", "botocore_config"}
WHOSE = {**dict.fromkeys(AWS, MwaaOperator), "transport": MwaaEnvironmentOperator}
"""The only class that declares each shared parameter."""
REQUIRED = {
    "env_name": "e", "trigger_dag_id": "d", "command": "dags list", "role_name": "r", "dag_ids": ["d"], "domain": "d",
    "domain_owner": "o", "destination": "s3://b/k", "namespace": "N", "metrics": [], "bucket": "bucket",
    "variables": {}, "connections": {}, "pools": {}, "external_env_name": "e", "external_dag_id": "d",
    "external_task_id": "t",
}  # fmt: skip


class Derived(MwaaOperator):
    template_fields = (*MwaaOperator.template_fields, "bucket")

    def __init__(self, *, bucket: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket

    def execute(self, context: Any) -> HookSettings:
        return self.hook_settings


def test_the_settings_of_its_hooks() -> None:
    operator = Derived(
        task_id="t", bucket="b", aws_conn_id="c", region_name="eu-west-1", verify=False, botocore_config={"retries": {}}
    )
    assert operator.execute({}) == HookSettings("c", "eu-west-1", False, {"retries": {}})
    assert Derived(task_id="t", bucket="b").execute({}) == HookSettings()


def test_they_are_templated_as_text() -> None:
    operator = Derived(task_id="t", bucket="b{{ n }}", aws_conn_id="{{ n }}", region_name="{{ r }}", verify="{{ v }}")
    operator.render_template_fields({"n": 20261128, "r": "eu-west-1", "v": False})  # type: ignore[typeddict-unknown-key]
    operator.read_rendered(required=("bucket",))
    assert operator.execute({}) == HookSettings("20261128", "eu-west-1", False)
    assert operator.bucket == "b20261128"


def test_default_args_and_partial_reach_them() -> None:
    operator = Derived(task_id="t", bucket="b", default_args={"aws_conn_id": "c", "region": "eu-west-3"})
    assert operator.execute({}) == HookSettings("c", "eu-west-3")
    assert Derived.partial(task_id="t", region_name="r", verify=False).kwargs["region_name"] == "r"


def test_the_older_name_of_a_region() -> None:
    assert Derived(task_id="t", bucket="b", region="eu-west-3").region_name == "eu-west-3"
    assert Derived(task_id="t", bucket="b", region="r", region_name="r").region_name == "r"
    with pytest.raises(MwaaInputError, match=r"^region and region_name are two names of one parameter, and differ\."):
        Derived(task_id="t", bucket="b", region="a", region_name="b")


def test_it_is_an_operator_of_airflow() -> None:
    assert issubclass(MwaaOperator, BaseOperator)


def public_classes() -> list[type]:
    """Return the operators and sensors in the reference that are not just base classes."""
    pages = [*REFERENCE.glob("operators/*.md"), *REFERENCE.glob("sensors/*.md")]
    names = re.findall(r"(?m)^::: (\S+)$", "\n".join(page.read_text("utf-8") for page in pages))
    found = [pkgutil.resolve_name(name) for name in sorted(names)]
    bases = {base for kind in found if inspect.isclass(kind) for base in kind.__mro__[1:]}
    kinds = [kind for kind in found if inspect.isclass(kind) and kind not in bases]
    return [kind for kind in kinds if issubclass(kind, BaseOperator)]


def is_drop_in(kind: type) -> bool:
    """Return whether a class replaces another provider's, so that its parameters are those of that class."""
    return any(each.__module__.startswith("airflow.providers.") for each in kind.__mro__)


PUBLIC = [kind for kind in public_classes() if not is_drop_in(kind)]


def own_classes(kind: type) -> list[type]:
    return [each for each in kind.__mro__ if each.__module__.startswith("airflow_mwaa_provider.")]


def declared(kind: type) -> set[str]:
    return set(inspect.signature(kind.__init__).parameters) if "__init__" in vars(kind) else set()


def test_the_reference_shows_them_all() -> None:
    assert len(PUBLIC) > 18
    assert all(issubclass(kind, MwaaOperator) for kind in PUBLIC)
    drop_ins: list[Any] = [kind for kind in public_classes() if is_drop_in(kind)]
    assert [kind.__name__ for kind in drop_ins] == ["EksPodOperator", "SSHOperator"]
    for kind in drop_ins:
        assert {"aws_conn_id", "region_name"} <= declared(kind) & set(kind.text_fields)


@pytest.mark.parametrize("kind", PUBLIC)
def test_shared_parameters_are_declared_and_documented_once(kind: type) -> None:
    shared = [name for name, owner in WHOSE.items() if issubclass(kind, owner)]
    for name in shared:
        assert [each for each in own_classes(kind) if name in declared(each)] == [WHOSE[name]], name
        documented = [each for each in own_classes(kind) if f":param {name}:" in (each.__doc__ or "")]
        assert documented == [WHOSE[name]], name
    base = MwaaEnvironmentOperator if "transport" in shared else MwaaOperator
    said = [each for each in own_classes(kind) if f"{base.__name__}`" in (each.__doc__ or "")]
    assert said, "its docstring does not say where they are documented"


@pytest.mark.parametrize("kind", PUBLIC)
def test_shared_parameters_are_templated_alike(kind: Any) -> None:
    base = MwaaEnvironmentOperator if issubclass(kind, MwaaEnvironmentOperator) else MwaaOperator
    assert set(kind.template_fields) >= set(base.template_fields)
    assert set(kind.text_fields) >= set(base.text_fields)
    assert set(kind.template_fields) >= set(kind.text_fields) | set(kind.narrowing_fields) | set(kind.native_fields)
    assert [name for name, count in Counter(kind.template_fields).items() if count > 1] == []


@pytest.mark.parametrize("kind", PUBLIC)
def test_shared_parameters_come_from_default_args(kind: Any) -> None:
    known = set().union(*map(declared, own_classes(kind)))
    required = {name: value for name, value in REQUIRED.items() if name in known}
    more = {"transport": "web_session", "airflow_version": 2} if issubclass(kind, MwaaEnvironmentOperator) else {}
    default_args = {"aws_conn_id": "c", "region": "eu-west-3", "verify": "/ca", "botocore_config": {"a": 1}, **more}
    made = kind(task_id="t", **required, default_args=default_args)
    assert made.hook_settings == HookSettings(
        "c", "eu-west-3", "/ca", {"a": 1}, more.get("transport"), more.get("airflow_version")
    )
