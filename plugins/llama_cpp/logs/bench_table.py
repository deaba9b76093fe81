"""llama-bench's Markdown tables, as it prints them and as people post them.

A table may be indented, quoted, prefixed by a log driver, in bold, between other text, or have lines of the error
output in it; a row that is none costs itself alone. Where a row has more cells than there are columns, a cell has bars
in it, as the patterns of ``-ot`` do. Columns that people put before or behind the tool's own are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ....core.records.raw_log import RawLogError
from ....core.sdk.logs.fields import with_point
from ....core.sdk.logs.text import malformed
from .bench_test import PUBLISHED, Row, Tests

_BUILD = re.compile(r"\bbuild: ([0-9a-f]{5,40}|unknown) \(([0-9]{1,9})\)")
_TEST = re.compile(
    r"(?:pp ?(?P<n_prompt>\d{1,9}))?\+?(?:tg ?(?P<n_gen>\d{1,9}))?(?: ?@ ?(?:d|pp) ?(?P<n_depth>\d{1,9}))?"
)
_NUMBER = r"\d{1,12}(?:[.,]\d{1,9}){0,2}"
_PLAIN = re.compile(r"\d{1,15}(?:\.\d{1,9})?|-?nan\S{0,8}|-?inf")
# The sign between mean and deviation has as many spellings as there are code pages to misread it in.
_RATE = re.compile(
    rf"({_NUMBER})(?:\s{{0,20}}\(?[^\s\d.,|(]{{1,8}}\s{{0,20}}(?:({_NUMBER})(?P<percent> ?%)?|(-?nan\S{{0,8}}|-?inf)))?"
    r"\)?(?: ?t(?:ok)?/s)?"
)
_AMOUNT = re.compile(rf"({_NUMBER}) ?([KMGT]i?B|[KMBT])")
_AMOUNTS: dict[str, tuple[str, dict[str, float]]] = {
    "size": ("model_size", {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}),
    "params": ("model_n_params", {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}),
}
_READ = frozenset({"test", "t/s", *_AMOUNTS})
_RESULT = re.compile(r"[-+~±]\d[\d.,]{0,15}|[-+~±]?\d[\d.,]{0,15}\s?(?:[%x×]|t/s)")
_OF_RESULTS = re.compile(r"speed|gain|ratio|delta|diff|chang|improv|\bvs\b|%|Δ", re.IGNORECASE)
_ESCAPED = "\x1a"  # stands for a bar that Markdown escapes
_EMPHASIS = " \t*_`~"
_LINK = re.compile(r"\[([^\]|]{1,100})\]\([^)|\s]{1,200}\)")
_WITH_BARS = ("tensor_buft_overrides", "model_type", "devices")
"""Columns whose cells may have bars in them, the likeliest first."""
_NUMERIC = frozenset({"n_gpu_layers", "n_threads", "n_batch", "n_ubatch", "n_cpu_moe", "use_mmap", "no_kv_offload"})
_SHORT = {
    "ngl": "n_gpu_layers", "sm": "split_mode", "threads": "n_threads", "nkvo": "no_kv_offload", "fa": "flash_attn",
    "lm": "load_mode", "mmap": "use_mmap", "dio": "use_direct_io", "embd": "embeddings", "nopo": "no_op_offload",
    "noh": "no_host", "dev": "devices", "ts": "tensor_split", "ot": "tensor_buft_overrides", "fitt": "fit_target",
    "fitc": "fit_min_ctx", "model": "model_type", "backend": "backends",
}  # fmt: skip
"""Names in the head of a table that are not the field's own."""


@dataclass(frozen=True, slots=True)
class Header:
    """The head of a table.

    Attributes:
        names: the tool's field name of each column.
        before: how many bars are in what stands before the tool's columns on each line.
        own: the names of columns that people put before them, and behind them.
        is_closed: whether lines end in a bar.
        bar: what parts its cells: a bar, or a tab.
    """

    names: Sequence[str]
    before: int
    own: tuple[Sequence[str], Sequence[str]]
    is_closed: bool
    bar: str

    @property
    def width(self) -> int:
        """How many cells a row has, with those before the tool's columns."""
        return self.before + len(self.names) + len(self.own[1])


