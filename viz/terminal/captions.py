"""What must be known to read a comparison: what n counts, what intervals speak of, how they were corrected."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...collate.comparison.result import Comparison
from ...core.errors import plural
from ...core.records.metrics import METRICS
from ..drawing.numbers import counted, percent
from ..drawing.series import name_few

_OVER = {"rounds": "rounds with these prompts", "prompts": "rounds and over prompts of this kind"}


def unmeasured_text(comparison: Comparison) -> str:
    """Return that there is nothing to compare, where no cell or only one has a finished round; else nothing."""
    rows = comparison.rows
    measured = [row.cell.label for row in rows if row.rounds]
    if len(measured) > 1 or len(measured) == len(rows):
        return ""
    failed = f"{sum(not row.rounds for row in rows)} of {plural(len(rows), 'cell')} failed"
    return f"only {measured[0]} was measured: {failed}" if measured else f"nothing was measured: {failed}"


def headline(comparison: Comparison) -> str:
    """Return what is compared with what, over how many rounds."""
    if text := unmeasured_text(comparison):
        return text
    rounds = {row.rounds for row in comparison.rows}
    label = METRICS[comparison.metric].label
    over = f", n = {plural(rounds.pop(), 'round')}" if len(rounds) == 1 else ", n: rounds"
    return f"{label[0].lower()}{label[1:]}, ratio to {baseline_text(comparison)}{over}"


def baseline_text(comparison: Comparison) -> str:
    """Return what a ratio is relative to: the baseline's label, or words where each group of cells has its own."""
    return "the baseline of its group" if comparison.has_groups else comparison.baseline


def _about_groups(comparison: Comparison) -> Iterator[str]:
    """Say which cells each baseline stands for, where there are several."""
    groups: dict[str, list[str]] = {}
    for row in comparison.rows if comparison.has_groups else ():
        groups.setdefault(row.baseline, []).extend([] if row.verdict == "baseline" else [row.cell.label])
    yield from (f"relative to {base}: {name_few(names)}" for base, names in groups.items() if names)


def about_intervals(comparison: Comparison) -> Iterator[str]:
    """Yield a line for each thing to know, those alone that this comparison needs."""
    rows = comparison.rows
    yield _about_ratio(comparison)
    yield from _about_groups(comparison)
    yield from _about_marks(comparison)
    shared = [row.cell.label for row in rows if row.is_one_server]
    if shared:
        which = "rounds" if len(shared) == len(rows) else f"rounds of {name_few(shared)}"
        yield f"{which} share a server process: the intervals say nothing about other starts of it (--restart-server)"
    if comparison.max_rounds is not None:
        yield (
            f"intervals allow for a look after each round, {comparison.max_rounds} at most (alpha spending, Lan and "
            "DeMets 1983); they are wider the fewer rounds there are"
        )
    if any(row.ratio.n == 2 and row.ratio.low is not None for row in rows):
        yield "2 rounds: intervals are very wide; measure at least 5"
    if any(row.verdict == "not tested" for row in rows):
        yield "1 round: no interval, no test"
    if (note := _about_accuracy(comparison)) is not None:
        yield note


def _about_ratio(comparison: Comparison) -> str:
    """Say what ratios and their intervals are."""
    rows = comparison.rows
    parts = ["ratio: above 1 is better"]
    if any(row.ratio.low is not None for row in rows):
        parts.append(f"95 % interval over {_OVER[comparison.over]}")
    if comparison.comparisons > 1:
        parts.append(f"simultaneous over {comparison.comparisons} comparisons: {comparison.correction}")
    return ", ".join(parts)


def _about_marks(comparison: Comparison) -> Iterator[str]:
    """Say what the marks behind ratios mean."""
    if any(row.verdict == "equivalent" for row in comparison.rows):
        yield f"=: equivalent, within {percent(comparison.min_effect)}"
    unclear = [row for row in comparison.rows if row.verdict == "no difference shown"]
    if unclear:
        needed = {row.rounds_needed for row in unclear if row.rounds_needed}
        how = f"; about {_counts(needed, 'round')} would resolve {percent(comparison.min_effect)}" if needed else ""
        yield f"?: no difference shown{how}"


def _about_accuracy(comparison: Comparison) -> str | None:
    scored = [row for row in comparison.rows if row.accuracy]
    if not scored:
        return "accuracy: not scored"
    problems = {row.accuracy.value.n for row in scored if row.accuracy and row.accuracy.value.n}
    return f"accuracy: 95 % interval, n = {_counts(problems, 'problem')}" if problems else None


def _counts(counts: Collection[int], noun: str) -> str:
    return counted(min(counts), noun) if len(counts) == 1 else f"{min(counts):,} to {counted(max(counts), noun)}"
