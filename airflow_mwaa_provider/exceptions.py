# SPDX-License-Identifier: Apache-2.0
"""One error tree. Every error is one line that names the environment, the call, its answer and what to do.

::

    MwaaError
    ├── MwaaInputError (also a ValueError)     refused before anything was sent
    │   ├── UnsendableCommand                  a CLI argument that cannot be sent in one line of text
    │   ├── UnsupportedByTransport             the transport in use has no such call
    │   ├── TableNotFound                      the metadata database has no such table, or no such column
    │   ├── UnsupportedColumn                  a column whose type the file format cannot hold
    │   ├── NoMetadataRoute                    no route to the metadata can be used from here
    │   ├── MigrationRefused                   something cannot be moved to Secrets Manager, or back; .keys
    │   └── PluginsRefused                     a plugins.zip would have errors; .problems
    ├── AccessDenied                           IAM or Airflow denied the call; .action is what to allow
    ├── EnvironmentUnavailable                 .status of the environment, if known
    │   ├── EnvironmentNotFound
    │   └── WebServerUnreachable               no network route, no DNS, a TLS or proxy problem
    ├── TokenExpired                           a token or session was rejected, and a renewed one too
    ├── Throttled                              the deadline passed while the service throttled
    ├── CallTimeout                            no answer in time; .ambiguous: it may have taken effect
    ├── UnexpectedAnswer                       HTML, an interrupted connection, another form
    │   └── AnswerTooLarge                     over the limit of InvokeRestApi
    ├── AirflowError                           Airflow's REST API answered with an error; .status, .detail
    │   ├── RemoteNotFound
    │   │   ├── DagNotFound
    │   │   ├── DagRunNotFound
    │   │   └── TaskInstanceNotFound
    │   └── RemoteConflict
    │       └── DagRunAlreadyExists
    ├── CliError
    │   ├── CliCommandNotAllowed               MWAA does not allow this command
    │   └── CliCommandFailed                   the command ran and failed; .result
    ├── DagPaused
    ├── ValueMasked                            the environment hides the requested value
    ├── ImportFailed                           an import failed after its first write; .restored, .left
    ├── DagRunFailed                           a run that was waited for failed; .state, .failed_task_ids
    ├── TaskInstanceFailed                     a task that was waited for failed; .state, .task_ids
    ├── WaitTimeout                            the wait's deadline passed; the remote run continues
    ├── MetadataError                          the metadata database; .sqlstate
    │   ├── NotAirflowMetadata                 the database is not Airflow's
    │   ├── DatabaseUnavailable                it could not be opened, was lost, or lags behind
    │   ├── DatabaseRefused                    it rejected a statement: permission, time, disk
    │   ├── CleanupUnderWay                    another cleanup of the database is running
    │   ├── ExportUnderWay                     another export writes to the same location
    │   └── CleanupFailed                      rows of some tables were not deleted; .failures
    ├── StorageError                           S3 rejected a call, or could not be reached; .code, .bucket, .key
    ├── AwsError                               another AWS service rejected a call, or did not answer; .code
    │   └── MetricsNotSent                     CloudWatch did not accept metrics; .sent, .doubtful, .unsent
    ├── ResolverUnavailable                    neither uv nor pip can be used, or the package index cannot be reached
    ├── SecretsUnavailable                     Secrets Manager or Parameter Store did not answer
    └── SecretsError                           Secrets Manager rejected a call of a migration; .code, .secret

All are picklable: their attributes are keyword fields with defaults. None ever contains a token or a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "AccessDenied", "AirflowError", "AnswerTooLarge", "AwsError", "CallTimeout", "CleanupFailed", "CleanupUnderWay",
    "CliCommandFailed", "CliCommandNotAllowed", "CliError", "DagNotFound", "DagPaused", "DagRunAlreadyExists",
    "DagRunFailed", "DagRunNotFound", "DatabaseRefused", "DatabaseUnavailable", "EnvironmentNotFound",
    "EnvironmentUnavailable", "ExportUnderWay", "ImportFailed", "MetadataError", "MetricsNotSent", "MigrationRefused",
    "MwaaError", "MwaaInputError", "NoMetadataRoute", "NotAirflowMetadata", "PluginsRefused", "RemoteConflict",
    "RemoteNotFound", "ResolverUnavailable", "SecretsError", "SecretsUnavailable", "StorageError", "TableNotFound",
    "TaskInstanceFailed", "TaskInstanceNotFound", "Throttled", "TokenExpired", "UnexpectedAnswer",
    "UnsendableCommand", "UnsupportedByTransport", "UnsupportedColumn", "ValueMasked", "WaitTimeout",
    "WebServerUnreachable",
]  # fmt: skip


# Many messages quote the remote's own words, which must neither break the line nor move a terminal's cursor.
_NOT_FOR_ONE_LINE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MwaaError(Exception):
    """Root of every error that this package raises on purpose.

    :param message: one line: what was requested, what was answered, what to do.
    :param advice: the end of that line, if it names a parameter of the caller: ``Leave them out with {}.``
    :param parameter: that parameter, as DAGs spell it; :meth:`worded` spells it otherwise.
    :param env_name: the environment that was called, if any.
    :param transient: the same call may succeed later.
    :param ambiguous: the call may have taken effect although it failed.
    :param retry_after_s: seconds to wait before another attempt, if the remote named them.
    """

    def __init__(
        self,
        message: str = "",
        *,
        advice: str = "",
        parameter: str = "",
        env_name: str | None = None,
        transient: bool = False,
        ambiguous: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        said = _NOT_FOR_ONE_LINE.sub(" ", message).strip()
        super().__init__(f"{said} {advice.format(parameter)}" if advice else said)
        self._said = said
        self.advice = advice
        self.parameter = parameter
        self.env_name = env_name
        self.transient = transient
        self.ambiguous = ambiguous
        self.retry_after_s = retry_after_s

    def worded(self, spelled: Callable[[str], str]) -> str:
        """Return the message for a caller that spells parameters differently from a DAG.

        :param spelled: returns what that caller writes for a parameter's name: ``--dry-run``.
        """
        return f"{self._said} {self.advice.format(spelled(self.parameter))}" if self.advice else self._said


class MwaaInputError(MwaaError, ValueError):
    """An argument cannot be used; nothing was sent."""


class UnsendableCommand(MwaaInputError):
    """A CLI argument cannot arrive unchanged through the CLI endpoint."""


class UnsupportedByTransport(MwaaInputError):
    """The chosen transport cannot carry this call."""


class AccessDenied(MwaaError):
    """IAM, or Airflow's own permissions, denied the call.

    :param action: the IAM action to allow, such as ``airflow:CreateCliToken``; ``None`` if Airflow denied the call.
    :param status: the HTTP status with which Airflow denied it; ``None`` if AWS did.
    """

    def __init__(
        self, message: str = "", *, action: str | None = None, status: int | None = None, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.action = action
        self.status = status


class EnvironmentUnavailable(MwaaError):
    """The environment exists but cannot be used now.

    :param status: its status as returned by GetEnvironment, if known.
    """

    def __init__(self, message: str = "", *, status: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status


class EnvironmentNotFound(EnvironmentUnavailable):
    """No environment of that name in this account and region."""


class WebServerUnreachable(EnvironmentUnavailable):
    """The environment's web server could not be reached over the network."""


