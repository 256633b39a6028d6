# SPDX-License-Identifier: Apache-2.0
"""The bases of the operators that import and export variables, connections and pools."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_mwaa_provider.client.parameters import check_duration
from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.operators.base import MwaaEnvironmentOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mwaa_provider._compat import Context
    from airflow_mwaa_provider.client.stored.kinds import StoredKind

__all__ = ["HiddenContent", "MwaaExportOperator", "MwaaImportOperator", "MwaaStoredObjectsOperator"]

ON_CONFLICT = ("overwrite", "skip", "fail")


class HiddenContent:
    """A dict in a templated field that Airflow renders, but shows neither in its UI nor in the stored DAG.

    Each value is an attribute, at any depth, because if rendering fails, Airflow logs the field that it was rendering.
    That must not be the whole dict.
    """

    def __init__(self, content: Mapping[Any, Any]) -> None:
        self._names = {f"item_{number}": key for number, key in enumerate(content)}
        for name, key in self._names.items():
            value = content[key]
            setattr(self, name, HiddenContent(value) if isinstance(value, dict) else value)

    def __repr__(self) -> str:
        return "<given in the DAG, not shown>"

    @property
    def template_fields(self) -> Sequence[str]:
        """The attributes that Airflow renders."""
        return tuple(self._names)

    @property
    def content(self) -> dict[Any, Any]:
        """The dict, with rendered values."""
        values = {key: getattr(self, name) for name, key in self._names.items()}
        return {key: value.content if isinstance(value, HiddenContent) else value for key, value in values.items()}


class MwaaStoredObjectsOperator(MwaaEnvironmentOperator):
    """Base of the operators below: how they reach an environment, and S3.

    Also takes the parameters of :class:`~airflow_mwaa_provider.operators.base.MwaaEnvironmentOperator`. With
    ``transport="cli"``, variables are read and written by a command each, and connections and pools not at all.

    :param env_name: name of the environment (templated).
    :param s3_conn_id: connection for ``s3://`` addresses (templated). ``None`` uses ``aws_conn_id``.
    """

    nouns: ClassVar[str]
    template_fields: Sequence[str] = (*MwaaEnvironmentOperator.template_fields, "env_name", "s3_conn_id")
    text_fields: ClassVar[Collection[str]] = (*MwaaEnvironmentOperator.text_fields, "env_name", "s3_conn_id")

    def __init__(
        self,
        *,
        env_name: str,
        s3_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.env_name = env_name
        self.s3_conn_id = s3_conn_id

    def _s3(self) -> Any:
        settings = self.hook_settings
        if self.s3_conn_id is not None:
            settings = replace(settings, aws_conn_id=self.s3_conn_id, region_name=None)
        return settings.aws_client("s3")

    def _kind(self) -> StoredKind[Any]:
        # Imported here, because it imports requests, which parsing a DAG file must not load.
        from airflow_mwaa_provider.client.stored.kinds import KINDS

        return KINDS[self.nouns](self.hook_settings.environment(self.env_name))


class MwaaImportOperator(MwaaStoredObjectsOperator):
    """Import a file of variables, connections or pools into an MWAA environment; base of the operators that do.

    *All or nothing.* The file is checked as a whole before anything is written. Then the existing content is read, and
    the new content is written, read back and compared. If anything fails, or the task is killed, the previous content
    is restored, and :class:`~airflow_mwaa_provider.exceptions.ImportFailed` reports whether that succeeded. Only the
    end of the worker itself leaves an import incomplete. A retry completes it. Importing the same file again changes
    nothing.

    Values appear neither in the log, nor in XCom, nor in an error, and a dict in the DAG is not shown in the UI.

    :param on_conflict: what to do with what exists and differs: ``"overwrite"``, ``"skip"``, or ``"fail"`` before
        anything is written.
    :param dry_run: write nothing, and return what would happen.
    :param overwrite_hidden: also overwrite what Airflow hides, although a failed import cannot restore it: masked
        variables, passwords of connections.
    :param restore_timeout: a ``timedelta``; stop restoring after this time.
    :return: ``{"created": [...], "changed": [...], "same": [...], "skipped": [...], "dry_run": …}``, with keys only.
    """

    def __init__(
        self,
        *,
        on_conflict: str = "overwrite",
        dry_run: bool = False,
        overwrite_hidden: bool = False,
        restore_timeout: timedelta = timedelta(minutes=5),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.on_conflict = on_conflict
        # Not named dry_run, which is a method of every operator.
        self.is_dry_run = dry_run
        self.overwrite_hidden = overwrite_hidden
        self.restore_timeout = restore_timeout
        self._stop: threading.Event | None = None
        if on_conflict not in ON_CONFLICT:
            known = ", ".join(map(repr, ON_CONFLICT))
            raise MwaaInputError(f"on_conflict={on_conflict!r} must be one of {known}.")
        check_duration(restore_timeout, "restore_timeout")

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Import the file or dict.

        :raises MwaaInputError: the file cannot be used. Nothing was written.
        :raises ValueMasked: existing content could not be restored. Nothing was written.
        :raises RemoteConflict: something differs, with ``on_conflict="fail"``. Nothing was written.
        :raises ImportFailed: writing failed; ``.restored`` is whether everything is as before.
        """
        from airflow_mwaa_provider.client.transactional_import import import_stored

        self.read_rendered(required=("env_name", self.nouns))
        kind = self._kind()
        wanted = kind.parse(self._document())
        self._stop = threading.Event()
        result = import_stored(
            kind,
            wanted,
            on_conflict=self.on_conflict,
            dry_run=self.is_dry_run,
            overwrite_hidden=self.overwrite_hidden,
            stop=self._stop,
            restore_timeout_s=self.restore_timeout.total_seconds(),
        )
        self.log.info(
            "Environment %r: %s%d %s created, %d changed, %d the same, %d skipped",
            self.env_name,
            "would have " if result.dry_run else "",
            len(result.created),
            self.nouns,
            len(result.changed),
            len(result.same),
            len(result.skipped),
        )
        return result.as_dict()

    def on_kill(self) -> None:
        """End the import as if it had failed: the previous content is restored."""
        if self._stop is not None:
            self._stop.set()

    def _document(self) -> dict[str, Any]:
        from airflow_mwaa_provider.client.stored.documents import MAX_DOCUMENT_BYTES, read_document

        source = getattr(self, self.nouns)
        if isinstance(source, HiddenContent):
            source = source.content
        if isinstance(source, Mapping):
            return read_document(source, self.nouns)
        if not isinstance(source, str) or not source:
            raise MwaaInputError(
                f"{self.nouns} is {'empty' if source == '' else f'a {type(source).__name__}'}. Give a dict, the path "
                "of a JSON file, or s3://BUCKET/KEY."
            )
        from airflow_mwaa_provider.client.stored.files import read_file

        content = read_file(source, self._s3, max_bytes=MAX_DOCUMENT_BYTES)
        return read_document(content, self.nouns, source)


