# SPDX-License-Identifier: Apache-2.0
"""Link to a DAG run in another environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mwaa_provider._compat import BaseOperatorLink, read_xcom

if TYPE_CHECKING:
    from typing import Any

    from airflow_mwaa_provider._compat import BaseOperator, Context


class MwaaDagRunLink(BaseOperatorLink):
    """Opens the remote run in the UI of its environment. Users who follow it must be logged in there."""

    key = "mwaa_dag_run_url"

    @property
    def name(self) -> str:
        """The button's label."""
        return "Remote DAG run"

    @property
    def xcom_key(self) -> str:
        """The XCom key that Airflow 3 reads the URL from.

        The XCom of Airflow's own default key is written when the task has ended, too late for a task that waits for
        hours.
        """
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Return the URL that the task stored, or an empty string."""
        return str(read_xcom(ti_key, self.key) or "")

    @classmethod
    def persist(cls, context: Context, url: str) -> None:
        """Store the URL as an XCom, unless the task pushes none."""
        ti: Any = context["ti"]
        if getattr(ti.task, "do_xcom_push", True):
            ti.xcom_push(key=cls.key, value=url)
