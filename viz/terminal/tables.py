"""A comparison in the terminal: the answer first, then what one must know to read it, readable at 80 columns."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.text import Text

from ...collate.comparison.result import Accuracy, Comparison, ComparisonRow, Estimate
from ...core.errors import plural
from ...core.foreign_text import printable
from ...core.records.metrics import METRICS
from ..drawing.numbers import on_two_lines, percent, share, with_interval
from ..drawing.series import name_few
from .answer import AnswerTable, metric_heading, sort_rows
from .captions import about_intervals, headline
from .fitting import FittingTable
from .load import load_view
from .parity import describe_divergence
from .sparkline import LEAST_SPAN, Courses, sparkline

_DETAILS = ("ttft_s", "e2e_s", "prefill_tokens_per_s", "load_s", "peak_rss_bytes", "peak_device_bytes", "energy_j")
_MOST_NOTES = 6  # of each kind


def comparison_view(comparison: Comparison, *, has_unicode: bool | None = None) -> RenderableType:
    """Return the comparison as one table with what one must know to read it.

    Args:
        comparison: what is shown.
        has_unicode: whether blocks can be printed; by default what standard output can encode.
    """
    tables = (*_answer(comparison, has_unicode), *_pass_at_k(comparison), *load_view(comparison))
    return Group(*tables, *_notes(comparison), *_elsewhere(comparison))


def show_view(comparison: Comparison, courses: Courses, *, has_unicode: bool | None = None) -> RenderableType:
    """Return the comparison with a second table: course, latency, prefill, load time, memory and energy of each cell.

    Args:
        comparison: what is shown.
        courses: of its cells, see ``viz.sparkline``.
        has_unicode: whether blocks can be printed; by default what standard output can encode.
    """
    details = _details(comparison, courses, has_unicode=_is_unicode() if has_unicode is None else has_unicode)
    tables = (*_answer(comparison, has_unicode), *details, *_pass_at_k(comparison), *load_view(comparison))
    return Group(*tables, *_notes(comparison), *_differences(comparison))


def _answer(comparison: Comparison, has_unicode: bool | None) -> Iterator[RenderableType]:
    yield Text.assemble("\n", (printable(comparison.experiment), "bold"), f": {printable(headline(comparison))}")
    yield AnswerTable(comparison, _is_unicode() if has_unicode is None else has_unicode)


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


def _empty_table() -> FittingTable:
    """Return a table whose first column has the cells."""
    table = FittingTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("cell", overflow="fold", min_width=12)
    return table


def _plain(name: str) -> Text:
    """Return a name from a log as text, whose brackets are no markup."""
    return Text(printable(name))


def _pass_at_k(comparison: Comparison) -> Iterator[FittingTable]:
    """Return a column for each k where problems were answered several times, else nothing."""
    found = {row.cell.label: row.accuracy.pass_at_k for row in sort_rows(comparison) if row.accuracy}
    ks = sorted({k for estimates in found.values() for k in estimates})
    if not ks:
        return
    table = _empty_table()
    for k in ks:
        table.add_column(f"pass@{k}", justify="right", no_wrap=True)
    for label, estimates in found.items():
        shown = (on_two_lines(share(estimates[k])) if k in estimates else "n/a" for k in ks)
        table.add_row(_plain(label), *shown)
    yield table


def _details(comparison: Comparison, courses: Courses, *, has_unicode: bool) -> Iterator[RenderableType]:
    rows = sort_rows(comparison)
    shown = [name for name in _DETAILS if any(_has(row, name) for row in rows)]
    table = _empty_table()
    has_courses = any(len(values) > 1 for values in courses.values.values())
    if has_courses:
        table.add_column("course", no_wrap=True)
    for name in shown:
        table.add_column(metric_heading(name), justify="right", no_wrap=True)
    for row in rows:
        course = sparkline(courses.values.get(row.cell.cell_id, []), has_unicode=has_unicode)
        estimates = [(row.metrics.get(name, Estimate(value=None)), METRICS[name].unit) for name in shown]
        values = (with_interval(estimate, unit)[0] for estimate, unit in estimates)
        table.add_row(_plain(row.cell.label), *([course] if has_courses else []), *values)
    if shown or has_courses:
        yield table
    if has_courses:
        what = "round by round" if courses.over == "rounds" else "decode speed from an answer's second step to its last"
        levels = "" if has_unicode else " (1 lowest, 7 highest)"
        yield Text(f"course: {what}{levels}; full height is at least {percent(LEAST_SPAN)}", style="dim")


def _has(row: ComparisonRow, name: str) -> bool:
    return name in row.metrics and row.metrics[name].value is not None


def _notes(comparison: Comparison) -> Iterator[RenderableType]:
    yield from (Text(line, style="dim") for line in about_intervals(comparison))
    yield from _few(_failures(comparison), "failed cells")
    yield from _few(list(_unlike(comparison)), "reasons")
    apart = [row for row in comparison.rows if row.parity.verdict == "differs" and row.parity.divergences]
    first = [f"{row.cell.label}: {describe_divergence(row.parity.divergences[0])}" for row in apart]
    yield from _few(first, "divergences", "dim")
    lower = [row for row in comparison.rows if row.accuracy and row.accuracy.verdict == "lower"]
    yield from _few(list(_accuracy_differences(lower)), "cells of lower accuracy")
    yield from _few([f"warning: {text}" for text in comparison.warnings], "warnings")
    yield from _few([found.line for found in comparison.findings], "findings")


def _failures(comparison: Comparison) -> list[str]:
    return [
        f"{row.cell.label}: {row.failed} of {plural(row.failed + row.rounds, 'round')} failed"
        for row in comparison.rows
        if row.failed
    ]


def _unlike(comparison: Comparison) -> Iterator[str]:
    """Yield why tokens are not comparable, each reason once."""
    reasons: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.parity.reason and row.parity.verdict == "not comparable":
            reasons.setdefault(row.parity.reason, []).append(row.cell.label)
    for reason, names in reasons.items():
        yield f"{name_few(names)}: text not comparable: {reason}"


def _differences(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the differences of accuracy that are not shown as ``lower`` already."""
    others = [row for row in comparison.rows if row.accuracy and row.accuracy.verdict != "lower"]
    yield from (Text(line, style="dim") for line in _accuracy_differences(others))