class TokenExpired(MwaaError):
    """A token or web session was rejected, and a renewed one too."""


class Throttled(MwaaError):
    """The service throttled the calls until the deadline passed."""


class CallTimeout(MwaaError):
    """No answer arrived in the call's time."""


class UnexpectedAnswer(MwaaError):
    """The answer was not in the form of the API: HTML, an interrupted connection, other JSON.

    :param status: HTTP status of the answer, if any.
    """

    def __init__(self, message: str = "", *, status: int | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status


class AnswerTooLarge(UnexpectedAnswer):
    """The answer exceeds the limit of InvokeRestApi (6 MB)."""


class AirflowError(MwaaError):
    """Airflow's REST API answered with an error.

    :param status: Airflow's HTTP status.
    :param detail: Airflow's own words, truncated, without the values that were sent.
    :param remote: the error of this package's plugin there, as written by
        :mod:`~airflow_mwaa_provider.error_documents`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        detail: str = "",
        remote: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.status = status
        self.detail = detail
        self.remote = remote


class RemoteNotFound(AirflowError):
    """The environment's Airflow has no such object."""


class DagNotFound(RemoteNotFound):
    """The environment's Airflow has no such DAG, or the role may not see it."""


class DagRunNotFound(RemoteNotFound):
    """The DAG has no such run."""


class TaskInstanceNotFound(RemoteNotFound):
    """The run has no such task instance."""


class RemoteConflict(AirflowError):
    """An object with that name, or a run for that date, already exists."""


class DagRunAlreadyExists(RemoteConflict):
    """The DAG already has a run with that id, or for that logical date."""


class CliError(MwaaError):
    """A command that was sent to the environment's CLI endpoint did not succeed."""


class CliCommandNotAllowed(CliError):
    """MWAA does not allow this command through its CLI endpoint."""


class CliCommandFailed(CliError):
    """The command ran and failed.

    :param result: what it printed, a :class:`~airflow_mwaa_provider.client.cli.endpoint.CliResult`.
    """

    def __init__(self, message: str = "", *, result: Any = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.result = result


class DagPaused(MwaaError):
    """The remote DAG is paused, so that a new run would stay queued."""


class ValueMasked(MwaaError):
    """The environment returns a mask instead of the value."""


class ImportFailed(MwaaError):
    """An import of variables, connections or pools failed after its first write, or was stopped.

    :param restored: everything is as it was before the import.
    :param left: keys of those that may differ from before; empty if ``restored``.
    """

    def __init__(self, message: str = "", *, restored: bool = False, left: tuple[str, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.restored = restored
        self.left = left


class DagRunFailed(MwaaError):
    """A remote run that was waited for ended in a state that counts as failed.

    :param state: the state it ended in.
    :param failed_task_ids: its failed tasks, with the map index in brackets: ``load[3]``.
    """

    def __init__(
        self,
        message: str = "",
        *,
        dag_id: str | None = None,
        run_id: str | None = None,
        state: str | None = None,
        failed_task_ids: tuple[str, ...] = (),
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.dag_id = dag_id
        self.run_id = run_id
        self.state = state
        self.failed_task_ids = failed_task_ids


class TaskInstanceFailed(MwaaError):
    """Tasks of a remote run that were waited for ended in a state that counts as failed.

    :param task_ids: those tasks, with the map index in brackets: ``load[3]``.
    :param state: the state of the first of them.
    """

    def __init__(
        self,
        message: str = "",
        *,
        dag_id: str | None = None,
        run_id: str | None = None,
        task_ids: tuple[str, ...] = (),
        state: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.dag_id = dag_id
        self.run_id = run_id
        self.task_ids = task_ids
        self.state = state


class WaitTimeout(MwaaError):
    """A wait ended at its own deadline; what it waited for continues."""


class TableNotFound(MwaaInputError):
    """The metadata database of this version has no such table, or the table has no such column.

    :param table: the requested name.
    """

    def __init__(self, message: str = "", *, table: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.table = table


class UnsupportedColumn(MwaaInputError):
    """A column has a type that the chosen file format cannot hold; no format is left that has such a type."""


class NoMetadataRoute(MwaaInputError):
    """No route to the metadata can be used from here; the message gives the reason for each."""


class MetadataError(MwaaError):
    """The metadata database could not do what was requested.

    :param sqlstate: PostgreSQL's five-character code, if any.
    """

    def __init__(self, message: str = "", *, sqlstate: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.sqlstate = sqlstate


class NotAirflowMetadata(MetadataError):
    """The database has no Airflow schema."""


class DatabaseUnavailable(MetadataError):
    """The metadata database could not be opened, the connection was lost, or it is a standby that lags behind."""


class DatabaseRefused(MetadataError):
    """The metadata database rejected a statement: no permission, a timeout, a full disk."""


class CleanupUnderWay(MetadataError):
    """Another cleanup of the same metadata database is running."""


class ExportUnderWay(MetadataError):
    """Another export is writing to the same location."""


class CleanupFailed(MetadataError):
    """A cleanup did not delete all rows that it should have, because of an error.

    :param failures: the error by table.
    """

    def __init__(self, message: str = "", *, failures: dict[str, str] | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.failures = failures or {}


class StorageError(MwaaError):
    """S3 rejected a call, or could not be reached.

    :param code: S3's own code, such as ``NoSuchBucket``.
    :param bucket: the bucket.
    :param key: the object, if the call was about one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        bucket: str | None = None,
        key: str | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.code = code
        self.bucket = bucket
        self.key = key


class AwsError(MwaaError):
    """An AWS service did not answer, or rejected a call for another reason than a missing permission.

    :param code: the service's own code, or boto3's name of the failure if there was no answer.
    """

    def __init__(self, message: str = "", *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.code = code


class MetricsNotSent(AwsError):
    """CloudWatch did not accept metrics; ``__cause__`` is the reason.

    :param sent: how many were sent.
    :param doubtful: those that CloudWatch may or may not have accepted.
    :param unsent: those that it has not accepted.
    """

    def __init__(
        self,
        message: str = "",
        *,
        sent: int = 0,
        doubtful: Sequence[Any] = (),
        unsent: Sequence[Any] = (),
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.sent = sent
        self.doubtful = doubtful
        self.unsent = unsent


class ResolverUnavailable(MwaaError):
    """Requirements cannot be resolved: neither uv nor pip can be used, or the package index cannot be reached.

    :param what: what is wrong: the beginning of the message. By default, all of it.
    :param fix: what to do: the end of the message.
    """

    def __init__(self, message: str = "", *, what: str = "", fix: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.what = what or str(self)
        self.fix = fix


class SecretsUnavailable(MwaaError):
    """Secrets Manager or Parameter Store did not answer, and the cache has no usable answer."""


class SecretsError(MwaaError):
    """A secret could not be read or written, or a task would not read from it what was written.

    :param code: Secrets Manager's own code, such as ``ResourceNotFoundException``.
    :param secret: the name of the secret.
    """

    def __init__(self, message: str = "", *, code: str | None = None, secret: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.code = code
        self.secret = secret


class MigrationRefused(MwaaInputError):
    """Connections or variables cannot be moved, or a secret exists and holds something else; nothing was written.

    :param keys: their keys.
    """

    def __init__(self, message: str = "", *, keys: tuple[str, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.keys = keys


class PluginsRefused(MwaaInputError):
    """The content of a plugins.zip has errors, and was not written.

    :param problems: all of them, errors first, each with where, what and what to do.
    """

    def __init__(self, message: str = "", *, problems: tuple[Any, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.problems = problems