def header_of(line: str) -> Header | None:
    """Return the head of a table; None where a line is none."""
    if "t/s" not in line or "model" not in line or "test" not in line:
        return None
    line = _barred(line)
    bar = "|" if "|" in line else "\t"
    cells = [piece.strip(_EMPHASIS) for piece in line.split(bar)]
    if "model" not in cells or "t/s" not in cells:
        return None
    first, last = cells.index("model"), cells.index("t/s")
    names = [_SHORT.get(name, name) for name in cells[first : last + 1]]
    if "test" not in names or any(name.startswith("ttfr") for name in cells):  # the latter is llama-benchy's
        return None
    is_closed = len(cells) > last + 1 and not cells[-1]
    behind = cells[last + 1 : len(cells) - is_closed]
    edge = next((at for at in reversed(range(first)) if not cells[at]), first - 1)
    return Header(names, first, (cells[edge + 1 : first], behind), is_closed, bar)


def read_tables(path: Path, lines: Sequence[str], tests: Tests) -> None:
    """Read the rows of every table into ``tests``.

    Args:
        path: the file, for errors.
        lines: its lines.
        tests: gets the rows, and those that are left out.
    """
    header: Header | None = None
    waiting: list[dict[str, str]] = []  # values of rows whose `build:` line has not come yet
    last = ""
    for at, line in enumerate(lines):
        if head := header_of(line):
            header, last = head, line
        elif "build: " in line and (build := _BUILD.search(line)):
            for values in waiting:
                values |= {"build_commit": build[1], "build_number": build[2]}
            waiting = []
        elif header and (found := _cells(line, header)):
            cells, own = found
            if not "".join(cells).strip("-:"):
                if not header_of(last):  # the line before was the head of a table of something else
                    header = None
                    _drop(tests, at)
            elif at == len(lines) - 1 and header.is_closed and not line.rstrip().endswith("|"):
                tests.cut = f"the file ends inside its line {at + 1}, which is left out: it was cut"
            else:
                _take(Row(path, at + 1, own), header, cells, tests, waiting)
            last = line


def _take(found: Row, header: Header, cells: Sequence[str], tests: Tests, waiting: list[dict[str, str]]) -> None:
    """Take a line, of which the cells of people's own columns are known, as a test that waits for its build."""
    try:
        values = {**found.values, **_row(found.path, found.line, header, cells)}
    except RawLogError as error:
        tests.odd.append(error)
        return
    waiting.append(values)
    tests.rows.append(Row(found.path, found.line, values))


def _drop(tests: Tests, line: int) -> None:
    """Forget what was said of a line."""
    if tests.odd and f":{line}: " in str(tests.odd[-1]):
        tests.odd.pop()


def _barred(line: str) -> str:
    """Return a line without bars that are no ends of cells, and the words of links in place of them."""
    text = line.replace("\\|", _ESCAPED)
    return _LINK.sub(r"\1", text) if "](" in text else text


def _cells(line: str, header: Header) -> tuple[list[str], dict[str, str]] | None:
    """Return the cells of a line, without what stands before the table, and those of people's own columns.

    None where it is no row of any table.
    """
    if header.bar not in line:
        return None
    pieces = _barred(line.rstrip()).split(header.bar)
    if len(pieces) <= 2:
        return None
    if not pieces[-1].strip() or (header.is_closed and len(pieces) == header.width + 1):
        pieces.pop()  # nothing, or what another program printed on the same line
    cells = [piece.strip(_EMPHASIS) for piece in pieces]
    if "\\|" in line:
        cells = [cell.replace(_ESCAPED, "|") for cell in cells]
    wanted, (before, behind) = len(header.names), header.own
    if len(cells) - header.before < wanted:
        return cells[-wanted:], {}
    if not (before or behind):
        return cells[header.before :], {}
    own = dict(zip(before, cells[header.before - len(before) : header.before], strict=True))
    cells = cells[header.before :]
    if behind and len(cells) >= wanted + len(behind):
        own |= {_kept_as(name, cell): cell for name, cell in zip(behind, cells[-len(behind) :], strict=True)}
        cells = cells[: -len(behind)]
    return cells, {name: cell for name, cell in own.items() if name and cell}


