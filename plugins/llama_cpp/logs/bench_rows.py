"""The five ways in which llama-bench writes its tests: JSON, JSON lines, CSV, SQL and a Markdown table.

Each is read into the same rows of text, by the tool's own field names; a page may have several of them, and with `-oe`
one has the tests of another again. What follows a line `STDERR:` is the error output that a wrapper keeps there, and no
part of any of them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....core.records.raw_log import RawLogError
from ....core.sdk.logs.fields import Fields, plain_number
from ....core.sdk.logs.json_files import parse_object, row_of
from ....core.sdk.logs.json_values import WORDS_BEFORE, parts_of
from ....core.sdk.logs.tables import column_names, of_columns, told, with_points
from ....core.sdk.logs.text import malformed
from .bench_table import header_of, read_tables
from .bench_test import Row, Tests

_STDERR = "STDERR:"
_FRAME = re.compile(r"\bllama-bench(?:\.exe)?\(\S{0,200}\) ?\[0x")
_THROWN = re.compile(r"what\(\): {1,4}(\S.{0,200})")
_CSV = re.compile(r"\"?\w{2,40}\"?(?: ?[,;\t|] ?\"?\w{0,40}\"?){3,200} ?")
_SQL = re.compile(r"INSERT INTO (?:llama_bench|test) \((build_commit, .*?)\) VALUES \('?(.*)")
_SQL_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (?:llama_bench|test) \($")
_JSON_START = re.compile(
    rf"^(?:[^\S\n]*|{WORDS_BEFORE}(?=\[?\s*\{{[ \t]*(?:\"|$)))(?:\[(?=\s*(?:\{{|\Z))|\{{)", re.MULTILINE
)
_LIST_START = re.compile(rf"^(?:[^\S\n]*|{WORDS_BEFORE})\[\s*\{{", re.MULTILINE)
_LIST_END = re.compile(r"\}[\s,]*\]")
_NAMES_OF_TESTS = frozenset({"build_commit", "n_prompt", "n_gen"})
_IS_TEST = re.compile(r'"(?:build_commit|n_prompt|n_gen)"\s*:')


def find_forms(lines: Sequence[str]) -> Iterator[str]:
    """Yield the forms in which the lines hold tests, those first that say most."""
    text = "\n".join(lines)
    if re.search(r'"build_commit"\s*:', text) and re.search(r'"model_type"\s*:', text) and _JSON_START.search(text):
        yield "json"
    if any(map(_is_csv_head, lines)):
        yield "csv"
    if any(line.startswith(("INSERT", "CREATE")) and (_SQL.match(line) or _SQL_TABLE.match(line)) for line in lines):
        yield "sql"
    if any("t/s" in line and header_of(line) for line in lines):
        yield "md"


def _is_csv_head(line: str) -> bool:
    """Say whether a line has the names of columns, in any order, by which tests are known."""
    has_names = "n_gen" in line and "n_prompt" in line and ("avg_ns" in line or "avg_ts" in line)
    return has_names and _CSV.fullmatch(line) is not None


def split_errors(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return what the tool printed, and the error output that a wrapper put below it."""
    at = next((at for at, line in enumerate(lines) if line == _STDERR), len(lines))
    return lines[:at], lines[at + 1 :]


def has_crashed(lines: Sequence[str]) -> bool:
    """Say whether the lines hold a trace of the tool's end in a crash."""
    return any("llama-bench" in line and _FRAME.search(line) is not None for line in lines)


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
    told = told or [hit[1].strip() for line in lines if "what():" in line and (hit := _THROWN.search(line))]
    tests = Tests(tuple(find_forms(printed)), errors=told[-1][:200] if told else None)
    readers = {"json": _read_json, "csv": _read_csv, "sql": _read_sql, "md": read_tables}
    for form in tests.forms:
        known = frozenset(map(_printed_as, tests.rows))
        begin = len(tests.rows)
        readers[form](path, printed, tests)
        if known:
            tests.rows[begin:] = [row for row in tests.rows[begin:] if _printed_as(row) not in known]
    return tests


def _printed_as(row: Row) -> tuple[str, ...]:
    """Return what a table for people says of a test: what was asked for, and the mean rate with two decimals."""
    asked = (row.values.get(name) or "0" for name in ("n_prompt", "n_gen", "n_depth"))
    rate = plain_number(row.values.get("avg_ts", ""))
    return (*asked, f"{rate:.2f}" if rate else f"line {row.line}")


def _read_json(path: Path, lines: Sequence[str], tests: Tests) -> None:
    """Read objects, in arrays or one after another; other output may be between them, and objects of other programs."""
    text = "\n".join(lines)
    for part in parts_of(text):
        if part.is_cut:
            _take_cut(path, part.line, part.source, tests)
            return
        if part.content == {} or (part.content is None and not _IS_TEST.search(part.source)):
            continue
        try:
            tests.rows += [_row_of(fields) for fields in _tests_in(row_of(path, part))]
        except RawLogError as error:
            tests.odd.append(error)
    lists = [found.start() for found in _LIST_START.finditer(text)]
    if tests.rows and lists and not _LIST_END.search(text, lists[-1]):
        tests.cut = "the list is not closed: llama-bench did not end, or the file was cut"


def _tests_in(fields: Fields) -> list[Fields]:
    """Return an object that is a test, or the tests in the lists of one that a wrapper put around them."""
    if _NAMES_OF_TESTS & set(fields.content):
        return [fields]
    lists = [name for name, value in fields.content.items() if isinstance(value, list)]
    within = [
        row for name in lists if all(isinstance(v, dict) for v in fields.items(name)) for row in fields.rows(name)
    ]
    return [row for row in within if _NAMES_OF_TESTS & set(row.content)]


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
    begin = next(at for at, line in enumerate(lines) if _is_csv_head(line))
    delimiter = max(",;\t|", key=lines[begin].count)
    names = column_names(lines[begin].encode())
    last = max(at for at, line in enumerate(lines) if line.strip())
    for at, line in enumerate(lines[begin + 1 :], start=begin + 1):
        if _is_csv_head(line):  # of an output that was appended, maybe of another build
            delimiter, names = max(",;\t|", key=line.count), column_names(line.encode())
            continue
        if delimiter not in line and '"' not in line:  # empty, or error output
            continue
        try:
            cells = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True), [])
            values = [told(cell) for cell in of_columns(cells, len(names))]
            values = with_points(values, delimiter) if delimiter != "," else values
        except csv.Error as error:
            cells, values = [], []
            if at != last:
                tests.odd.append(malformed(path, at + 1, "row", f"no CSV: {error}"))
                continue
        # The tool quotes every value, a spreadsheet none; what is neither is error output.
        if (values or not cells) and (line.startswith('"') or len(values) == len(names)):
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
            tests.odd.append(malformed(path, at + 1, "row", "no INSERT of a test"))
            continue
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
        tests.odd.append(malformed(path, at + 1, "row", f"{len(values)} values for {len(names)} columns"))
