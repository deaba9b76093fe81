"""A comparison in the terminal: tables and bars that stay readable at 80 columns, in a pipe and without colour."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from textwrap import fill

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...collate.comparison.result import Accuracy, Comparison, ComparisonRow, Divergence, Estimate, Parity
from ...collate.parity.matrix import ParityMatrix, ParityRow
from ...core.foreign_text import printable
from ...core.records.metrics import METRICS
from ..drawing.numbers import (
    by_unit,
    digits,
    divergence_text,
    on_two_lines,
    percent,
    ratio_parts,
    share,
    with_interval,
)
from ..drawing.series import name_few
from .captions import about_intervals
from .load import load_view
from .sparkline import LEAST_SPAN, Courses, sparkline

_VERDICT_STYLE = {"faster": "green", "slower": "red", "not comparable": "yellow"}
_PARITY_STYLE = {"identical": "green", "ties only": "green", "differs": "yellow"}
_DETAILS = (
    "ttft_s", "prefill_tokens_per_s", "e2e_tokens_per_s", "load_s", "peak_rss_bytes", "peak_device_bytes", "energy_j",
)  # fmt: skip
_BAR_WIDTH = 24
_HEADING_WIDTH = 13  # so that the tables take no more room than their figures need
_MOST_NOTES = 12


def comparison_view(comparison: Comparison) -> RenderableType:
    """Return the comparison as tables with what one must know to read them."""
    tables = (_table(comparison), *_pass_at_k(comparison), _details(comparison), *load_view(comparison))
    return Group(*_headline(comparison), *tables, *_notes(comparison))


def show_view(comparison: Comparison, courses: Courses, *, has_unicode: bool | None = None) -> RenderableType:
    """Return the comparison as bars with their intervals and courses, and the tables below them.

    Args:
        comparison: what is shown.
        courses: of its cells, see ``viz.sparkline``.
        has_unicode: whether blocks can be printed; by default what standard output can encode.
    """
    chosen = _is_unicode() if has_unicode is None else has_unicode
    return Group(*_bars(comparison, courses, has_unicode=chosen), comparison_view(comparison))


def parity_view(matrix: ParityMatrix) -> RenderableType:
    """Return the cells of ``decodebench parity`` as a table with what one must know to read it."""
    table = _empty_table()
    for column in ("bits", "same\noutputs", "same\ntokens", "KL\nnats", "max |Δ\nlog p|", "perp-\nlexity"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=10)
    for row in matrix.rows:
        table.add_row(
            _plain(row.cell.label),
            "n/a" if row.cell.bits_per_weight is None else f"{row.cell.bits_per_weight:.3g}",
            f"{row.identical}/{row.compared}" if row.compared else "n/a",
            "n/a" if row.tokens_identical is None else percent(row.tokens_identical),
            divergence_text(row.kl_mean, is_exact=row.kl_is_exact),
            divergence_text(row.max_logprob_diff),
            "n/a" if row.perplexity is None else digits(row.perplexity, 5),
            Text(row.verdict, style=_PARITY_STYLE.get(row.verdict, "")),
        )
    title = Text.assemble("\n", (matrix.experiment, "bold"), f": parity with {matrix.reference}")
    return Group(title, table, *_parity_notes(matrix))


def _empty_table() -> Table:
    """Return a table whose first column has the cells."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("cell", overflow="fold", min_width=12)
    return table


def _plain(name: str) -> Text:
    """Return a name from a log as text, whose brackets are no markup."""
    return Text(printable(name))


def _parity_notes(matrix: ParityMatrix) -> Iterator[RenderableType]:
    kinds = {row.kl_is_exact for row in matrix.rows}
    over = [name for name, kind in (("exact", True), ("≥: lower bound, top 64 + tail", False)) if kind in kinds]
    texts = sorted({row.perplexity_text for row in matrix.rows if row.perplexity_text})
    text = f"; perplexity on the {' and '.join(texts)}" if texts else ""
    yield Text(
        "same tokens: share before the first divergence; KL(reference || cell) of the next-token distribution, mean "
        f"over the reference's outputs ({', '.join(over) or 'not scored'}){text}",
        style="dim",
    )
    for row in matrix.rows:
        yield from (Text(f"{row.cell.label}: {line}", style="dim") for line in _parity_remarks(row))


