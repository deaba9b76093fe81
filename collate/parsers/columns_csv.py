"""Any CSV, read with the help of a line that says what its columns are.

::

    # decodebench-columns: {"backend": "engine", "decode_tokens_per_s": "tok/s", "decode_tokens": "tokens"}
    engine,tok/s,tokens
    llama.cpp,54.2,128

Left is a target, right a column of the file, or ``=`` and what all rows have, as in ``"decode_tokens": "=128"``.
``collate --import --columns`` writes the line in front of its copy; it may also stand in the file itself. A row is a
sample; rows that agree in every target of a run are one run. A target in seconds may be given in milliseconds
(``ttft_ms`` for ``ttft_s``), an option as ``option.NAME``.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import JsonValue, ValidationError

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.errors import UsageError, unknown_name
from ...core.records.raw_log import RawLogError
from ...core.records.schema import Environment, Run, Sample, Totals
from ...core.sdk.logs.runs import UNKNOWN, digest_of
from ...core.sdk.logs.tables import table_lines, told, with_points
from ...core.sdk.logs.text import head_text, malformed, read_printed
from .columns import (
    CONSTANT,
    INSTEAD,
    OF_TOTALS,
    OPTION,
    RATES,
    TIMES_OF_TOTALS,
    Columns,
    check_columns,
    field_of,
    in_seconds,
    is_of_run,
    part_of,
    seconds_of,
)

_MARK = "# decodebench-columns:"

_STATUS = {
    **dict.fromkeys(("ok", "pass", "passed", "success", "successful", "true", "done"), "ok"),
    **dict.fromkeys(("failed", "fail", "failure", "error", "false", "oom"), "failed"),
}
"""How tables say whether a row was measured."""

R = TypeVar("R", Run, Sample, Totals)


def with_columns(path: Path, columns: Columns) -> bytes:
    """Return a CSV with the line in front, once it can be read with it.

    Raises:
        RawLogError: a column is not in the file, a cell is of the wrong kind, or it says itself what its columns are.
        OSError: it cannot be read.
    """
    text, _ = read_printed(path)
    if text.startswith(_MARK):
        raise RawLogError("the file says itself what its columns are; import it without --columns")
    list(_read(path, text, columns, first_line=1))
    return f"{_MARK} {json.dumps(dict(sorted(columns.items())), ensure_ascii=False)}\n{text}".encode()


class ColumnsCsv(LogParser):
    """Reads a run per combination of what belongs to a run, and a sample per row."""

    name = "csv"
    summary = "any CSV, with a first line that says what its columns are (collate --columns)"
    version = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for that line."""
        return head_text(head).startswith(_MARK)

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each run and its samples."""
        first, _, rest = read_printed(path)[0].partition("\n")
        if not first.startswith(_MARK):
            raise malformed(
                path, 1, "decodebench-columns", "nothing says what the columns are; import it with --columns"
            )
        try:
            columns = json.loads(first.removeprefix(_MARK))
            if not (isinstance(columns, dict) and all(isinstance(name, str) for name in columns.values())):
                raise malformed(path, 1, "decodebench-columns", 'not an object of texts, such as {"backend": "engine"}')
            check_columns(columns)
        except (ValueError, RecursionError, UsageError) as error:
            raise malformed(path, 1, "decodebench-columns", str(error).removeprefix("--columns: ")) from error
        yield from _read(path, rest, columns, first_line=2)


class _Row(NamedTuple):
    """One row: its line in the file, from 1, and text by target; empty cells are left out."""

    line: int
    cells: dict[str, str]


def _read(path: Path, text: str, columns: Columns, first_line: int) -> Iterator[Run | Sample]:
    digest = digest_of(text)
    by_run: dict[tuple[str | None, ...], list[_Row]] = {}
    of_run = [target for target in columns if is_of_run(target)]
    for row in _rows(path, text, columns, first_line):
        by_run.setdefault(tuple(map(row.cells.get, of_run)), []).append(row)
    if not by_run:
        raise malformed(path, first_line, "line", "no row below the header")
    for at, rows in enumerate(sorted(by_run.values(), key=_round)):
        run_id = f"sha256-{digest}-{at:04d}"
        yield _run(path, run_id, rows[0], columns)
        if not any(in_seconds(target) in OF_TOTALS for target in columns) or not all(map(is_of_run, columns)):
            for index, row in enumerate(rows):
                yield _sample(path, run_id, index, row, columns)


def _rows(path: Path, text: str, columns: Columns, first_line: int) -> Iterator[_Row]:
    lines, delimiter = table_lines(text)
    reader = csv.reader([f"{line}\n" for line in lines], delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    try:
        header = [name.strip() for name in next((cells for cells in reader if any(cells)), [])]
        of_file = {target: column for target, column in columns.items() if not column.startswith(CONSTANT)}
        places = {target: _place(path, first_line, header, column) for target, column in of_file.items()}
        for cells in reader:
            line = first_line + reader.line_num - 1
            if not any(map(str.strip, cells)):
                continue
            if len(cells) > len(header) and not any(map(str.strip, cells[len(header) :])):
                del cells[len(header) :]
            if len(cells) != len(header):
                raise malformed(path, line, "line", f"{len(cells)} cells, but {len(header)} columns")
            found.append((line, [told(cells[place]) for place in places.values()]))
    except csv.Error as error:
        raise malformed(path, first_line + reader.line_num - 1, "line", f"no CSV: {error}") from error
    constants = {target: column.removeprefix(CONSTANT) for target, column in columns.items() if target not in places}
    pointed = iter(with_points([cell for _, row in found for cell in row], delimiter))
    for line, _ in found:
        known = {target: cell for target in places if (cell := next(pointed))} | constants
        if "status" in known:
            known["status"] = _STATUS.get(known["status"].lower(), known["status"])
        yield _Row(line, known)


def _place(path: Path, line: int, header: list[str], column: str) -> int:
    if column not in header:
        text = str(unknown_name("column", column, [name for name in header if name]))
        raise malformed(path, line, column, text)
    if header.count(column) > 1:
        raise malformed(path, line, column, "several columns have this name")
    return header.index(column)


def _round(rows: list[_Row]) -> tuple[float, int]:
    """Sort runs by the round that the file tells, then by place: the store numbers the rounds of a cell so."""
    told = rows[0].cells.get("round", "")
    return (float(told) if told.isdecimal() else math.inf), rows[0].line


def _run(path: Path, run_id: str, row: _Row, columns: Columns) -> Run:
    """Return the run of a row; nothing tells how many rows were asked for, and rounds of a cell may differ in it."""
    totals, machine = _values(path, row, "totals"), _values(path, row, "machine")
    values: dict[str, Any] = {
        **{"backend": UNKNOWN, "model": UNKNOWN, "quantisation": UNKNOWN, "device": UNKNOWN, "started_at": ""},
        "round": 0,
        **_values(path, row, "run"),
        "totals": _checked(Totals, path, row, totals, columns) if totals else None,
        "settings": {f"published_{target}": row.cells[target] for target in TIMES_OF_TOTALS if target in row.cells},
        "options": _values(path, row, "option"),
        "environment": Environment(**machine) if machine else None,
        "notes": tuple(_notes(columns)),
    }
    return _checked(Run, path, row, {"run_id": run_id, "experiment": "", "cell_id": "", **values}, columns)


def _notes(columns: Columns) -> Iterator[str]:
    yield f"read from a CSV: {', '.join(f'{target} from {column!r}' for target, column in sorted(columns.items()))}"
    for target in columns:
        field, tokens = RATES.get(in_seconds(target), ("", ""))
        if tokens:
            yield f"{field} is computed from {target} and {tokens}"
    if "output_tokens" in columns and "decode_tokens" not in columns:
        yield "decode_tokens are all but the first of the output tokens"


def _sample(path: Path, run_id: str, index: int, row: _Row, columns: Columns) -> Sample:
    values: dict[str, Any] = {"output_tokens": 0}
    if row.cells.get("status") == "failed":
        values |= {target: row.cells[target] for target in ("sample_id", "status", "reason") if target in row.cells}
    else:
        values = {"output_tokens": None, **_values(path, row, "sample")}
        if "decode_s" in values and "output_tokens" in row.cells:
            values["decode_tokens"] = _tokens(path, row, "decode_tokens")
    return _checked(Sample, path, row, {"run_id": run_id, "index": index, **values}, columns)


def _values(path: Path, row: _Row, part: str) -> dict[str, Any]:
    """Return the fields of a part of a record by name."""
    cells = row.cells
    return {
        field: cells[target] if is_kept else _value(path, row, target, cells[target])
        for target, field, is_kept in _fields_of(part, tuple(cells))
    }


@lru_cache(maxsize=256)  # rows have cells of the same columns
def _fields_of(part: str, targets: Sequence[str]) -> Sequence[tuple[str, str, bool]]:
    """Return the targets of a part of a record, each with its field and whether its cells are kept as they are."""
    return [
        (
            target,
            OF_TOTALS.get(name, field_of(target).removeprefix(OPTION)),
            name == target and name not in RATES and name not in OF_TOTALS and not target.startswith(OPTION),
        )
        for target in targets
        if part_of(target) == part
        for name in [in_seconds(target)]
    ]


def _value(path: Path, row: _Row, target: str, cell: str) -> JsonValue:
    """Return an option's number as one, seconds of other units with their digits, times of rates."""
    if target.startswith(OPTION):
        return _scalar(cell)
    name = in_seconds(target)
    value = _number(path, row, target, cell)
    if name != target:
        digits = repr(value)
        is_plain = target.endswith("_ms") and "e" not in digits  # either way the nearest number there is
        value = float(f"{digits}e-3") if is_plain else float(Fraction(digits) * seconds_of(target))
    if name not in RATES:
        return value
    tokens = _tokens(path, row, RATES[name][1])
    return value * tokens if name == "tpot_s" else _over(path, row, target, tokens, value)


