"""What came out, short enough for the first screen and the first slide: a sentence and three cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import Field

from ...collate.comparison.result import Accuracy, Comparison, ComparisonRow, Divergence, Parity
from ...core.records.metrics import METRICS
from ...core.records.schema import Record
from ..drawing.numbers import counted, interval, percent, ratio_text, with_unit
from ..terminal.captions import unmeasured_text

_COMPARABLE = ("identical", "ties only", "differs")


class Card(Record):
    """One question and its answer."""

    title: str = Field(description="what it is about")
    value: str = Field(description="the answer, a number or two words")
    about: str = Field(description="which cell or cells that is, with its interval")
    detail: str = Field(default="", description="what else one must know of it; may be empty")


def headline(comparison: Comparison) -> str:
    """Say in a sentence what came out; the cards have the intervals."""
    if text := unmeasured_text(comparison):
        return text[0].upper() + text[1:]
    metric, best = METRICS[comparison.metric], leader(comparison)
    label = metric.label.lower()
    if best is not None:
        ratio = ratio_text(best.ratio.value or 0.0)
        if metric.higher_is_better:
            return f"{best.cell.label} has {ratio}× the {label} of {best.baseline}"
        return f"{best.cell.label} has a {ratio}× better {label} than {best.baseline}"
    if is_baseline_best(comparison):
        return f"{comparison.baseline} has the best {label}"
    if len(comparison.rows) > 1:
        return f"No cell shows a better {label} than {_baseline(comparison)}"
    return f"{comparison.rows[0].cell.label}: {_value(comparison.rows[0], comparison.metric)} {label}"


def leader(comparison: Comparison) -> ComparisonRow | None:
    """Return the row with the largest ratio among those that are shown to be better; None where none is."""
    shown = (row for row in comparison.rows if row.verdict == "faster")
    return max(shown, key=lambda row: row.ratio.value or 0.0, default=None)


def is_baseline_best(comparison: Comparison) -> bool:
    """Whether there is one baseline, and every other row is shown to be worse than it."""
    verdicts = Counter(row.verdict for row in comparison.rows)
    return verdicts["baseline"] == 1 and set(verdicts) == {"baseline", "slower"}


def _baseline(comparison: Comparison) -> str:
    return "its baseline" if comparison.has_groups else comparison.baseline


def cards(comparison: Comparison) -> tuple[Card, Card, Card]:
    """Return who is fastest, whether its text is the baseline's, and how often it is right."""
    best = leader(comparison)
    return _fastest(comparison, best), _same_text(comparison, best), _accuracy(comparison, best)


def _card(title: str, value: str, about: str, detail: str = "") -> Card:
    return Card(title=title, value=value, about=about, detail=detail)


def _fastest(comparison: Comparison, best: ComparisonRow | None) -> Card:
    title = METRICS[comparison.metric].label
    if METRICS[comparison.metric].unit == "tokens/s":  # over its own baseline, a slow cell may gain most
        title = "Largest speed-up" if comparison.has_groups else "Fastest"
    others = [row for row in comparison.rows if row.verdict != "baseline"]
    if not others:
        return _card(title, "one cell", "nothing to compare it with", "Measure a second backend or format.")
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in Counter(row.verdict for row in others).items())
    if is_baseline_best(comparison):
        own = next(_value(row, comparison.metric) for row in comparison.rows if row.verdict == "baseline")
        return _card(title, "baseline", f"{comparison.baseline}: {own}", f"{counted(len(others), 'cell')}: {verdicts}")
    if best is None and not any(row.rounds for row in others):
        return _card(title, "unknown", f"{counted(len(others), 'cell')} without a finished round")
    if best is None:
        return _card(title, "none better", f"{counted(len(others), 'cell')}: {verdicts}")
    value, around = interval(best.ratio_simultaneous)
    detail = f"{_value(best, comparison.metric)}, {counted(best.rounds, 'round')}"
    over = f" compared with {best.baseline}" if comparison.has_groups else ""
    together = f"; of {counted(len(others), 'cell')}: {verdicts}" if len(others) > 1 else ""
    return _card(title, f"{value}×", f"{around} {best.cell.label}{over}".strip(), detail + together)


