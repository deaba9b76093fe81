"""A table of results, for data frames and notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

_MOST_ROWS = 200  # of a notebook's view
_STYLES = {
    "good": "color:#1a7f37",
    "bad": "color:#cf222e",
    "dim": "color:#6e7781",
    "note": "color:#9a6700",
}


class Tabular(ABC):
    """What has a table, and so data frames."""

    __slots__ = ()

    @abstractmethod
    def table(self) -> Table:
        """Return what data frames are made of."""

    def to_pandas(self) -> pandas.DataFrame:
        """Return ``table`` as a pandas data frame.

        Raises:
            UsageError: pandas is not installed, or there is no table.
        """
        table = self.table()
        return _import("pandas").DataFrame(table.rows, columns=list(table.columns))

    def to_polars(self) -> polars.DataFrame:
        """Return ``table`` as a polars data frame.

        Raises:
            UsageError: polars is not installed, or there is no table.
        """
        table = self.table()
        frame: polars.DataFrame = _import("polars").DataFrame(
            list(map(tuple, table.rows)), schema=list(table.columns), orient="row", infer_schema_length=None
        )
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """Return ``table`` as an Arrow table.

        Raises:
            UsageError: pyarrow is not installed, or there is no table.
        """
        table = self.table()
        values = zip(*table.rows, strict=True) if table.rows else ([] for _ in table.columns)
        return _import("pyarrow").table(dict(zip(table.columns, map(list, values), strict=True)))


@dataclass(frozen=True, slots=True)
class Table(Tabular):
    """Named columns and rows of plain values, as a query returns them.

    Attributes:
        columns: names, in order.
        rows: a value for each column.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def table(self) -> Table:
        """Return the table itself."""
        return self

    def _repr_html_(self) -> str:
        rows = [["" if value is None else str(value) for value in row] for row in self.rows[:_MOST_ROWS]]
        more = len(self.rows) - len(rows)
        return html_table(self.columns, rows, notes=[f"{more} more rows"] if more else [])


def html_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    notes: Iterable[str] = (),
    styles: Iterable[Sequence[str]] = (),
) -> str:
    """Return an HTML table for a notebook; every text is escaped, and its lines stay lines.

    Args:
        columns: headings.
        rows: texts.
        title: above the table.
        notes: lines below it.
        styles: for each row a style of each text: ``good``, ``bad``, ``dim`` or nothing; without, all are plain.
    """
    head = "".join(f"<th style='text-align:left'>{_text(column)}</th>" for column in columns)
    looks = list(styles)
    body = ""
    for number, row in enumerate(rows):
        look = looks[number] if looks else [""] * len(row)
        cells = zip(row, look, strict=True)
        body += f"<tr>{''.join(_cell(text, style) for text, style in cells)}</tr>"
    caption = f"<p><b>{_text(title)}</b></p>" if title else ""
    below = "".join(f"<div style='{_STYLES['note']}'>{_text(note)}</div>" for note in notes)
    return f"<div>{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"


def _cell(text: str, style: str) -> str:
    return f"<td style='text-align:left;{_STYLES.get(style, '')}'>{_text(text)}</td>"


def _text(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _import(package: str) -> Any:  # noqa: ANN401 - a module
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(f"{package} is not installed: pip install {package}", code="package-missing") from error
