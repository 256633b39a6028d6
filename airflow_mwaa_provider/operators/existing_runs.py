# SPDX-License-Identifier: Apache-2.0
"""What a remote run means that was there before the operator asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow_mwaa_provider._compat import failure_without_retry, skip_exception
from airflow_mwaa_provider.client.models import TransportName
from airflow_mwaa_provider.exceptions import DagRunAlreadyExists
from airflow_mwaa_provider.operators.run_ids import began_before, tries_before, was_cleared

if TYPE_CHECKING:
    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.environment import MwaaEnvironment
    from airflow_mwaa_provider.client.models import DagRun
    from airflow_mwaa_provider.operators.dag_run import MwaaTriggerDagRunOperator


def refuse_other_request(operator: MwaaTriggerDagRunOperator, error: DagRunAlreadyExists) -> NoReturn:
    """Fail, or skip if asked, because the run that is there was made for another conf or date.

    :raises AirflowSkipException: ``skip_when_already_exists`` is set, and the run id was given.
    :raises AirflowFailException: no retry mends that.
    """
    if operator.trigger_run_id is not None and operator.skip_when_already_exists:
        raise skip_exception(f"{error} Skipping, because skip_when_already_exists is set.")
    raise failure_without_retry(str(error)) from error


def take_up(operator: MwaaTriggerDagRunOperator, environment: MwaaEnvironment, run: DagRun, context: Context) -> DagRun:
    """Decide what a run means that was there before: an earlier try's, or somebody else's.

    :return: the run to go on with; cleared, when it has to run again.
    :raises AirflowSkipException: it is somebody else's, and ``skip_when_already_exists`` is set.
    :raises AirflowFailException: it is somebody else's; no retry mends that.
    """
    # A derived id is nobody else's; with a date it may be that of an earlier round, before the task was cleared, or of
    # a source run of the same id that was deleted.
    dated = operator.trigger_run_id is None and operator.logical_date is not None
    earlier_source_run = dated and began_before(context, run)
    earlier_round = dated and (was_cleared(context) or earlier_source_run)
    earlier_try = not earlier_source_run and (
        tries_before(context) > 0 or (operator.trigger_run_id is None and not earlier_round)
    )
    if not earlier_try and operator.skip_when_already_exists:
        raise skip_exception(f"Environment {operator.env_name!r}: run {run.run_id!r} is already there; skipping.")
    if not earlier_try and not operator.reset_dag_run:
        error = DagRunAlreadyExists(
            f"Environment {operator.env_name!r}: DAG {run.dag_id!r} already has a run {run.run_id!r}, "
            f"{run.state.value}"
            + (
                f": this task made it before {'its run' if earlier_source_run else 'it'} was "
                f"{'made again, or put back into the queue,' if earlier_source_run else 'cleared,'} and a logical_date "
                "has one run only. Set reset_dag_run to run it again, or skip_when_already_exists."
                if earlier_round
                else ". Leave trigger_run_id out, or set reset_dag_run or skip_when_already_exists."
            ),
            env_name=operator.env_name,
            status=409,
        )
        # A retry could not tell this run from one that an earlier try of its own has made, and would take it up.
        raise failure_without_retry(str(error)) from error
    failed = run.state.is_final and run.state not in operator.wanted_states()
    # An earlier try may have been killed and have marked it. The CLI transport marks and clears nothing.
    may_be_killed = operator.cancel_on_kill and operator.waits and environment.transport != TransportName.CLI
    if (failed and may_be_killed) or (operator.reset_dag_run and run.state.is_final and (failed or not earlier_try)):
        operator.log.info(
            "Environment %r: run %r is already there and ended as %s, clearing it so that it runs again",
            operator.env_name,
            run.run_id,
            run.state.value,
        )
        environment.clear_dag_run(run.dag_id, run.run_id)
        return environment.get_dag_run(run.dag_id, run.run_id)
    if failed and operator.waits:
        operator.log.warning(
            "Environment %r: run %r of an earlier try ended as %s; a retry makes no second run. To run it again, "
            "clear it there or this task here, or set reset_dag_run.",
            operator.env_name,
            run.run_id,
            run.state.value,
        )
    else:
        operator.log.info(
            "Environment %r: taking up run %r, which is %s", operator.env_name, run.run_id, run.state.value
        )
    return run
