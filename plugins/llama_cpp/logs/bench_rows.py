"""The five ways in which llama-bench writes its tests: JSON, JSON lines, CSV, SQL and a Markdown table.

Each is read into the same rows of text, by the tool's own field names. What follows a line `STDERR:` is the error
output that a wrapper keeps there, and no part of any of them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ....core.records.raw_log import RawLogError
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.json_files import parse_object
from ....core.sdk.logs.text import malformed

_STDERR = "STDERR:"
_CSV = re.compile(r"build_commit,.*\bavg_ns\b.*")
_SQL = re.compile(r"INSERT INTO (?:llama_bench|test) \((build_commit, .*?)\) VALUES \('?(.*)")
_SQL_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (?:llama_bench|test) \($")
_TABLE = re.compile(r"\|\s*model\s*\|.*\|\s*test\s*\|\s*t/s\s*\|")
_BUILD = re.compile(r"build: ([0-9a-f]{5,40}|unknown) \(([0-9]{1,9})\)")
_JSON_START = re.compile(r"^[^\S\n]*(?:\[(?=\s*(?:\{|\Z))|\{)", re.MULTILINE)
_BETWEEN = re.compile(r"[\s,\[]*(?:(?![\s{\]])[^\n]*(?:\n|\Z)\s*)*")
_TEST = re.compile(r"(?:pp ?(?P<n_prompt>\d{1,9}))?\+?(?:tg ?(?P<n_gen>\d{1,9}))?(?: @ d(?P<n_depth>\d{1,9}))?")
_SHORT = {
    "ngl": "n_gpu_layers", "sm": "split_mode", "threads": "n_threads", "nkvo": "no_kv_offload", "fa": "flash_attn",
    "lm": "load_mode", "mmap": "use_mmap", "dio": "use_direct_io", "embd": "embeddings", "nopo": "no_op_offload",
    "noh": "no_host", "dev": "devices", "ts": "tensor_split", "ot": "tensor_buft_overrides", "fitt": "fit_target",
    "fitc": "fit_min_ctx", "model": "model_type", "backend": "backends",
}  # fmt: skip
"""Names in the head of a table that are not the field's own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One test.

    Attributes:
        path: the file.
        line: where it stands, from 1.
        values: text by the tool's field name; true and false are 1 and 0, as its CSV has them.
        samples_ns: time of each repetition; None where only their average is told.
        samples_ts: tokens per second of each.
        is_cut: whether the file ends inside it.
    """

    path: Path
    line: int
    values: Mapping[str, str]
    samples_ns: Sequence[int] | None = None
    samples_ts: Sequence[float] | None = None
    is_cut: bool = False

    def fail(self, name: str, text: str) -> RawLogError:
        """Build the error for one field."""
        return malformed(self.path, self.line, name, text)


@dataclass(slots=True)
class Tests:
    """What a file holds.

    Attributes:
        form: json, jsonl, csv, sql or md; None where no test was printed.
        rows: the tests.
        cut: what is missing at the end; None for a whole file.
        errors: the last line of the error output, where the file keeps one.
    """

    form: str | None = None
    rows: list[Row] = field(default_factory=list)
    cut: str | None = None
    errors: str | None = None


def find_form(lines: Sequence[str]) -> str | None:
    """Return in which form the lines hold tests; None where they hold none."""
    text = "\n".join(lines)
    if re.search(r'"build_commit"\s*:', text) and re.search(r'"model_type"\s*:', text):
        start = _JSON_START.search(text)
        if start:
            return "json" if start[0].endswith("[") else "jsonl"
    for line in lines:
        if _CSV.fullmatch(line):
            return "csv"
        if _SQL.match(line) or _SQL_TABLE.match(line):
            return "sql"
        if _TABLE.fullmatch(line.strip()):
            return "md"
    return None


def split_errors(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what the tool printed, and the error output that a wrapper put below it."""
    at = next((at for at, line in enumerate(lines) if line == _STDERR), len(lines))
    return lines[:at], lines[at + 1 :]


