"""Rounds until the question is answered: what the looks cost, simulated as a whole, and who needs one more."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from decodebench.collate.comparison.result import Estimate
from decodebench.collate.statistics.intervals import means, normal_quantile, t_interval
from decodebench.collate.statistics.stopping import FIRST_LOOK, confidence_of_look, spent
from decodebench.collate.statistics.verdicts import at_look, confidence_of_each, simultaneous, verdict_of
from decodebench.core.api.until import more_rounds

EXPERIMENTS, MOST, EFFECT, NOISE = 10_000, 20, 0.02, 0.03


def ended(logs, most, confidence):
    """Return how experiments end that stop at the first verdict: the rounds of each, and whether it is a difference.

    Args:
        logs: [experiments, rounds] log ratios of the rounds.
        most: rounds at most.
        confidence: of all looks together.
    """
    rounds = np.full(len(logs), most)
    differs = np.zeros(len(logs), dtype=bool)
    going = np.ones(len(logs), dtype=bool)
    for n in range(FIRST_LOOK, most + 1):
        low, high = means(logs[:, :n]).bounds(confidence_of_look(n, most, confidence))
        is_equivalent = (low >= -math.log1p(EFFECT)) & (high <= math.log1p(EFFECT))
        is_different = ~is_equivalent & ((low > 0) | (high < 0))
        stops = going & (is_equivalent | is_different)
        rounds[stops], differs[stops] = n, is_different[stops]
        going &= ~stops
    return rounds, differs


def draw(kind, shape, seed=7):
    chooser = np.random.default_rng(seed)
    if kind == "Student":
        return NOISE * chooser.standard_t(3, shape)
    return NOISE * chooser.standard_normal(shape)


@pytest.mark.parametrize("kind", ["normal", "Student"])
@pytest.mark.parametrize("most", [5, MOST, 50])
def test_experiments_without_a_difference_end_with_one_no_more_often_than_promised(kind, most):
    _, differs = ended(draw(kind, (EXPERIMENTS, most)), most, 0.95)
    assert differs.mean() <= 0.057


def test_of_seven_comparisons_none_is_wrong_as_often_as_promised():
    """They share their baseline, whose noise is in all of them."""
    own, base = draw("normal", (EXPERIMENTS, 7, MOST)), draw("normal", (EXPERIMENTS, 1, MOST), seed=8)
    each = confidence_of_each(7)
    wrong = [ended((own - base)[:, at], MOST, each)[1] for at in range(7)]
    assert np.any(wrong, axis=0).mean() <= 0.057


def test_a_difference_is_found_and_the_larger_it_is_the_sooner():
    found = {}
    for difference in (0.02, 0.05, 0.2):
        rounds, differs = ended(draw("normal", (EXPERIMENTS, MOST)) + math.log1p(difference), MOST, 0.95)
        found[difference] = differs.mean(), rounds.mean()
    assert found[0.05][0] > 0.99 and found[0.2][0] == 1
    assert found[0.02][1] > found[0.05][1] > found[0.2][1]
    assert found[0.2][1] < 7


def test_equals_are_called_equivalent_under_little_noise():
    rounds, differs = ended(draw("normal", (EXPERIMENTS, MOST)) / 3, MOST, 0.95)
    assert differs.mean() <= 0.05 and rounds.mean() < MOST


def test_bounds_are_those_of_the_literature():
    """D. M. Reboussin et al., Controlled Clinical Trials 21, 2000: looks at 1/2, 3/4 and all of the information."""
    bounds = [normal_quantile(0.5 + confidence_of_look(n, 4) / 2) for n in (2, 3, 4)]
    assert bounds == pytest.approx([2.963, 2.359, 2.014], abs=0.005)
    assert spent(1, 0.05) == pytest.approx(0.05)


def test_an_interval_and_its_p_value_agree_at_every_look():
    chooser = np.random.default_rng(3)
    for n in range(2, MOST + 1):
        for _ in range(20):
            one = at_look(t_interval(chooser.normal(0.02, NOISE, n)), MOST)
            assert (one.p_value < 0.05) == (one.low > 0 or one.high < 0)


def test_the_family_is_as_before_where_nobody_looked():
    logs = [t_interval([0.01, 0.03, 0.02, 0.05]), t_interval([0.3, 0.31, 0.32, 0.29])]
    plain, looked = simultaneous(logs, [None, None]), simultaneous(logs, [4, 4])
    assert [one.low < other.low for one, other in zip(looked, plain, strict=True)] == [True, True]
    assert verdict_of(plain[1].exp(), EFFECT) == "faster"


@pytest.mark.parametrize(
    ("values", "until_ci", "more"),
    [([0.0, 0.02, 0.04], None, 4), ([0.0, 0.0, 0.03], None, 12), ([0.0, 0.02, 0.04], 0.005, 62)],
)
def test_what_has_no_answer_says_about_how_many_more_rounds_it_needs(values, until_ci, more):
    logs = t_interval(values)
    row = SimpleNamespace(ratio=Estimate(value=math.exp(logs.value), n=3), deviation=logs.error * math.sqrt(3))
    found = more_rounds(row, SimpleNamespace(min_effect=EFFECT, comparisons=1), SimpleNamespace(until_ci=until_ci))
    assert found == more  # the first n with t(n - 1) * 0.02 / sqrt(n) below what is wanted, less 3
