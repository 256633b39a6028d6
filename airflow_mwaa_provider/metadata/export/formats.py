# SPDX-License-Identifier: Apache-2.0
"""Rows as files: CSV as PostgreSQL writes it, and Parquet with the columns' own types.

Both are made from the same stream, the output of ``COPY ... TO STDOUT (FORMAT csv)``: one row per line, NULL as nothing
at all, an empty string as ``""``.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mwaa_provider.exceptions import MwaaInputError
from airflow_mwaa_provider.metadata.catalog.schema import text_literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mwaa_provider.metadata.catalog.schema import Column
    from airflow_mwaa_provider.metadata.catalog.selection import TableRows

__all__ = ["Compression", "Encoder", "FileFormat", "check_format", "file_suffix", "make_encoder", "value_writer"]

GZIP_LEVEL = 4
"""A tenth larger than with gzip's default, 6, and twice as fast."""
ZSTD_LEVEL = 1
ROW_GROUP_BYTES = 8 << 20
"""Size of the CSV text of a row group: some 25,000 task instances. It limits the memory that Parquet needs."""

_MOMENTS = ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")
_BOUNDS = {
    "timestamp": _MOMENTS,
    "timestamptz": tuple(f"{moment}+00" for moment in _MOMENTS),
    "date": ("0001-01-01", "9999-12-31"),
    "time": ("00:00:00", "23:59:59.999999"),
}
"""The smallest and largest values that Parquet's readers support; PostgreSQL has infinity, later years, and 24:00."""

_ARROW = {
    "bool": "bool",
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "oid": "int64",
    "float4": "float32",
    "float8": "float64",
    "date": "date32[day]",
    "time": "time64[us]",
    "timestamp": "timestamp[us]",
    "timestamptz": "timestamp[us, tz=UTC]",
    "bytea": "binary",
}
_WRITTEN = {"A", "C", "E", "R"}
"""Arrays, rows, enums and ranges, whose name may be that of a type that Parquet has."""


class FileFormat(StrEnum):
    """The format of an export's files."""

    CSV = "csv"
    PARQUET = "parquet"


class Compression(StrEnum):
    """How they are compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    SNAPPY = "snappy"


class Encoder(Protocol):
    """Turns rows into the bytes of one file, and writes them as they come."""

    def write(self, rows: bytes) -> None:
        """Write complete rows, given as CSV."""

    def close(self) -> None:
        """Write the rest, and the end of the file."""


def check_format(file_format: str, compression: str | None) -> tuple[FileFormat, Compression]:
    """Check both, and that the packages that they need are installed.

    :param compression: ``None`` for the default: none for CSV, zstd for Parquet.
    :raises MwaaInputError: one is unknown, they do not fit together, or pyarrow is missing.
    """
    form, chosen = read_format(file_format, compression)
    if form is FileFormat.PARQUET or chosen is Compression.ZSTD:
        _pyarrow(f"{'Parquet' if form is FileFormat.PARQUET else 'zstd'} needs pyarrow")
    return form, chosen


def read_format(file_format: str, compression: str | None) -> tuple[FileFormat, Compression]:
    """Check both names without importing anything.

    :raises MwaaInputError: one is unknown, or they do not fit together.
    """
    try:
        form = FileFormat(file_format)
    except ValueError:
        raise MwaaInputError(f"file_format={file_format!r} is unknown; there are csv and parquet.") from None
    allowed = [Compression.NONE, Compression.GZIP, Compression.ZSTD]
    if form is FileFormat.PARQUET:
        allowed.append(Compression.SNAPPY)
    try:
        chosen = Compression(compression or ("zstd" if form is FileFormat.PARQUET else "none"))
    except ValueError:
        chosen = None
    if chosen not in allowed:
        raise MwaaInputError(
            f"compression={compression!r} is unknown for {form.value}; there are "
            f"{', '.join(item.value for item in allowed)}."
        )
    return form, chosen


FILE_SUFFIXES = (".csv", ".csv.gz", ".csv.zst", ".parquet")
"""All suffixes that :func:`file_suffix` can return."""


def file_suffix(form: FileFormat, compression: Compression) -> str:
    """Return the suffix of a file's name, by which readers recognize its format: ``.csv.gz``, ``.parquet``."""
    if form is FileFormat.PARQUET:
        return ".parquet"
    return ".csv" + {Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}.get(compression, "")


def value_writer(form: FileFormat) -> Callable[[str, Column], str]:
    """Return a function that writes a column's value in a query so that readers of the format understand it."""
    return _parquet_value if form is FileFormat.PARQUET else _csv_value


def make_encoder(
    form: FileFormat, compression: Compression, rows: TableRows, write: Callable[[bytes], None]
) -> Encoder:
    """Return a writer of one file.

    :param write: called with its bytes, in pieces of any size.
    """
    if form is FileFormat.PARQUET:
        return _ParquetEncoder(rows, compression, write)
    return _CsvEncoder(rows.column_names, compression, write)


class _CsvEncoder:
    """CSV with a header line."""

    def __init__(self, names: list[str], compression: Compression, write: Callable[[bytes], None]) -> None:
        self._out = _compressor(compression, write)
        self._out.write((",".join(map(_csv_name, names)) + "\n").encode())

    def write(self, rows: bytes) -> None:
        self._out.write(rows)

    def close(self) -> None:
        self._out.close()


