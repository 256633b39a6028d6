# SPDX-License-Identifier: Apache-2.0
"""Read the rows of one file of an export in batches, only the requested columns, as Python's own values."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_mwaa_provider.exceptions import MwaaInputError, StorageError
from airflow_mwaa_provider.metadata.export.formats import Compression, FileFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Batch", "file_batches"]

Batch: TypeAlias = "list[Sequence[Any]]"
"""The values of each column, all of the same length."""

BATCH_ROWS = 4096
_FIELD_BYTES = 1 << 30
"""PostgreSQL's limit for a value; by default Python's csv module rejects values over 128 KiB."""
_BUFFER_BYTES = 1 << 20
_WHOLE_BYTES = 4 << 20
"""A Parquet file up to this size is fetched at once, which is faster than fetching its columns one by one."""
_MIN_MICROSECONDS = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_MAX_MICROSECONDS = 253_402_300_799_999_999
"""The values that represent -infinity and infinity in Parquet."""
_INTEGERS = {"int2", "int4", "int8", "oid"}
_FLOATS = {"float4", "float8"}


def file_batches(
    raw: io.RawIOBase,
    label: str,
    form: FileFormat,
    compression: Compression,
    columns: Sequence[tuple[str, str] | None],
    *,
    size: int,
) -> Iterator[Batch]:
    """Read a file.

    Times are returned as seconds since 1970, numbers as numbers, booleans as ``bool``, everything else as strings. NULL
    is ``None``; so is an empty string, which Python's csv module does not distinguish, and an infinite time.

    :param raw: the file, which is closed at the end.
    :param label: its name in errors.
    :param size: of the file, in bytes.
    :param columns: names and PostgreSQL's types; for ``None``, each row has ``None``.
    :raises StorageError: the file does not have the expected format.
    """
    with raw, io.BufferedReader(raw, _BUFFER_BYTES) as file, _damage(label):
        if form is FileFormat.PARQUET:
            yield from _parquet_batches(file, columns, size)
        else:
            with io.TextIOWrapper(_plain(file, compression), encoding="utf-8", newline="") as text:
                yield from _csv_batches(text, columns)


def _plain(file: io.BufferedReader[Any], compression: Compression) -> Any:
    if compression is Compression.GZIP:
        return gzip.GzipFile(fileobj=file, mode="rb")
    if compression is Compression.ZSTD:
        arrow = _pyarrow("zstd")
        return arrow.CompressedInputStream(arrow.PythonFile(file, mode="r"), "zstd")
    return file


def _csv_batches(text: io.TextIOWrapper, columns: Sequence[tuple[str, str] | None]) -> Iterator[Batch]:
    if csv.field_size_limit() < _FIELD_BYTES:
        csv.field_size_limit(_FIELD_BYTES)
    rows = csv.reader(text, strict=True)
    header = next(rows, None)
    if header is None:
        raise ValueError("it has no header line")
    wanted = [column for column in columns if column is not None]
    places = [header.index(name) for name, _ in wanted]
    read = [_csv_reader(kind) for _, kind in wanted]
    last = len(header) - 1
    # One more than requested: itemgetter returns no tuple for a single one, and a truncated row has no last value.
    pick = itemgetter(*places, last, last)
    while True:
        # An empty line is a row with one column that is NULL.
        picked = [pick(row or [""]) for row in islice(rows, BATCH_ROWS)]
        if not picked:
            return
        values = iter(
            [list(map(convert, column)) for convert, column in zip(read, zip(*picked, strict=True), strict=False)]
        )
        nothing = [None] * len(picked)
        yield [next(values) if column is not None else nothing for column in columns]


def _csv_reader(kind: str) -> Callable[[str], Any]:
    if kind == "timestamptz":
        return _moment
    if kind == "timestamp":
        return _moment_without_zone
    if kind in _INTEGERS:
        return lambda text: int(text) if text else None
    if kind in _FLOATS:
        return lambda text: float(text) if text else None
    if kind == "bool":
        return {"true": True, "false": False}.get
    return lambda text: text or None


def _moment(text: str) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # infinity, and years BC
        return None


def _moment_without_zone(text: str) -> float | None:
    return _moment(text and f"{text}+00")


def _parquet_batches(
    file: io.BufferedReader[Any], columns: Sequence[tuple[str, str] | None], size: int
) -> Iterator[Batch]:
    arrow = _pyarrow("Parquet")
    import pyarrow.parquet

    wanted = [column for column in columns if column is not None]
    source = arrow.BufferReader(file.read()) if size <= _WHOLE_BYTES else arrow.PythonFile(file, mode="r")
    with pyarrow.parquet.ParquetFile(source) as parquet:
        names = [name for name, _ in wanted]
        if missing := set(names) - set(parquet.schema_arrow.names):
            raise ValueError(f"it has no column {', '.join(sorted(missing))}")
        for batch in parquet.iter_batches(BATCH_ROWS * 4, columns=names, use_threads=False):
            values = iter([_values(arrow, batch.column(name)) for name in names])
            nothing = [None] * batch.num_rows
            yield [next(values) if column is not None else nothing for column in columns]


def _values(arrow: Any, column: Any) -> list[Any]:
    if arrow.types.is_timestamp(column.type):
        return [
            None if micros is None or not _MIN_MICROSECONDS < micros < _MAX_MICROSECONDS else micros / 1e6
            for micros in column.cast(arrow.timestamp("us", tz=column.type.tz)).cast(arrow.int64()).to_pylist()
        ]
    values: list[Any] = column.to_pylist()
    if arrow.types.is_string(column.type):
        return [value or None for value in values]
    written = _written_as(arrow, column.type)
    return values if written is None else [None if value is None else written(value) for value in values]


def _written_as(arrow: Any, kind: Any) -> Callable[[Any], str] | None:
    """Return a function that writes a value as PostgreSQL and CSV do; ``None`` for numbers and booleans."""
    if arrow.types.is_binary(kind):
        return lambda value: f"\\x{value.hex()}"
    if arrow.types.is_date(kind):
        return lambda value: str(value.isoformat())
    if arrow.types.is_time(kind):
        return lambda value: f"{value:%H:%M:%S.%f}".rstrip("0").rstrip(".")
    return None


def _pyarrow(what: str) -> Any:
    import importlib.util

    if importlib.util.find_spec("pyarrow") is None:
        raise MwaaInputError(
            f"This export is {what}, which only pyarrow reads. Install pyarrow, or export CSV with compression none or "
            "gzip."
        )
    import pyarrow

    return pyarrow


@contextmanager
def _damage(label: str) -> Iterator[None]:
    # pyarrow's errors are ValueErrors and OSErrors.
    try:
        yield
    except (csv.Error, zlib.error, EOFError, IndexError, KeyError, OSError, ValueError) as error:
        if isinstance(error, MwaaInputError):
            raise
        words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise StorageError(f"{label} is damaged: {words[:200]}. Copy it again, or export again.") from error
