"""CSV files with a line of column names, as tools write them and as spreadsheets of any country save them again."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from .fields import with_point
from .text import head_text, malformed

_DELIMITERS = ",;\t|"
_COMMENT = re.compile(r'[ \t]{0,20}"?(?:#|//)')
_SEPARATOR = re.compile(r'"?sep=(.)"?')  # Excel's own first line
_POINT = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,30}")
_COMMA = re.compile(r"-?[0-9]{1,15},[0-9]{1,30}")
_GROUPS = re.compile(r"-?[1-9][0-9]{0,2}(?:\.[0-9]{3}){1,4}")  # or one decimal number, where nothing says otherwise
_QUOTED = re.compile('"[^"]*"')
_NOTHING = frozenset({"n/a", "#n/a", "#nv", "na", "null", "(null)", "\\n", "-", "--", "---", "–", "—", "..", "?"})
_LONGEST = max(map(len, _NOTHING))


def table_lines(text: str) -> tuple[list[str], str]:
    """Return the lines of a table and its delimiter; comments and Excel's `sep=` become empty lines.

    The delimiter is the one that its first line, the column names, has most of.
    """
    lines, named, is_open = text.split("\n"), "", False
    for at, line in enumerate(lines):
        starts_inside = is_open
        is_open ^= line.count('"') % 2 == 1
        if starts_inside or not line.strip():
            continue
        separator = _SEPARATOR.fullmatch(line.strip("\ufeff\r ")) if not named else None
        if separator and separator[1] in _DELIMITERS:
            named = separator[1]
        elif not _COMMENT.match(line):
            named = named or max(_DELIMITERS, key=_QUOTED.sub("", line).count)
            continue
        lines[at] = ""
    return lines, named or ","


def column_names(head: bytes) -> tuple[str, ...]:
    """Return the names in the first line of a table, from the beginning of its file."""
    lines, delimiter = table_lines(head_text(head)[:20_000])
    first = next((line for line in lines if line.strip()), "")
    return _names(tuple(name.strip().strip('"') for name in first.split(delimiter)))


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns without those of empty ones that a spreadsheet put behind them."""
    names = tuple(name.strip() for name in cells)
    return names[: 1 + max((at for at, name in enumerate(names) if name), default=-1)]


def of_columns(cells: Sequence[str], count: int) -> list[str]:
    """Return the cells of a row without empty ones behind the columns; none of a whole row of empty ones."""
    if len(cells) >= count and not any(cell.strip() for cell in cells):
        return []
    return list(cells if any(cells[count:]) else cells[:count])


def told(cell: str) -> str:
    """Return a cell; empty where it says that there is nothing."""
    text = cell.strip()
    if len(text) > _LONGEST or text[-1:].isdigit():
        return text
    return "" if text.lower() in _NOTHING else text


def with_points(cells: Sequence[str], delimiter: str) -> list[str]:
    """Return the cells of a table with decimal points, and nothing between thousands.

    In a table that is not parted by commas, and has no decimal point, each comma between digits is a decimal one, and
    points that may be of thousands are, where a comma cannot be: 12,5 beside 1.234; else a comma that may be of
    thousands stays, and no number is made of it.
    """
    if delimiter != ",":
        has_comma = any(_COMMA.fullmatch(cell) and with_point(cell) != cell for cell in cells)
        if not any(_POINT.fullmatch(cell) and not (has_comma and _GROUPS.fullmatch(cell)) for cell in cells):
            return [_of_commas(cell) if "," in cell or has_comma else cell for cell in cells]
    return [with_point(cell) if "," in cell else cell for cell in cells]


def _of_commas(cell: str) -> str:
    """Return a cell of a table whose decimals have commas, and whose thousands may have points."""
    if _COMMA.fullmatch(cell):
        return cell.replace(",", ".")
    return cell.replace(".", "") if _GROUPS.fullmatch(cell) else with_point(cell)


def read_table(
    path: Path, text: str, texts: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Read a table; empty lines and comments are left out, and a cell that says that there is nothing is empty.

    Args:
        path: the file, for errors.
        text: its content.
        texts: columns whose cells are kept as they are.

    Returns:
        The names of the columns, and each row with its line, from 1.

    Raises:
        RawLogError: there is no row, one has too many or too few values, or it is no CSV; names the line.
    """
    whole, delimiter = table_lines(text)
    is_spaced = all(name.startswith(" ") for name in next(filter(str.strip, whole), "").split(delimiter)[1:])
    lines = csv.reader(whole, delimiter=delimiter, strict=True, skipinitialspace=is_spaced)
    rows = []
    try:
        names = _names(next((values for values in lines if values), ()))
        for cells in lines:
            values = of_columns(cells, len(names))
            if len(values) not in (0, len(names)):
                raise malformed(path, lines.line_num, "row", f"{len(values)} values for {len(names)} columns")
            if values:
                row = zip(names, values, strict=True)
                rows.append((lines.line_num, {name: cell if name in texts else told(cell) for name, cell in row}))
    except csv.Error as error:
        raise malformed(path, lines.line_num, "row", f"no CSV: {error}") from error
    if not rows:
        raise malformed(path, 2, "row", "no row below the column names")
    return names, rows
