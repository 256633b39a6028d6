# SPDX-License-Identifier: Apache-2.0
"""One error tree. Every error is one line that names the environment, the call, its answer and the way out.

::

    MwaaError
    ├── MwaaInputError (also a ValueError)     refused before anything was sent
    │   ├── UnsendableCommand                  a CLI argument that cannot travel in one line of text
    │   ├── UnsupportedByTransport             the transport in use has no such call
    │   ├── TableNotFound                      the metadata database has no such table, or no such column
    │   ├── UnsupportedColumn                  a column whose type the file format cannot hold
    │   ├── NoMetadataRoute                    no way to the metadata can be used from here
    │   ├── MigrationRefused                   something cannot be moved to Secrets Manager, or back; .keys
    │   └── PluginsRefused                     a plugins.zip would have errors; .problems
    ├── AccessDenied                           IAM or Airflow refused; .action says what to allow
    ├── EnvironmentUnavailable                 .status of the environment, where known
    │   ├── EnvironmentNotFound
    │   └── WebServerUnreachable               no route, no DNS, TLS or proxy trouble
    ├── TokenExpired                           a token or session was refused, also after renewing it once
    ├── Throttled                              the deadline passed while the service said "slow down"
    ├── CallTimeout                            no answer in time; .ambiguous: it may have taken effect
    ├── UnexpectedAnswer                       HTML, a cut connection, an answer of another shape
    │   └── AnswerTooLarge                     over the limit of InvokeRestApi
    ├── AirflowError                           Airflow's REST API refused; .status, .detail
    │   ├── RemoteNotFound
    │   │   ├── DagNotFound
    │   │   ├── DagRunNotFound
    │   │   └── TaskInstanceNotFound
    │   └── RemoteConflict
    │       └── DagRunAlreadyExists
    ├── CliError
    │   ├── CliCommandNotAllowed               MWAA does not let this command through
    │   └── CliCommandFailed                   the command ran and failed; .result
    ├── DagPaused
    ├── ValueMasked                            the environment hides the value that was asked for
    ├── ImportFailed                           an import ended half-way; .restored, .left
    ├── DagRunFailed                           a run that was waited for ended badly; .state, .failed_task_ids
    ├── TaskInstanceFailed                     a task that was waited for ended badly; .state, .task_ids
    ├── WaitTimeout                            the wait's deadline passed; the remote run goes on
    ├── MetadataError                          the metadata database; .sqlstate
    │   ├── NotAirflowMetadata                 the database is not Airflow's
    │   ├── DatabaseUnavailable                it could not be opened, went away, or lags behind
    │   ├── DatabaseRefused                    it refused a statement: permission, time, disk
    │   ├── CleanupUnderWay                    another cleanup has the database
    │   ├── ExportUnderWay                     another export writes to the same place
    │   └── CleanupFailed                      rows of some tables stayed that should have gone; .failures
    ├── StorageError                           S3 refused, or could not be reached; .code, .bucket, .key
    ├── AwsError                               another AWS service refused, or did not answer; .code
    │   └── MetricsNotSent                     CloudWatch did not take metrics; .sent, .doubtful, .unsent
    ├── ResolverUnavailable                    neither uv nor pip can be used, or the package index cannot be reached
    ├── SecretsUnavailable                     Secrets Manager or Parameter Store did not answer
    └── SecretsError                           Secrets Manager refused a call of a migration; .code, .secret

All are picklable: what they carry is in keyword fields with defaults. None ever carries a token or a secret.
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


# A remote's own words are part of many messages; they must neither break the line nor move a terminal's cursor.
_NOT_FOR_ONE_LINE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class MwaaError(Exception):
    """Root of every error that this package raises on purpose.

    :param message: one line: what was asked, what was answered, what to do.
    :param advice: the end of that line, where it names a parameter of the caller: ``Leave them out with {}.``
    :param parameter: that parameter, as DAGs spell it; :meth:`worded` spells it otherwise.
    :param env_name: the environment that was spoken to, where there is one.
    :param transient: the same call may well succeed later.
    :param ambiguous: the call may have taken effect although it failed.
    :param retry_after_s: seconds to wait before another attempt, where the remote named them.
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
        self.advice = advice
        self.parameter = parameter
        self.env_name = env_name
        self.transient = transient
        self.ambiguous = ambiguous
        self.retry_after_s = retry_after_s

    def worded(self, spelled: Callable[[str], str]) -> str:
        """Return the text of the error for a caller who spells parameters in another way than a DAG does.

        :param spelled: turns the name of a parameter into what that caller writes: ``--dry-run``.
        """
        said = str(self).removesuffix(self.advice.format(self.parameter))
        return said + self.advice.format(spelled(self.parameter))


