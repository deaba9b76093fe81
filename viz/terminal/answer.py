"""The answer in the terminal: a row for each cell, the best first, with bar, ratio, same text and accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ...collate.comparison.result import Comparison, ComparisonRow, Estimate, Parity
from ...core.foreign_text import printable
from ...core.records.metrics import METRICS
from ..drawing.numbers import by_unit, interval, share
from .fitting import block

MARKS = {"equivalent": "=", "no difference shown": "?"}
"""Behind a ratio whose interval alone does not tell the verdict; the others are read off it."""

_VERDICT_STYLE = {"faster": "green", "slower": "red", "baseline": "bold"}
_PARITY_STYLE = {"identical": "green", "ties only": "green", "differs": "yellow"}
_SHORTEST_BAR, _LONGEST_BAR = 6, 24
_LONGEST_WORD = 10  # of a heading's line
_BLOCKS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """The table; it takes the width that it is given and leaves no column out: in too narrow a one, cells are blocks.

    Attributes:
        comparison: what is shown.
        has_unicode: whether bars can be drawn in eighths of a column.
    """

    comparison: Comparison
    has_unicode: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table for the console's width; names that do not fit in two lines stand below, by their rank."""
        rows = sort_rows(self.comparison)
        columns = _columns(self.comparison, rows)
        labels = [printable(row.cell.label) for row in rows]
        taken = sum(1 + _width([heading, *texts]) for heading, texts in columns)
        free = options.max_width - taken - 1
        if free < 2 * _SHORTEST_BAR:
            yield from self._blocks(rows, labels, columns)
            return
        has_ranks = max(map(len, labels), default=0) > 2 * (free - _SHORTEST_BAR)
        names = [str(rank) for rank in range(1, len(rows) + 1)] if has_ranks else labels
        longest = _width(["cell", *names])
        has_air = free - longest - len(columns) - 1 >= 2 * _SHORTEST_BAR
        free -= len(columns) + 1 if has_air else 0
        name_width = min(longest, free - _SHORTEST_BAR)
        bar_width = min(free - name_width, _LONGEST_BAR)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1 if has_air else 0, 0, 0))
        table.add_column("cell", overflow="fold", width=name_width)
        bars = _bars([_speed(row, self.comparison.metric) for row in rows], bar_width, has_unicode=self.has_unicode)
        for number, (heading, _) in enumerate(columns):
            table.add_column(heading, justify="right" if number == 0 else "left", no_wrap=True)
            if number == 0:
                table.add_column("", no_wrap=True, width=bar_width)
        for name, row, bar, texts in zip(names, rows, bars, zip(*(c[1] for c in columns), strict=True), strict=True):
            value, *others = _styled(row, texts)
            table.add_row(Text(name), value, Text(bar), *others)
        yield table
        if has_ranks:
            yield from (Text(f"cell {rank}: {label}") for rank, label in zip(names, labels, strict=True))

    def _blocks(
        self, rows: Sequence[ComparisonRow], labels: Sequence[str], columns: Sequence[tuple[str, list[str]]]
    ) -> Iterator[Text]:
        headings = [heading for heading, _ in columns]
        for label, row, texts in zip(labels, rows, zip(*(c[1] for c in columns), strict=True), strict=True):
            yield from block(label, zip(headings, _styled(row, texts), strict=True))


def sort_rows(comparison: Comparison) -> list[ComparisonRow]:
    """Return the rows by the comparison's metric, the best first; those without a value come last."""
    falls = is_falling(comparison.metric)

    def place(row: ComparisonRow) -> tuple[bool, float]:
        value = _speed(row, comparison.metric)
        return value is None, (-value if falls else value) if value is not None else 0.0

    return sorted(comparison.rows, key=place)


def is_falling(metric: str) -> bool:
    """Whether the largest value of a metric comes first, as it does where neither end is the better one."""
    return METRICS[metric].higher_is_better is not False


def metric_heading(name: str) -> str:
    """Return a metric's name above its column, in short lines, with its unit where values do not have theirs."""
    metric = METRICS[name]
    unit = "" if metric.unit in ("s", "bytes", "1") else f"\n{metric.unit}"
    return fill(metric.label.removesuffix(" speed"), _LONGEST_WORD) + unit


def ratio_text(row: ComparisonRow, comparisons: int) -> str:
    """Return a row's ratio with the interval that its verdict is read off, and a mark where that needs one."""
    if row.verdict == "baseline":
        return "baseline"
    value = row.ratio_simultaneous if comparisons > 1 else row.ratio
    text = " ".join(part for part in interval(row.ratio.model_copy(update=_ends(value))) if part)
    return f"{text} {MARKS[row.verdict]}" if row.verdict in MARKS else text


def parity_text(parity: Parity) -> str:
    """Return how many answers of a cell are those of the baseline, of those that both have."""
    match parity.verdict:
        case "identical" | "differs":
            return f"{parity.identical:,}/{parity.compared:,}"
        case "ties only":
            return f"{parity.identical:,}/{parity.compared:,} ties"
        case "baseline":
            return ""
        case _:
            return "n/a"


def accuracy_text(row: ComparisonRow) -> str:
    """Return a cell's accuracy with its interval; ``n/a`` where it was not scored."""
    return " ".join(part for part in share(row.accuracy.value) if part) or "n/a" if row.accuracy else "n/a"


def _ends(estimate: Estimate) -> dict[str, float | None]:
    return {"low": estimate.low, "high": estimate.high}


def _columns(comparison: Comparison, rows: Sequence[ComparisonRow]) -> list[tuple[str, list[str]]]:
    """Return heading and texts of every column but name and bar; of rounds and accuracy only where they say something.

    Rounds are in the headline where all cells have as many, and a caption says that nothing was scored.
    """
    metric = METRICS[comparison.metric]
    values = [_speed(row, metric.name) for row in rows]
    columns = [
        (metric_heading(metric.name), ["n/a" if value is None else by_unit(value, metric.unit) for value in values]),
        ("ratio\n[95 %]", [ratio_text(row, comparison.comparisons) for row in rows]),
        ("same\ntext", [parity_text(row.parity) for row in rows]),
    ]
    if any(row.accuracy for row in rows):
        columns.append(("accuracy\n[95 %]", [accuracy_text(row) for row in rows]))
    if len({row.rounds for row in rows}) > 1:
        columns.append(("n", [str(row.rounds) for row in rows]))
    return columns


def _styled(row: ComparisonRow, texts: Sequence[str]) -> list[Text]:
    value, ratio, parity, *others = map(printable, texts)
    return [
        Text(value),
        Text(ratio, style=_VERDICT_STYLE.get(row.verdict, "")),
        Text(parity, style=_PARITY_STYLE.get(row.parity.verdict, "")),
        *map(Text, others),
    ]


def _bars(values: Sequence[float | None], width: int, *, has_unicode: bool) -> list[str]:
    """Draw each value from zero, the largest as wide as there is room."""
    largest = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    lengths = [0.0 if value is None else width * abs(value) / largest for value in values]
    if not has_unicode:
        return ["#" * round(length) for length in lengths]
    eighths = [round(8 * length) for length in lengths]
    return [_BLOCKS[8] * (n // 8) + (_BLOCKS[n % 8] if n % 8 else "") for n in eighths]


def _speed(row: ComparisonRow, metric: str) -> float | None:
    return row.metrics[metric].value if metric in row.metrics else None


def _width(texts: Sequence[str]) -> int:
    return max(len(line) for text in texts for line in text.split("\n"))
