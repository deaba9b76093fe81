"""What must be known to read a comparison: what n counts, what intervals speak of, how they were corrected."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...collate.comparison.result import Comparison
from ..drawing.numbers import percent
from ..drawing.series import name_few

_SPEAKS_OF = {"rounds": "for these prompts", "prompts": "for other prompts of their kind too"}


def about_intervals(comparison: Comparison) -> Iterator[str]:
    """Yield a line for each thing to know, those alone that this comparison needs."""
    rows = comparison.rows
    shared = [row.cell.label for row in rows if row.is_one_server]
    each = "" if len(shared) == len(rows) else " each in a process of its own,"
    yield (
        f"ratio: above 1 is better than {comparison.baseline}; means are geometric; 95 % intervals over n rounds,"
        f"{each} {_SPEAKS_OF[comparison.over]}; differences below {percent(comparison.min_effect)} count as equivalent"
    )
    if shared:
        which = "rounds" if len(shared) == len(rows) else f"rounds of {name_few(shared)}"
        yield f"{which} share a server process: these intervals say nothing of other starts of it (--restart-server)"
    if comparison.comparisons > 1:
        yield (
            f"*: intervals that hold for all {comparison.comparisons} comparisons at once with 95 % confidence, "
            f"{comparison.correction}; verdicts follow them"
        )
    if comparison.max_rounds is not None:
        yield (
            f"looked at after each round, {comparison.max_rounds} at most: intervals hold for all looks together "
            "(alpha spending, Lan and DeMets 1983), and are wider for it the fewer rounds there are"
        )
    if any(row.ratio.n == 2 and row.ratio.low is not None for row in rows):
        yield "two rounds: their intervals are of little use; measure five and more"
    if any(row.verdict == "not tested" for row in rows):
        yield "not tested: one round has no interval"
    needed = {row.rounds_needed for row in rows if row.verdict == "no difference shown" and row.rounds_needed}
    if needed:
        yield (
            f"no difference shown: about {_span(needed)} rounds, by the ratios' own scatter, would narrow a 95 % "
            f"interval down to {percent(comparison.min_effect)}"
        )
    problems = {row.accuracy.value.n for row in rows if row.accuracy and row.accuracy.value.n}
    if problems:
        yield f"accuracy: its 95 % interval is over n = {_span(problems)} problems, each counted once"


def _span(counts: Collection[int]) -> str:
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
