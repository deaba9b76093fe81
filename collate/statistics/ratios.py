"""Ratios of two cells on the same prompts, paired by round and prompt: of totals, mean and median of prompts' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import defaults
from .intervals import Array, Interval, crossed, interval_of, t_interval


@dataclass(frozen=True, slots=True)
class PairedRound:
    """One round of two cells on the same prompts: the parts of the metric, per prompt.

    Attributes:
        numerator: [prompts] of the cell.
        denominator: [prompts] of the cell.
        base_numerator: [prompts] of the baseline.
        base_denominator: [prompts] of the baseline.
    """

    numerator: Array
    denominator: Array
    base_numerator: Array
    base_denominator: Array

    def log_ratios(self, chosen: NDArray[np.intp]) -> Array:
        """[...] log of the ratio of totals over the prompts chosen, [..., prompts]."""
        each = np.ones(chosen.shape[-1])  # a product sums short rows many times faster than sum() does
        cell = (np.take(self.numerator, chosen) @ each) / (np.take(self.denominator, chosen) @ each)
        base = (np.take(self.base_numerator, chosen) @ each) / (np.take(self.base_denominator, chosen) @ each)
        result: Array = np.log(cell / base)
        return result

    def mean_log_ratios(self, chosen: NDArray[np.intp]) -> Array:
        """[...] log of the geometric mean of the chosen prompts' own ratios, [..., prompts]."""
        cell, base = self.numerator / self.denominator, self.base_numerator / self.base_denominator
        count = chosen.shape[-1]
        result: Array = np.take(np.log(cell / base), chosen) @ np.full(count, 1 / count)
        return result

    def median_log_ratio(self) -> float:
        """Log of the median of the prompts' own ratios: what half of the prompts are on either side of."""
        return float(np.median(np.log(self.numerator / self.denominator * self.base_denominator / self.base_numerator)))

    def influences(self) -> Array:
        """[prompts] how far each prompt moves the log of the ratio of totals; their mean is 0."""
        count = len(self.numerator)

        def share(part: Array) -> Array:
            shares: Array = part / part.sum() * count
            return shares

        cell, base = (self.numerator, self.denominator), (self.base_numerator, self.base_denominator)
        return share(cell[0]) - share(cell[1]) - share(base[0]) + share(base[1])


def log_ratio_of_totals(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Logarithm of the ratio of totals, with Student's interval over rounds, for whatever number of them.

    The interval speaks of other launches with these prompts; ``over_prompts`` speaks of other prompts as well.
    """
    return t_interval([float(paired.log_ratios(_all(paired))) for paired in rounds], confidence)


def log_ratio_geomean(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Logarithm of the geometric mean over prompts of the prompts' ratios, with its interval over rounds."""
    return t_interval([float(paired.mean_log_ratios(_all(paired))) for paired in rounds], confidence)


def log_ratio_median(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Logarithm of the median over prompts of the prompts' ratios, with its interval over rounds.

    A disturbance that hits less than half of a round's prompts hardly moves it, whatever time it cost; in the ratio of
    totals every second counts.
    """
    return t_interval([paired.median_log_ratio() for paired in rounds], confidence)


def ratio_of_totals(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Ratio of totals with its interval over rounds."""
    return log_ratio_of_totals(rounds, confidence).exp()


def ratio_geomean(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Geometric mean over prompts of the prompts' ratios, with its interval over rounds."""
    return log_ratio_geomean(rounds, confidence).exp()


def over_prompts(rounds: Sequence[PairedRound], confidence: float = defaults.CONFIDENCE) -> Interval:
    """Logarithm of the ratio of totals with an interval for other prompts of their kind, not for these alone.

    A total is linear in its prompts but for its own scale, so each prompt's influence on the log ratio stands for it
    (P. Hall, "The Bootstrap and Edgeworth Expansion", 1992, section 1.3); rounds and prompts are crossed. ``n`` is the
    smaller of both numbers; below two there is no interval. Needs the same prompts in every round.
    """
    logs = np.array([float(paired.log_ratios(_all(paired))) for paired in rounds])
    n = min(len(rounds), min((len(paired.numerator) for paired in rounds), default=0))
    if n < 2 or len({len(paired.numerator) for paired in rounds}) > 1:
        return Interval(float(logs.mean()) if len(logs) else None, n=min(n, 1))
    return interval_of(crossed(logs[:, None] + np.array([paired.influences() for paired in rounds])), n, confidence)


def _all(paired: PairedRound) -> NDArray[np.intp]:
    return np.arange(len(paired.numerator))
