# SPDX-License-Identifier: Apache-2.0
"""Link to a DAG run in another environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider._compat import BaseOperatorLink, read_xcom

if TYPE_CHECKING:
    from typing import Any

    from airflow_mwaa_provider._compat import BaseOperator, Context


class MwaaDagRunLink(BaseOperatorLink):
    """Opens the remote run in the UI of its environment; whoever follows it must be logged in there."""

    key = "mwaa_dag_run_url"

    @property
    def name(self) -> str:
        """Text of the button."""
        return "Remote DAG run"

    @property
    def xcom_key(self) -> str:
        """Where Airflow 3 looks for the URL.

        Its own default is filled in when the task has ended, which is too late for a task that waits for hours.
        """
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Give the URL that the task left behind; empty as long as there is none."""
        return str(read_xcom(ti_key, self.key) or "")

    @classmethod
    def persist(cls, context: Context, url: str) -> None:
        """Leave the URL behind, unless the task was told to push nothing."""
        ti: Any = context["ti"]
        if getattr(ti.task, "do_xcom_push", True):
            ti.xcom_push(key=cls.key, value=url)