def read_tests(path: Path, lines: Sequence[str]) -> Tests:
    """Read the tests of a file.

    Args:
        path: the file, for errors.
        lines: its lines.

    Raises:
        RawLogError: a row is damaged anywhere but at the end; names line and field.
    """
    printed, errors = split_errors(lines)
    told = [line.strip() for line in errors if line.strip()]
    tests = Tests(find_form(printed), errors=told[-1][:200] if told else None)
    match tests.form:
        case "json" | "jsonl":
            _read_json(path, printed, tests)
        case "csv":
            _read_csv(path, printed, tests)
        case "sql":
            _read_sql(path, printed, tests)
        case "md":
            _read_tables(path, printed, tests)
    return tests


def _read_json(path: Path, lines: Sequence[str], tests: Tests) -> None:
    """Read an array of objects, or objects one after another; lines of other output may stand between them."""
    text = "\n".join(lines)
    start = _JSON_START.search(text)
    assert start is not None
    at, is_open = start.end() - 1, text[start.end() - 1] == "["
    line = text.count("\n", 0, at) + 1
    while begun := _BETWEEN.match(text, at):
        line += text.count("\n", at, begun.end())
        at = begun.end()
        if at == len(text) or text[at] == "]":
            break
        try:
            end = json.JSONDecoder().raw_decode(text, at)[1]
        except (ValueError, RecursionError) as error:
            if not _ends_early(error, text):
                parse_object(path, line, text[at:])  # says what is wrong
                raise malformed(path, line, "line", "no JSON") from error
            _take_cut(path, line, text[at:], tests)
            return
        fields = parse_object(path, line, text[at:end])
        if not fields.content:
            raise malformed(path, line, "line", "an object without fields is no test")
        tests.rows.append(_row_of(fields))
        line += text.count("\n", at, end)
        at = end
    if is_open and not text.startswith("]", at):
        tests.cut = "the list is not closed: llama-bench did not end, or the file was cut"