def _parity_remarks(row: ParityRow) -> Iterator[str]:
    if row.reason:
        yield row.reason
    if row.divergences:
        yield _divergence(row.divergences[0])


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


def _headline(comparison: Comparison) -> Iterator[RenderableType]:
    label = METRICS[comparison.metric].label
    yield Text.assemble("\n", (comparison.experiment, "bold"), f": {label} against {comparison.baseline}")


def _table(comparison: Comparison) -> Table:
    metric = METRICS[comparison.metric]
    table = _empty_table()
    table.add_column(f"{_short(metric.label)}\n{metric.unit}", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("verdict", min_width=10, max_width=11)
    table.add_column("same\ntokens", min_width=9)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for row in comparison.rows:
        value = with_interval(row.metrics.get(comparison.metric, Estimate(value=None)), metric.unit)
        is_baseline = row.verdict == "baseline"
        table.add_row(
            _plain(row.cell.label),
            "\n".join(part for part in value if part),
            "" if is_baseline else "\n".join(ratio_parts(row, comparison.comparisons)),
            Text(_verdict(row), style=_VERDICT_STYLE.get(row.verdict, "")),
            Text(_parity(row.parity), style=_PARITY_STYLE.get(row.parity.verdict, "")),
            _accuracy(row.accuracy),
            str(row.rounds),
        )
    return table


def _short(label: str) -> str:
    return label.split(" ")[0]


def _verdict(row: ComparisonRow) -> str:
    return f"{row.verdict}\n{row.failed} failed" if row.failed else row.verdict


def _parity(parity: Parity) -> str:
    match parity.verdict:
        case "differs" | "ties only" | "identical":
            return f"{parity.verdict}\n{parity.identical}/{parity.compared}"
        case "baseline":
            return ""
        case _:
            return "n/a"


def _accuracy(accuracy: Accuracy | None) -> str:
    return _share(accuracy.value) if accuracy else ""


def _share(estimate: Estimate) -> str:
    return on_two_lines(share(estimate))


def _pass_at_k(comparison: Comparison) -> Iterator[Table]:
    """Return a column for each k where problems were answered several times, else nothing."""
    found = {row.cell.label: row.accuracy.pass_at_k for row in comparison.rows if row.accuracy}
    ks = sorted({k for estimates in found.values() for k in estimates})
    if not ks:
        return
    table = _empty_table()
    for k in ks:
        table.add_column(f"pass@{k}", justify="right", no_wrap=True)
    for label, estimates in found.items():
        table.add_row(_plain(label), *(_share(estimates[k]) if k in estimates else "n/a" for k in ks))
    yield table


def _details(comparison: Comparison) -> Table:
    shown = [name for name in _DETAILS if any(_has(row, name) for row in comparison.rows)]
    table = _empty_table()
    for name in shown:
        unit = METRICS[name].unit
        label = fill(METRICS[name].label, _HEADING_WIDTH)
        table.add_column(label + ("" if unit in ("s", "bytes") else f"\n{unit}"), justify="right")
    for row in comparison.rows:
        told = {name: row.metrics.get(name, Estimate(value=None)) for name in shown}
        values = (with_interval(value, METRICS[name].unit)[0] for name, value in told.items())
        table.add_row(_plain(row.cell.label), *values)
    return table


def _has(row: ComparisonRow, name: str) -> bool:
    return name in row.metrics and row.metrics[name].value is not None


def _notes(comparison: Comparison) -> Iterator[RenderableType]:
    yield from (Text(line, style="dim") for line in about_intervals(comparison))
    unlike: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.parity.divergences:
            yield Text(f"{row.cell.label}: {_divergence(row.parity.divergences[0])}", style="dim")
        elif row.parity.reason and row.parity.verdict == "not comparable":
            unlike.setdefault(row.parity.reason, []).append(row.cell.label)
    for reason, names in unlike.items():
        yield Text(f"{name_few(names)}: tokens not comparable: {reason}", style="yellow")
    for row in comparison.rows:
        if row.accuracy is not None and (text := _accuracy_difference(row.accuracy, comparison.baseline)):
            style = "yellow" if row.accuracy.verdict == "lower" else "dim"
            yield Text(f"{row.cell.label}: {text}", style=style)
    yield from _few([f"warning: {text}" for text in comparison.warnings])
    yield from _few([f"finding ({found.severity}): {found}" for found in comparison.findings])


def _few(lines: Sequence[str]) -> Iterator[RenderableType]:
    yield from (Text(line, style="yellow") for line in lines[:_MOST_NOTES])
    if len(lines) > _MOST_NOTES:
        yield Text(f"{len(lines) - _MOST_NOTES} more, in --json", style="yellow")


def _divergence(divergence: Divergence) -> str:
    text = f"first parts at output token {divergence.position} of {divergence.sample_id}"
    if divergence.logprob_gap is None:
        return text
    kind = "a tie" if divergence.is_tie else "no tie"
    return f"{text}, log-probability gap {divergence.logprob_gap:.2g} in the baseline's eyes ({kind})"


def _accuracy_difference(accuracy: Accuracy, baseline: str) -> str:
    """Say how far a cell's accuracy is from the baseline's; empty where both had the same answers right."""
    difference = accuracy.difference
    if difference is None or not difference.value:
        return ""
    text = f"accuracy {100 * difference.value:+.1f} points"
    if difference.low is not None and difference.high is not None:
        text += f" [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
    told = "" if accuracy.p_value is None else f", p = {accuracy.p_value:.2g}: {accuracy.verdict}"
    return f"{text} against {baseline} on {difference.n} problems{told}" if difference.n else text + told


def _bars(comparison: Comparison, courses: Courses, *, has_unicode: bool) -> Iterator[RenderableType]:
    """Draw one bar per cell from zero, its interval as a line at the end, and its course beside it."""
    metric = METRICS[comparison.metric]
    estimates = [row.metrics.get(comparison.metric) for row in comparison.rows]
    ends = [e.high or e.value or 0.0 for e in estimates if e is not None]
    longest = max(ends, default=0.0) or 1.0
    full, line = ("█", "─") if has_unicode else ("#", "-")
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(overflow="fold", min_width=14)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for row, estimate in zip(comparison.rows, estimates, strict=True):
        if estimate is None or estimate.value is None:
            table.add_row(_plain(row.cell.label), Text("not measured", style="dim"), "", "")
            continue
        certain = round(_BAR_WIDTH * (estimate.low if estimate.low is not None else estimate.value) / longest)
        reach = round(_BAR_WIDTH * (estimate.high if estimate.high is not None else estimate.value) / longest)
        bar = full * max(certain, 0) + line * max(reach - max(certain, 0), 0)
        course = sparkline(courses.values.get(row.cell.cell_id, []), has_unicode=has_unicode)
        table.add_row(_plain(row.cell.label), bar, _rate(estimate.value, metric.unit), course)
    yield table
    if any(len(values) > 1 for values in courses.values.values()):
        what = "round by round" if courses.over == "rounds" else "decode speed from an answer's second step to its last"
        levels = "" if has_unicode else " (1 lowest, 7 highest)"
        yield Text(f"right: {what}{levels}; full height is at least {percent(LEAST_SPAN)}", style="dim")


def _rate(value: float, unit: str) -> str:
    """Return a value with its unit once: seconds and bytes already have theirs."""
    text = by_unit(value, unit)
    return text if unit in ("s", "bytes", "1") else f"{text} {unit}"
