"""Engines under load in the terminal: throughput and latencies by load, knees, and where one overtakes another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.text import Text

from ...collate.comparison.result import BreakEven, Comparison, Estimate, LoadCurve, LoadPoint
from ...core.foreign_text import printable
from ...core.records.metrics import METRICS
from ..drawing.numbers import counted, digits, tick, with_interval
from .fitting import FittingTable

_AXES = {"concurrency": "in flight", "request_rate": "requests/s"}
_HEADS = {"concurrency": "in\nflight", "request_rate": "asked\nreq/s"}
_HEADINGS = {
    "requests_per_s": "done\nreq/s",
    "goodput_requests_per_s": "good\nreq/s",
    "tpot_mean_s": "per\ntoken",
    "ttft_s": "first\ntoken",
    "ttft_p99_s": "first\np99",
    "itl_p99_s": "step\np99",
    "queue_s": "queue",
}


def load_view(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield a table of every cell under its load, and what follows from it; nothing where no cell has a load."""
    for axis, heading in _HEADS.items():
        curves = [curve for curve in comparison.load_curves if curve.axis == axis]
        if curves:
            yield _table(curves, heading)
    if comparison.load_curves:
        yield Text(
            "output tokens of all requests together; done, good: requests answered, and within the service level; per "
            "token, first, step: time per output token, to the first token, between steps (99th percentiles)",
            style="dim",
        )
    yield from (Text(line, style="dim") for line in load_lines(comparison))


def load_lines(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each knee and each break-even."""
    for curve in comparison.load_curves:
        if len(curve.points) > 1:
            yield f"{printable(curve.name)}: {_knee(curve)}"
    for found in comparison.break_evens:
        yield _break_even(found)


def _table(curves: Sequence[LoadCurve], label: str) -> FittingTable:
    points = [point for curve in curves for point in curve.points]
    shown = [name for name in _HEADINGS if any(name in point.figures for point in points)]
    table = FittingTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
    table.add_column("under load", overflow="fold", min_width=8)
    for heading in (label, "output\ntokens/s", *(_HEADINGS[name] for name in shown)):
        table.add_column(heading, justify="right", no_wrap=True)
    for curve in curves:
        for number, point in enumerate(curve.points):
            name = "" if number else printable(curve.name)
            mark = " *" if point.load == curve.knee else ""
            table.add_row(Text(name), f"{tick(point.load)}{mark}", *_values(point, shown))
    return table


def _values(point: LoadPoint, shown: Iterable[str]) -> Iterator[str]:
    yield "\n".join(part for part in with_interval(point.tokens_per_s, "tokens/s") if part)
    for name in shown:
        yield with_interval(point.figures.get(name, Estimate(value=None)), METRICS[name].unit)[0]


def _knee(curve: LoadCurve) -> str:
    empty = [point.load for point in curve.points if (point.tokens_per_s.value or 0.0) <= 0]
    without = f"; no throughput at {_listed(empty)}" if empty else ""
    if curve.knee is not None:
        knee = f"{tick(curve.knee)} {_AXES[curve.axis]}"
        what = f"knee at {knee} (*): beyond it throughput rises by less than 10 % per doubling"
    elif curve.is_rising:
        last = max(point.load for point in curve.points if point.load not in empty)
        which = "the highest load with any" if empty else "the highest load"
        what = f"throughput still rises by 10 % per doubling at {which}, {tick(last)}"
    else:
        loads = [point.load for point in curve.points]
        reason = (
            "several cells have the same load" if len(set(loads)) < len(loads) else "one load at most has throughput"
        )
        what = f"no knee known: {reason}"
    return what + without


def _break_even(found: BreakEven) -> str:
    curve, base, what = printable(found.curve), printable(found.baseline), _AXES[found.axis]
    skipped = f"; rounds without throughput are left out at {_listed(found.skipped)}" if found.skipped else ""
    if found.at is None:
        return _apart(found, curve, base, what) + skipped
    does = "overtakes" if found.rises else "falls behind"
    if found.n < 2:
        return f"{curve} {does} {base} at about {digits(found.at)} {what}; one round has no interval{skipped}"
    low = "below the lowest" if found.low is None else digits(found.low)
    high = "beyond the highest" if found.high is None else digits(found.high)
    around = f"95 % interval {low} to {high}, n = {counted(found.n, 'round')}"
    line = f"{curve} {does} {base} at {digits(found.at)} {what} ({around})"
    never = "; at no load can they be distinguished" if not found.faster and not found.slower else ""
    return line + never + skipped


def _apart(found: BreakEven, curve: str, base: str, what: str) -> str:
    """Say how curves stand that do not cross, as the interval at each load has it."""
    if found.n < 2:
        has = {True: "more throughput than", False: "less throughput than", None: "about the throughput of"}[
            found.rises
        ]
        return f"{curve} has {has} {base} at every load measured; one round has no interval"
    rounds = f"(95 % intervals, n = {counted(found.n, 'round')})"
    if not found.faster and not found.slower:
        return f"at no load can {curve} and {base} be distinguished {rounds}"
    if not found.unclear and not (found.faster and found.slower):
        return (
            f"{curve} has {'more' if found.faster else 'less'} throughput than {base} at every load measured {rounds}"
        )
    parts = [
        f"{how} {base} at {_listed(loads)}"
        for how, loads in (("more throughput than", found.faster), ("less throughput than", found.slower))
        if loads
    ]
    unclear = f"; at {_listed(found.unclear)} they cannot be distinguished" if found.unclear else ""
    return f"{curve} has {' and '.join(parts)} {what}{unclear} {rounds}"


def _listed(loads: Iterable[float]) -> str:
    return ", ".join(map(tick, loads))