class MwaaInputError(MwaaError, ValueError):
    """What the caller gave cannot be used; nothing was sent."""


class UnsendableCommand(MwaaInputError):
    """A CLI argument cannot arrive unchanged through the CLI endpoint."""


class UnsupportedByTransport(MwaaInputError):
    """The transport that was chosen cannot carry this call."""


class AccessDenied(MwaaError):
    """IAM, or Airflow's own permissions, refused the call.

    :param action: the IAM action to allow, such as ``airflow:CreateCliToken``; ``None`` when Airflow refused.
    :param status: the HTTP status that Airflow refused it with; ``None`` when AWS refused.
    """

    def __init__(
        self, message: str = "", *, action: str | None = None, status: int | None = None, **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.action = action
        self.status = status


class EnvironmentUnavailable(MwaaError):
    """The environment exists but cannot be used now.

    :param status: its status as GetEnvironment says it, where known.
    """

    def __init__(self, message: str = "", *, status: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status


class EnvironmentNotFound(EnvironmentUnavailable):
    """No environment of that name in this account and region."""


class WebServerUnreachable(EnvironmentUnavailable):
    """The environment's web server could not be reached over the network."""


class TokenExpired(MwaaError):
    """A token or web session was refused, and a renewed one too."""


class Throttled(MwaaError):
    """The service asked to slow down until the deadline had passed."""


class CallTimeout(MwaaError):
    """No answer within the call's time."""


class UnexpectedAnswer(MwaaError):
    """Something answered, but not in the form of the API: HTML, a cut connection, other JSON.

    :param status: HTTP status of the answer, where there was one.
    """

    def __init__(self, message: str = "", *, status: int | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.status = status


class AnswerTooLarge(UnexpectedAnswer):
    """The answer exceeds what InvokeRestApi carries (6 MB)."""


class AirflowError(MwaaError):
    """Airflow's REST API answered with an error.

    :param status: HTTP status that Airflow gave.
    :param detail: its own words, shortened, without the values that were sent.
    :param remote: the error of this package's plugin there, as :mod:`~airflow_mwaa_provider.error_documents` writes it.
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
    """The environment's Airflow has no such thing."""


class DagNotFound(RemoteNotFound):
    """The environment's Airflow has no such DAG, or the role may not see it."""


class DagRunNotFound(RemoteNotFound):
    """The DAG has no such run."""


class TaskInstanceNotFound(RemoteNotFound):
    """The run has no such task instance."""


class RemoteConflict(AirflowError):
    """Something of that name, or for that date, is already there."""


class DagRunAlreadyExists(RemoteConflict):
    """The DAG already has a run of that id, or for that logical date."""


class CliError(MwaaError):
    """A command sent to the environment's CLI endpoint did not succeed."""


class CliCommandNotAllowed(CliError):
    """MWAA does not let this command through its CLI endpoint."""


class CliCommandFailed(CliError):
    """The command ran and failed.

    :param result: what it printed, a :class:`~airflow_mwaa_provider.client.cli.endpoint.CliResult`.
    """

    def __init__(self, message: str = "", *, result: Any = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.result = result


class DagPaused(MwaaError):
    """The remote DAG is paused: a new run of it would stay queued."""


class ValueMasked(MwaaError):
    """The environment answers with a mask instead of the value."""


class ImportFailed(MwaaError):
    """An import of variables, connections or pools failed after its first write, or was stopped.

    :param restored: all is as it was before the import.
    :param left: keys of those that are not certain to be as before; empty when ``restored``.
    """

    def __init__(self, message: str = "", *, restored: bool = False, left: tuple[str, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.restored = restored
        self.left = left


class DagRunFailed(MwaaError):
    """A remote run that was waited for ended in a state that counts as failed.

    :param state: the state it ended in.
    :param failed_task_ids: tasks of it that failed, map index in brackets: ``load[3]``.
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

    :param task_ids: those tasks, map index in brackets: ``load[3]``.
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
    """A wait ended by its own deadline; what it waited for goes on."""


class TableNotFound(MwaaInputError):
    """The metadata database of this version has no such table, or the table no such column.

    :param table: the name that was asked for.
    """

    def __init__(self, message: str = "", *, table: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.table = table


class UnsupportedColumn(MwaaInputError):
    """A column has a type that the chosen file format cannot hold; no format is left that has such a type."""


class NoMetadataRoute(MwaaInputError):
    """No way to the metadata can be used from here; the message says of each why not."""


class MetadataError(MwaaError):
    """The metadata database could not do what was asked.

    :param sqlstate: PostgreSQL's five-character code, where there was one.
    """

    def __init__(self, message: str = "", *, sqlstate: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.sqlstate = sqlstate


class NotAirflowMetadata(MetadataError):
    """The database has no Airflow schema."""


class DatabaseUnavailable(MetadataError):
    """The metadata database could not be opened, the connection was lost, or it is a standby that lags behind."""


class DatabaseRefused(MetadataError):
    """The metadata database refused a statement: no permission, too long, a full disk."""


class CleanupUnderWay(MetadataError):
    """Another cleanup of the same metadata database is under way."""


class ExportUnderWay(MetadataError):
    """Another export writes to the same place."""


class CleanupFailed(MetadataError):
    """Rows that a cleanup should have deleted are still there, because something went wrong.

    :param failures: by table, what.
    """

    def __init__(self, message: str = "", *, failures: dict[str, str] | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.failures = failures or {}


class StorageError(MwaaError):
    """S3 refused a call, or could not be reached.

    :param code: S3's own code, such as ``NoSuchBucket``.
    :param bucket: the bucket.
    :param key: the object, where one was meant.
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
    """An AWS service did not answer, or refused a call for another reason than lacking permission.

    :param code: the service's own code; boto3's name of the failure where there was no answer.
    """

    def __init__(self, message: str = "", *, code: str | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.code = code


class MetricsNotSent(AwsError):
    """CloudWatch did not take metrics; ``__cause__`` is why.

    :param sent: how many were sent.
    :param doubtful: those that CloudWatch may have taken or not.
    :param unsent: those that it has not taken.
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

    :param fix: what to do, as the message's end says it.
    """

    def __init__(self, message: str = "", *, fix: str = "", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.fix = fix

    @property
    def what(self) -> str:
        """The message without what to do."""
        return str(self).removesuffix(self.fix).rstrip()


class SecretsUnavailable(MwaaError):
    """Secrets Manager or Parameter Store did not answer, and the cache has nothing to answer with."""


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
    """Connections or variables cannot be moved, or a secret is there and holds something else; nothing was written.

    :param keys: theirs.
    """

    def __init__(self, message: str = "", *, keys: tuple[str, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.keys = keys


class PluginsRefused(MwaaInputError):
    """What was put together for a plugins.zip has errors, and was not written.

    :param problems: all that was found, errors first: each says where, what and what to do.
    """

    def __init__(self, message: str = "", *, problems: tuple[Any, ...] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.problems = problems