class MwaaExportOperator(MwaaStoredObjectsOperator):
    """Export the variables, connections or pools of an MWAA environment to a file; base of the operators that do.

    The file has the format of Airflow's own export, as JSON, which the operators that import accept. It is written as a
    whole or not at all, and on disk with mode 0600.

    :param destination: path of the file, or ``s3://bucket/key`` (templated). An existing file is replaced.
    :param leave_out_hidden: omit what Airflow masks, instead of failing.
    :return: ``{"destination": …, "exported": [...], "left_out": [...]}``, with keys only.
    """

    template_fields: Sequence[str] = (*MwaaStoredObjectsOperator.template_fields, "destination")
    text_fields = (*MwaaStoredObjectsOperator.text_fields, "destination")

    def __init__(self, *, destination: str, leave_out_hidden: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.leave_out_hidden = leave_out_hidden

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Export to the file.

        :raises ValueMasked: Airflow masks something; names it.
        """
        from airflow_mwaa_provider.client.stored.files import write_file
        from airflow_mwaa_provider.client.transactional_import import export_stored

        self.read_rendered(required=("env_name", "destination"))
        if not self.destination:
            raise MwaaInputError("destination is empty. Give a path, or s3://BUCKET/KEY.")
        document, left_out = export_stored(self._kind(), leave_out_hidden=self.leave_out_hidden)
        text = json.dumps(document, indent=4, sort_keys=True) + "\n"
        write_file(self.destination, text.encode(), self._s3)
        self.log.info("Environment %r: %d %s to %s", self.env_name, len(document), self.nouns, self.destination)
        if left_out:
            self.log.warning("Omitted, because Airflow masks them: %s", ", ".join(left_out))
        return {"destination": self.destination, "exported": sorted(document), "left_out": left_out}