def _accuracy_differences(rows: Iterable[ComparisonRow]) -> Iterator[str]:
    for row in rows:
        if row.accuracy is not None and (text := _accuracy_difference(row.accuracy, row.baseline)):
            yield f"{row.cell.label}: {text}"


def _accuracy_difference(accuracy: Accuracy, baseline: str) -> str:
    """Say how far a cell's accuracy is from the baseline's; empty where both had the same answers right."""
    difference = accuracy.difference
    if difference is None or not difference.value:
        return ""
    text = f"accuracy {100 * difference.value:+.1f} points"
    if difference.low is not None and difference.high is not None:
        text += f" [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
    told = "" if accuracy.p_value is None else f", p = {accuracy.p_value:.2g}: {accuracy.verdict}"
    return f"{text} against {baseline} on {plural(difference.n, 'problem')}{told}" if difference.n else text + told


def _few(lines: Sequence[str], kind: str, style: str = "yellow") -> Iterator[RenderableType]:
    yield from (Text(printable(line), style=style) for line in lines[:_MOST_NOTES])
    if len(lines) > _MOST_NOTES:
        yield Text(f"{len(lines) - _MOST_NOTES} more {kind}, in --json", style=style)


def _elsewhere(comparison: Comparison) -> Iterator[RenderableType]:
    """Say what is measured and not in this table."""
    names = [METRICS[name].label for name in _DETAILS if any(_has(row, name) for row in comparison.rows)]
    if names:
        listed = ", ".join(name[0].lower() + name[1:] for name in names)
        yield Text(f"decodebench show: {listed}", style="dim")