def _kept_as(name: str, cell: str) -> str:
    """Return the field for a cell behind the tool's: a change or a share is a result, anything else an option."""
    return f"{PUBLISHED}{name}" if name and (_RESULT.fullmatch(cell) or _OF_RESULTS.search(name)) else name


def _row(path: Path, line: int, header: Header, cells: Sequence[str]) -> dict[str, str]:
    surplus = len(cells) - len(header.names)
    if not surplus:
        return _table_row(path, line, dict(zip(header.names, cells, strict=True)))
    for name in _WITH_BARS:
        if surplus > 0 and name in header.names:
            at = header.names.index(name)
            joined = [*cells[:at], "|".join(cells[at : at + surplus + 1]), *cells[at + surplus + 1 :]]
            values = dict(zip(header.names, joined, strict=True))
            if all(re.fullmatch(r"-?[\d.]{1,12}", values[number]) for number in _NUMERIC & set(values)):
                return _table_row(path, line, values)
    raise malformed(path, line, "row", f"{len(cells)} cells for {len(header.names)} columns")


def _table_row(path: Path, line: int, cells: Mapping[str, str]) -> dict[str, str]:
    """Turn the words for people into the fields that the other forms have."""
    test = _test_of(cells["test"])
    if not test:
        raise malformed(path, line, "test", f"{cells['test'][:40]!r} is not a test such as pp512, tg128 or pp512+tg128")
    rate = _RATE.fullmatch(cells["t/s"].replace("*", "").replace("`", ""))
    mean, deviation = (with_point(text or "") for text in (rate[1], rate[2] or rate[4])) if rate else ("", "")
    if rate and rate["percent"] and _PLAIN.fullmatch(mean) and _PLAIN.fullmatch(deviation):
        deviation = repr(float(mean) * float(deviation) / 100)
    if not all(_PLAIN.fullmatch(text) for text in (mean, deviation or "0")):
        raise malformed(path, line, "t/s", f"{cells['t/s'][:40]!r} is not a rate such as 131.42 ± 0.59")
    values, odd = _asked_of(tuple(item for item in cells.items() if item[0] != "t/s"))
    if odd:
        raise malformed(path, line, odd, f"{cells[odd][:40]!r} is not an amount such as 3.56 GiB or 6.74 B")
    own = {"avg_ts": mean, "stddev_ts": deviation} if deviation else {"avg_ts": mean}
    return {**values, **test, **own}


@lru_cache(maxsize=256)  # of a table, most rows have the cells of others but for their rate
def _asked_of(cells: Sequence[tuple[str, str]]) -> tuple[Mapping[str, str], str]:
    """Return the fields of a row without its test and its rate, and the name of an amount that is none."""
    values = {name: cell for name, cell in cells if cell and name not in _READ}
    for name, cell in cells:
        if name in _AMOUNTS and cell:
            amount = _amount_of(name, cell)
            if amount is None:
                return values, name
            values[_AMOUNTS[name][0]] = amount
    return values, ""


@lru_cache(maxsize=256)
def _test_of(cell: str) -> Mapping[str, str] | None:
    """Return the counts of a test; None where it is none."""
    test = _TEST.fullmatch(cell)
    is_one = test and any((test["n_prompt"], test["n_gen"]))
    return {name: value or "0" for name, value in test.groupdict().items()} if test and is_one else None


def _amount_of(name: str, cell: str) -> str | None:
    amount = _AMOUNT.fullmatch(cell)
    digits = with_point(amount[1]) if amount else ""
    units = _AMOUNTS[name][1]
    is_one = amount and amount[2] in units and _PLAIN.fullmatch(digits)
    return str(round(float(digits) * units[amount[2]])) if amount and is_one else None
