"""Intervals of figures, ratios and differences: over rounds, or over prompts where rounds tell nothing new.

The unit of replication is the round. A single round has no other to compare with, and rounds of greedy decoding repeat
the same acceptances exactly: there the interval is a bootstrap over the prompts of one round, which speaks of other
prompts and not of another launch. ``Replicated.unit`` says which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ... import defaults
from ..statistics.intervals import Array, Interval, scale_mean, t_interval
from ..statistics.ratios import PairedRound, ratio_geomean, ratio_of_totals
from .figures import Replicated

Parts = tuple[Array, Array]
"""[prompts] numerators and denominators of one round."""
OfPrompts = Callable[[NDArray[np.intp]], Array]
"""The figure, [...], of the prompts chosen, [..., prompts]."""

UNKNOWN = Replicated(value=None)


def figure(rounds: Sequence[Parts]) -> Replicated:
    """Quotient of sums; over several rounds the mean of the rounds' figures, as ``compare`` shows it."""
    if not rounds:
        return UNKNOWN
    values = [float(above.sum() / below.sum()) for above, below in rounds]
    above, below = rounds[0]
    return _replicate(
        values, lambda: scale_mean(values), lambda drawn: above[drawn].sum(-1) / below[drawn].sum(-1), len(above)
    )


def ratio(rounds: Sequence[PairedRound]) -> Replicated:
    """Ratio of totals, paired by round and prompt."""
    return _ratio(rounds, PairedRound.log_ratios, ratio_of_totals)


def geomean(rounds: Sequence[PairedRound]) -> Replicated:
    """Geometric mean over prompts of the prompts' own ratios."""
    return _ratio(rounds, PairedRound.mean_log_ratios, ratio_geomean)


def _ratio(
    rounds: Sequence[PairedRound],
    log_ratios: Callable[[PairedRound, NDArray[np.intp]], Array],
    over_rounds: Callable[[Sequence[PairedRound]], Interval],
) -> Replicated:
    if not rounds or not all(_is_positive(paired) for paired in rounds):
        return UNKNOWN
    values = [float(np.exp(log_ratios(paired, np.arange(len(paired.numerator))))) for paired in rounds]
    first = rounds[0]
    return _replicate(
        values,
        lambda: over_rounds(rounds),
        lambda drawn: np.exp(log_ratios(first, drawn)),
        len(first.numerator),
    )


def difference(rounds: Sequence[PairedRound]) -> Replicated:
    """Difference of two quotients of sums, paired by round and prompt."""
    if not rounds:
        return UNKNOWN

    def of(paired: PairedRound, drawn: NDArray[np.intp]) -> Array:
        ours = paired.numerator[drawn].sum(-1) / paired.denominator[drawn].sum(-1)
        theirs = paired.base_numerator[drawn].sum(-1) / paired.base_denominator[drawn].sum(-1)
        result: Array = ours - theirs
        return result

    values = [float(of(paired, np.arange(len(paired.numerator)))) for paired in rounds]
    return _replicate(values, lambda: t_interval(values), lambda drawn: of(rounds[0], drawn), len(rounds[0].numerator))


def _is_positive(paired: PairedRound) -> bool:
    sides = (paired.numerator, paired.denominator, paired.base_numerator, paired.base_denominator)
    return all(bool((side > 0).all()) for side in sides)


def _replicate(
    values: Sequence[float], over_rounds: Callable[[], Interval], of_prompts: OfPrompts, prompts: int
) -> Replicated:
    """Choose the unit of replication by the rounds' own figures."""
    if len(values) > 1 and not np.allclose(values, values[0], rtol=1e-12, atol=0):
        found = over_rounds()
        return Replicated(value=found.value, low=found.low, high=found.high, n=found.n, unit="round")
    if prompts < 2:
        return Replicated(value=values[0], n=1)
    drawn = np.random.default_rng(defaults.SEED).integers(prompts, size=(defaults.BOOTSTRAP_RESAMPLES, prompts))
    tail = (1 - defaults.CONFIDENCE) / 2
    low, high = np.quantile(of_prompts(drawn), [tail, 1 - tail])
    return Replicated(value=values[0], low=float(low), high=float(high), n=prompts, unit="sample")
