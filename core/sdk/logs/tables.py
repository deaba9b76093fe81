"""Other programs' CSV files with a line of column names."""

from __future__ import annotations

import csv
from pathlib import Path

from .text import malformed


def read_table(path: Path, text: str) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Read a table; empty lines are left out.

    Args:
        path: the file, for errors.
        text: its content.

    Returns:
        The names of the columns, and each row with its line, from 1.

    Raises:
        RawLogError: there is no row, one has too many or too few values, or it is no CSV; names the line.
    """
    lines = csv.reader(text.split("\n"), strict=True)
    rows = []
    try:
        names = tuple(next(lines))
        for values in lines:
            if len(values) not in (0, len(names)):
                raise malformed(path, lines.line_num, "row", f"{len(values)} values for {len(names)} columns")
            if values:
                rows.append((lines.line_num, dict(zip(names, values, strict=True))))
    except csv.Error as error:
        raise malformed(path, lines.line_num, "row", f"no CSV: {error}") from error
    if not rows:
        raise malformed(path, 2, "row", "no row below the column names")
    return names, rows
