"""Problems out of a file: JSON lines, Parquet or CSV, each row a mapping of columns."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ... import UsageError

Row = Mapping[str, Any]

SUFFIXES = (".jsonl", ".parquet", ".csv")
_DIGITS = 8
_KEPT_FILES = 8


def read_rows(path: Path, columns: Sequence[str]) -> tuple[Row, ...]:
    """Return every row of a file with the columns that are needed.

    Args:
        path: of a kind in ``SUFFIXES``.
        columns: each row must have them.

    Raises:
        UsageError: the file cannot be read, is damaged or lacks a column; names file, line and column.
    """
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", code="file-unreadable") from error
    rows = _read(path, changed_ns)
    if not rows:
        raise UsageError(f"{path}: no row", code="file-unreadable")
    for line, row in enumerate(rows, start=1):
        for column in columns:
            if row.get(column) is None:
                known = ", ".join(row) or "none"
                raise UsageError(f"{path}:{line}: no column {column!r}; this row has: {known}", code="file-unreadable")
    return rows


@lru_cache(maxsize=_KEPT_FILES)  # a task is made several times while a plan is read
def _read(path: Path, changed_ns: int) -> tuple[Row, ...]:
    reader = {".jsonl": _json_lines, ".json": _json_lines, ".parquet": _parquet, ".csv": _csv}.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path}: cannot tell what is in it from its name; it must end in {', '.join(SUFFIXES)}",
            code="wrong-suffix",
        )
    try:
        return tuple(reader(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", code="file-unreadable") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})", code="file-unreadable") from error


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                raise UsageError(f"{path}:{number}: an empty line", code="file-unreadable")
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: not JSON ({error})", code="file-unreadable") from error
            if not isinstance(row, dict):
                raise UsageError(f"{path}:{number}: not a JSON object", code="file-unreadable")
            yield row


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            for row in csv.DictReader(file, strict=True):
                yield {name: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise UsageError(f"{path}: not a CSV table ({error})", code="file-unreadable") from error


def _parquet(path: Path) -> Iterator[Row]:
    import duckdb

    try:
        with duckdb.connect() as connection:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            names = [column[0] for column in found.description or ()]
            yield from (dict(zip(names, values, strict=True)) for values in found.fetchall())
    except duckdb.Error as error:
        raise UsageError(
            f"{path}: not a Parquet file ({str(error).splitlines()[0]})", code="file-unreadable"
        ) from error


def digest(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return a short hash of the given columns of all rows: the same however the file is written."""
    content = hashlib.sha256()
    for row in rows:
        content.update(json.dumps([row.get(column) for column in columns], sort_keys=True, default=str).encode())
    return content.hexdigest()[:_DIGITS]


def listed(row: Row, column: str) -> list[str]:
    """Return a column that holds several texts; in a CSV file they are a JSON list.

    Raises:
        ValueError: it holds none.
    """
    value = json.loads(row[column]) if isinstance(row[column], str) else row[column]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"column {column!r} is not a list")
    return [str(part) for part in value]