def _ends_early(error: Exception, text: str) -> bool:
    """Whether more text could have made it JSON."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    rest = text[error.pos :].strip()
    return error.msg.startswith("Unterminated string") or bool(re.fullmatch(r"[a-zA-Z0-9.+-]*", rest))


def _take_cut(path: Path, line: int, fragment: str, tests: Tests) -> None:
    """Keep what is whole of the object that a file ends in."""
    tests.cut = f"the file ends inside the test that begins on its line {line}: it was cut, or llama-bench died"
    fields = Fields(path, line, {})
    for comma in [found.start() for found in re.finditer(",", fragment)][-60:][::-1]:
        try:
            fields = parse_object(path, line, fragment[:comma] + "}")
        except RawLogError:
            continue
        break
    tests.rows.append(Row(path, line, _texts(fields), is_cut=True))


def _row_of(fields: Fields) -> Row:
    has_samples = fields.has("samples_ns")
    return Row(
        fields.path,
        fields.line,
        _texts(fields),
        fields.counts("samples_ns", least=1, most=10**18) if has_samples else None,
        fields.numbers("samples_ts") if fields.has("samples_ts") else None,
    )


def _texts(fields: Fields) -> dict[str, str]:
    texts = {}
    for name, value in fields.content.items():
        if isinstance(value, bool):
            texts[name] = str(int(value))
        elif isinstance(value, str):
            texts[name] = value
        elif isinstance(value, int | float):
            texts[name] = json.dumps(fields.scalar(name))
    return texts


def _read_csv(path: Path, lines: Sequence[str], tests: Tests) -> None:
    begin = next(at for at, line in enumerate(lines) if _CSV.fullmatch(line))
    names = lines[begin].split(",")
    last = max(at for at, line in enumerate(lines) if line.strip())
    for at, line in enumerate(lines[begin + 1 :], start=begin + 1):
        if not line.startswith('"'):
            continue  # the tool quotes every value; what stands between is its error output
        try:
            values = next(csv.reader([line], strict=True))
        except csv.Error as error:
            values = []
            if at != last:
                raise malformed(path, at + 1, "row", f"no CSV: {error}") from error
        _take_values(path, at, names, values, tests, is_last=at == last)


def _read_sql(path: Path, lines: Sequence[str], tests: Tests) -> None:
    last = max(at for at, line in enumerate(lines) if line.strip())
    for at, line in enumerate(lines):
        if not line or not "INSERT INTO".startswith(line[: len("INSERT INTO")]):
            continue
        found = _SQL.fullmatch(line)
        is_whole = found is not None and found[2].endswith("');")
        if found is None or not (is_whole or at == last):
            if at == last:
                _take_values(path, at, [], [""], tests, is_last=True)
                continue
            raise malformed(path, at + 1, "row", "no INSERT of a test")
        values = found[2].removesuffix("');").split("', '") if is_whole else []
        _take_values(path, at, found[1].split(", "), values, tests, is_last=at == last)


def _take_values(
    path: Path, at: int, names: Sequence[str], values: Sequence[str], tests: Tests, *, is_last: bool
) -> None:
    if len(values) == len(names):
        tests.rows.append(Row(path, at + 1, dict(zip(names, values, strict=True))))
    elif is_last:
        tests.cut = f"the file ends inside its line {at + 1}, which is left out: it was cut"
    else:
        raise malformed(path, at + 1, "row", f"{len(values)} values for {len(names)} columns")


def _read_tables(path: Path, lines: Sequence[str], tests: Tests) -> None:
    names: list[str] | None = None
    waiting = 0  # rows of tables whose `build:` line has not come yet
    for at, line in enumerate(lines):
        if _TABLE.fullmatch(line.strip()):
            names = [_SHORT.get(name, name) for name in _cells(line)]
        elif names and line.startswith("|"):
            cells = _cells(line)
            if all(set(cell) <= {"-", ":"} for cell in cells):
                continue
            if len(cells) != len(names):
                if at == len(lines) - 1:
                    tests.cut = f"the file ends inside its line {at + 1}, which is left out: it was cut"
                    continue
                raise malformed(path, at + 1, "row", f"{len(cells)} cells for {len(names)} columns")
            tests.rows.append(_table_row(path, at + 1, dict(zip(names, cells, strict=True))))
            waiting += 1
        elif (found := _BUILD.fullmatch(line.strip())) and waiting:
            for index in range(len(tests.rows) - waiting, len(tests.rows)):
                row = tests.rows[index]
                told = {"build_commit": found[1], "build_number": found[2]}
                tests.rows[index] = Row(row.path, row.line, {**row.values, **told})
            waiting = 0
        elif line.strip():
            names = None


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _table_row(path: Path, line: int, cells: dict[str, str]) -> Row:
    """Turn the words for people into the fields that the other forms have."""
    test = _TEST.fullmatch(cells.pop("test"))
    if not test or not any((test["n_prompt"], test["n_gen"])):
        raise malformed(path, line, "test", "no test such as pp512, tg128 or pp512+tg128")
    rate = re.fullmatch(r"([0-9]{1,12}\.[0-9]{2}) ± ([0-9]{1,12}\.[0-9]{2}|-?nan|inf)", cells.pop("t/s"))
    if not rate:
        raise malformed(path, line, "t/s", "no rate such as 131.42 ± 0.59")
    values = cells | {name: value or "0" for name, value in test.groupdict().items()}
    values |= {"avg_ts": rate[1], "stddev_ts": rate[2]}
    for name, ours, units in (
        ("size", "model_size", {"MiB": 2**20, "GiB": 2**30}),
        ("params", "model_n_params", {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}),
    ):
        told = values.pop(name, "")
        amount = re.fullmatch(r"([0-9]{1,9}\.[0-9]{1,2}) (\w+)", told)
        if amount and amount[2] in units:
            values[ours] = str(round(float(amount[1]) * units[amount[2]]))
        elif told:
            raise malformed(path, line, name, "no amount such as 3.56 GiB or 6.74 B")
    return Row(path, line, values)