def _scalar(cell: str) -> JsonValue:
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 2**53 else cell


def _over(path: Path, row: _Row, target: str, tokens: float, rate: float) -> float:
    if rate <= 0:
        raise malformed(path, row.line, target, f"{rate:g} tokens/s take no measurable time")
    return tokens / rate


def _tokens(path: Path, row: _Row, name: str) -> float:
    """Return the tokens behind a rate; of those decoded, where only all are known, all but the first."""
    if name in row.cells:
        return _number(path, row, name, row.cells[name])
    other = INSTEAD.get(name, "")
    if other not in row.cells:
        raise malformed(path, row.line, other or name, "empty, but the row has a rate of these tokens")
    return max(0.0, _number(path, row, other, row.cells[other]) - 1)


def _number(path: Path, row: _Row, target: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 <= value < 1e300):
        raise malformed(path, row.line, target, f"{cell!r} must be a number >= 0")
    return value


def _checked(model: type[R], path: Path, row: _Row, values: Mapping[str, Any], columns: Columns) -> R:
    """Build a record; a value that it refuses is named by line and column."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        column = next((column for target, column in columns.items() if field_of(target) == field), field)
        raise malformed(path, row.line, column, f"{first['msg']} (for {field})") from error


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of CSV files."""
    return [ColumnsCsv]