def _same_text(comparison: Comparison, best: ComparisonRow | None) -> Card:
    title = "Same text"
    compared = [row for row in comparison.rows if row.parity.verdict in _COMPARABLE]
    if not compared:
        reasons = {row.parity.reason for row in comparison.rows if row.parity.reason}
        return _card(title, "unknown", "outputs are not comparable token for token", "; ".join(sorted(reasons)))
    same = sum(row.parity.verdict == "identical" for row in compared)
    overall = f"{same:,} of {counted(len(compared), 'cell')} identical to {_baseline(comparison)}"
    if best is None:
        noun = "cell" if len(compared) == 1 else "cells"
        about = f"{noun} identical to {_baseline(comparison)}"
        return _card(title, f"{same:,} of {len(compared):,}", about, _first(compared))
    if best not in compared:
        return _card(title, "unknown", f"{best.cell.label}: {best.parity.reason or best.parity.verdict}", overall)
    parity = best.parity
    return _card(title, f"{parity.identical:,} of {parity.compared:,}", _outputs(comparison, best), _text(parity))


def _outputs(comparison: Comparison, best: ComparisonRow) -> str:
    own = f"outputs of {best.cell.label}"
    return f"{own} compared with {best.baseline}" if comparison.has_groups else own


def _text(parity: Parity) -> str:
    if parity.verdict == "identical":
        return "identical, token for token"
    if parity.verdict == "ties only":
        return "the others diverge at numerical ties"
    return diverges(parity.divergences[0]) if parity.divergences else "the others differ"


def _first(rows: Iterable[ComparisonRow]) -> str:
    row = next((row for row in rows if row.parity.divergences), None)
    return f"{row.cell.label} {diverges(row.parity.divergences[0])}" if row else ""


def diverges(at: Divergence) -> str:
    """Say where an output first leaves the baseline's, and whether that is a tie."""
    text = f"first diverges at token {at.position} of {at.sample_id}"
    if at.logprob_gap is None:
        return text
    return f"{text}, baseline logprob gap {at.logprob_gap:.2g}, {'a tie' if at.is_tie else 'not a tie'}"


def _accuracy(comparison: Comparison, best: ComparisonRow | None) -> Card:
    title = "Accuracy"
    scored = [(row, row.accuracy) for row in comparison.rows if row.accuracy and row.accuracy.value.value is not None]
    if not scored:
        return _card(title, "unknown", "no answers were scored")
    own = next((accuracy for row, accuracy in scored if row is best), None)
    if own is None or best is None:
        shares = sorted(accuracy.value.value or 0.0 for _, accuracy in scored)
        span = percent(shares[0]) if shares[0] == shares[-1] else f"{percent(shares[0])} to {percent(shares[-1])}"
        return _card(title, span, f"{counted(len(scored), 'cell')} on {scored[0][1].task}")
    base = next((accuracy for row, accuracy in scored if row.cell.label == best.baseline), None)
    return _card(title, percent(own.value.value or 0.0), _scored(own, best), _against(own, base, best.baseline))


def _scored(own: Accuracy, best: ComparisonRow | None) -> str:
    low, high = own.value.low, own.value.high
    around = f"[{100 * low:.0f}, {100 * high:.0f}] " if low is not None and high is not None else ""
    problems = f", {counted(own.value.n, 'problem')}" if own.value.n else ""
    return f"{around}{best.cell.label if best else ''} on {own.task}{problems}"


def _against(own: Accuracy, base: Accuracy | None, baseline: str) -> str:
    if base is None or base.value.value is None:
        return ""
    return f"{baseline}: {percent(base.value.value)}, {own.verdict}"


def _value(row: ComparisonRow, metric: str) -> str:
    estimate = row.metrics.get(metric)
    if estimate is None or estimate.value is None:
        return "not measured"
    return with_unit(estimate.value, METRICS[metric].unit)