class _Plain:
    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.write = write

    def close(self) -> None:
        return


class _Gzip:
    """One gzip member without a timestamp, so that equal rows make equal files."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31, 9)

    def write(self, rows: bytes) -> None:
        self._write(self._gzip.compress(rows))

    def close(self) -> None:
        self._write(self._gzip.flush())


class _Zstd:
    """One zstd frame: several would be valid too, but pandas reads only the first."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        arrow = _pyarrow("zstd needs pyarrow")
        self._sink = arrow.PythonFile(_Sink(write), mode="w")
        self._zstd = arrow.CompressedOutputStream(self._sink, "zstd")

    def write(self, rows: bytes) -> None:
        self._zstd.write(rows)

    def close(self) -> None:
        self._zstd.close()


def _compressor(compression: Compression, write: Callable[[bytes], None]) -> Any:
    return {Compression.GZIP: _Gzip, Compression.ZSTD: _Zstd}.get(compression, _Plain)(write)


class _Sink:
    """The part of a binary file's interface that pyarrow needs for writing."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        # pyarrow may pass a view of memory that it reuses.
        taken = bytes(data)
        self._write(taken)
        self._at += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        return

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class _ParquetEncoder:
    """Parquet, with a row group for each :data:`ROW_GROUP_BYTES` of CSV."""

    def __init__(self, rows: TableRows, compression: Compression, write: Callable[[bytes], None]) -> None:
        arrow = _pyarrow("Parquet needs pyarrow")
        import pyarrow.csv
        import pyarrow.parquet

        self._arrow, self._csv = arrow, pyarrow.csv
        fields = [arrow.field(column.name, _type(arrow, _arrow_type(column)), nullable=True) for column in rows.columns]
        self._schema = arrow.schema(fields)
        self._binary = [column.name for column in rows.columns if column.type == "bytea"]
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._writer = pyarrow.parquet.ParquetWriter(
            arrow.PythonFile(_Sink(write), mode="w"),
            self._schema,
            compression=compression.value,
            compression_level=ZSTD_LEVEL if compression is Compression.ZSTD else None,
            write_statistics=True,
        )
        # Parsed as strings if arrow's own reader does not support the format: \x... for binary.
        parsed = {name: arrow.string() for name in self._binary}
        self._convert = pyarrow.csv.ConvertOptions(
            column_types={field.name: parsed.get(field.name, field.type) for field in self._schema},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t", "true"],
            false_values=["f", "false"],
        )
        self._parse = pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)

    def write(self, rows: bytes) -> None:
        self._waiting.append(rows)
        self._waiting_bytes += len(rows)
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> None:
        if self._waiting:
            self._write_row_group()
        self._writer.close()

    def _write_row_group(self) -> None:
        tables = []
        while self._waiting:
            tables.append(self._table(self._waiting.pop(0)))
        self._waiting_bytes = 0
        table = self._arrow.concat_tables(tables)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def _table(self, rows: bytes) -> Any:
        # One block, because a row may be longer than any size set here.
        read = self._csv.ReadOptions(column_names=self._schema.names, block_size=min(len(rows) + 1, (1 << 31) - 1))
        table = self._csv.read_csv(self._arrow.BufferReader(rows), read, self._parse, self._convert)
        for name in self._binary:
            place = table.schema.get_field_index(name)
            table = table.set_column(place, self._schema.field(name), self._unhexed(table.column(name)))
        return table

    def _unhexed(self, column: Any) -> Any:
        r"""Read ``\x4f`` as bytes; each distinct value once, because executor_config is mostly the same."""
        arrow = self._arrow
        encoded = column.combine_chunks().dictionary_encode()
        if isinstance(encoded, arrow.ChunkedArray):
            encoded = encoded.combine_chunks()
        values = [bytes.fromhex(text[2:]) for text in encoded.dictionary.to_pylist()]
        return arrow.array(values, arrow.binary()).take(encoded.indices)


def _csv_value(written: str, column: Column) -> str:
    # Every reader understands "true", few understand "t".
    return f"{written}::text" if column.type == "bool" else written


def _parquet_value(written: str, column: Column) -> str:
    if column.type in _BOUNDS:
        least, greatest = (f"{text_literal(bound)}::{column.type}" for bound in _BOUNDS[column.type])
        return (
            f"CASE WHEN {written} > {greatest} THEN {greatest} WHEN {written} < {least} THEN {least} ELSE {written} END"
        )
    return written


def _arrow_type(column: Column) -> str:
    # A type that Parquet does not have is written as PostgreSQL writes it.
    return "string" if column.category in _WRITTEN else _ARROW.get(column.type, "string")


def _type(arrow: Any, name: str) -> Any:
    if name == "timestamp[us, tz=UTC]":
        return arrow.timestamp("us", tz="UTC")
    return arrow.type_for_alias(name)


def _csv_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n\r') else name


def _pyarrow(need: str) -> Any:
    import importlib.util

    if importlib.util.find_spec("pyarrow") is None:
        raise MwaaInputError(
            f"{need}, which no MWAA image has. Add airflow-mwaa-provider[parquet] to requirements.txt, or use "
            "file_format='csv' with compression gzip."
        )
    import pyarrow

    return pyarrow
