# SPDX-License-Identifier: Apache-2.0
"""What operators inherit that call AWS."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mwaa_provider._compat import BaseOperator
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.hooks.settings import HookSettings
from airflow_mwaa_provider.operators.base import MwaaOperator


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
    with pytest.raises(MwaaInputError, match="region='a' and region_name='b' name two regions: give region_name alone"):
        Derived(task_id="t", bucket="b", region="a", region_name="b")


def test_it_is_an_operator_of_airflow() -> None:
    assert issubclass(MwaaOperator, BaseOperator)
