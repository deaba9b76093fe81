"""Recorded traffic: when requests came and how long prompts and answers were, without their texts.

Read are JSON lines as Mooncake's traces have them (``timestamp`` in milliseconds, ``input_length``, ``output_length``)
and CSV as Azure's LLM inference traces (``TIMESTAMP``, ``ContextTokens``, ``GeneratedTokens``) and BurstGPT have them
(``Timestamp`` in seconds, ``Request tokens``, ``Response tokens``).
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ...errors import UsageError

_COLUMNS = {
    "at": ("timestamp", "Timestamp", "TIMESTAMP"),
    "prompt_tokens": ("input_length", "ContextTokens", "Request tokens"),
    "output_tokens": ("output_length", "GeneratedTokens", "Response tokens"),
}
_MOST_TOKENS = 2**24


@dataclass(frozen=True, slots=True)
class Arrival:
    """One recorded request.

    Attributes:
        at_s: when it came, on the trace's own clock.
        prompt_tokens: length of its prompt.
        output_tokens: length of its answer.
    """

    at_s: float
    prompt_tokens: int
    output_tokens: int


def read_trace(path: Path) -> list[Arrival]:
    """Return the requests of a trace in the order in which they came; those without an answer are left out.

    Raises:
        UsageError: the file cannot be read, or a line is no request; names file, line and column.
    """
    path = path.expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _csv_rows(file) if path.suffix.lower() == ".csv" else _json_rows(path, file)
            arrivals = [_arrival(path, line, row) for line, row in rows]
    except OSError as error:
        raise UsageError(f"cannot read the trace {path}: {error.strerror}", code="file-unreadable") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})", code="file-unreadable") from error
    except csv.Error as error:
        raise UsageError(f"{path}: not CSV: {error}", code="file-unreadable") from error
    found = sorted((one for one in arrivals if one.output_tokens), key=lambda one: one.at_s)
    if not found:
        raise UsageError(
            f"{path}: no request in it; a trace has columns such as {', '.join(_names())}", code="file-unreadable"
        )
    return found


def digest_of_trace(path: Path) -> str:
    """Return 16 hexadecimal digits that stand for a trace's content.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with path.expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"cannot read the trace {path}: {error.strerror}", code="file-unreadable") from error


def _names() -> list[str]:
    return [names[0] for names in _COLUMNS.values()]


def _csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(lines)
    for row in rows:
        yield rows.line_num, row


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not JSON: {error}", code="file-unreadable") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: no JSON object", code="file-unreadable")
        yield number, row


def _arrival(path: Path, line: int, row: Mapping[str, Any]) -> Arrival:
    column, value = _value(path, line, row, "at")
    scale = 1e-3 if column == "timestamp" else 1.0
    try:
        at_s = math.nan if isinstance(value, bool) else float(value) * scale
    except (TypeError, ValueError, OverflowError):
        at_s = _moment(path, line, column, value)
    if not math.isfinite(at_s):
        raise UsageError(f"{path}:{line}: {column} = {value!r} is not a time", code="file-unreadable")
    return Arrival(at_s, _count(path, line, row, "prompt_tokens", 1), _count(path, line, row, "output_tokens", 0))


def _value(path: Path, line: int, row: Mapping[str, Any], name: str) -> tuple[str, Any]:
    column = next((column for column in _COLUMNS[name] if row.get(column) not in (None, "")), None)
    if column is None:
        raise UsageError(f"{path}:{line}: none of the columns {', '.join(_COLUMNS[name])}", code="file-unreadable")
    return column, row[column]


def _count(path: Path, line: int, row: Mapping[str, Any], name: str, least: int) -> int:
    column, value = _value(path, line, row, name)
    count = _whole(value)
    if not least <= count <= _MOST_TOKENS:
        raise UsageError(
            f"{path}:{line}: {column} = {value!r} is not a number of tokens from {least} to {_MOST_TOKENS}",
            code="file-unreadable",
        )
    return count


def _whole(value: object) -> int:
    """Return a whole number, however it is written (12, "12", 12.0), alike in JSON and CSV; -1 for anything else."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return -1
    return int(number) if number.is_integer() else -1


def _moment(path: Path, line: int, column: str, value: object) -> float:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path}:{line}: {column} = {value!r} is not a time", code="file-unreadable") from error
