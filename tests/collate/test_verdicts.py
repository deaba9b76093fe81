"""Verdicts: simulated over whole families of comparisons, and held against the intervals that are printed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.collate.statistics.intervals import Interval, differences, means, t_interval
from decodebench.collate.statistics.verdicts import confidence_of_each, simultaneous, verdict_of

from ..at_night import a_few

REPETITIONS = 10_000
NOISE = 0.03  # of a launch, relative


def noise(kind: str, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Logarithms of launch noise, [repetitions, cells, rounds], with a standard deviation near ``NOISE``."""
    if kind == "lognormal":
        return NOISE * generator.standard_normal(shape)
    if kind == "student":
        return NOISE / np.sqrt(3) * generator.standard_t(3, shape)
    if kind == "slow tail":  # one launch in seven is 15 % slower
        return 0.01 * generator.standard_normal(shape) - 0.15 * (generator.random(shape) < 1 / 7)
    if kind == "drift":  # the machine slows down by a tenth, and by blocks of one round for all cells
        course = np.linspace(0, -0.1, shape[-1]) + 0.05 * generator.standard_normal((shape[0], 1, shape[-1]))
        return course + NOISE * generator.standard_normal(shape)
    assert kind == "one noisy cell"
    found = NOISE * generator.standard_normal(shape)
    found[:, -1] *= 10
    return found


def logs_of_ratios(kind, comparisons, rounds, seed, effect=0.0):
    """Log ratios to the baseline, [repetitions, comparisons, rounds]."""
    repetitions = REPETITIONS
    found = noise(kind, np.random.default_rng(seed), (repetitions, comparisons + 1, rounds)).astype(np.float32)
    return (found[:, 1:] - found[:, :1]).astype(float) + np.log1p(effect)


KINDS = ["lognormal", "student", "slow tail", "drift", "one noisy cell"]
FAMILIES = [
    pytest.param(comparisons, rounds, marks=[pytest.mark.nightly] if comparisons * rounds > 150 else [])
    for comparisons in (1, 12, 30)
    for rounds in (2, 3, 5, 10, 20)
]
"""Comparisons and rounds; the largest, which take as long as all others, every night."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("comparisons", "rounds"), FAMILIES)
def test_equal_cells_are_rarely_called_different(kind, rounds, comparisons):
    """Family-wise: an experiment counts once, however many of its rows claim a difference."""
    found = means(logs_of_ratios(kind, comparisons, rounds, seed=rounds))
    low, high = found.bounds(confidence_of_each(comparisons))
    claims = ((low > 0) | (high < 0)).any(axis=1).mean()
    assert claims <= 0.06
    low, high = found.bounds()
    covered = ((low <= 0) & (high >= 0)).mean()
    assert covered >= 0.93
    if kind in ("lognormal", "one noisy cell"):
        assert covered <= 0.97


@pytest.mark.parametrize("kind", a_few(2, ["lognormal", "student", "slow tail", "one noisy cell"]))
@pytest.mark.parametrize(("comparisons", "rounds"), FAMILIES)
def test_equal_cells_that_cannot_be_paired_are_rarely_called_different(kind, rounds, comparisons):
    logs = noise(kind, np.random.default_rng(rounds), (REPETITIONS, comparisons + 1, rounds)).astype(np.float32)
    found = differences(logs[:, 1:], logs[:, :1])
    low, high = found.bounds(confidence_of_each(comparisons))
    assert ((low > 0) | (high < 0)).any(axis=1).mean() <= 0.06
    low, high = found.bounds()
    assert ((low <= 0) & (high >= 0)).mean() >= 0.93


@pytest.mark.parametrize("rounds", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effect", [0.021, 0.03])
def test_a_difference_beyond_the_smallest_effect_is_rarely_called_equivalent(kind, rounds, effect):
    low, high = means(logs_of_ratios(kind, 1, rounds, seed=1, effect=effect)).bounds()
    assert ((np.exp(low) >= 1 / 1.02) & (np.exp(high) <= 1.02)).mean() <= 0.025


def power(comparisons: int, rounds: int, effect: float = 0.10) -> float:
    low, _ = means(logs_of_ratios("lognormal", comparisons, rounds, seed=2, effect=effect)).bounds(
        confidence_of_each(comparisons)
    )
    return float((low[:, 0] > 0).mean())


def test_ten_percent_is_found_with_five_rounds():
    assert power(1, 5) >= 0.95


def test_more_rounds_find_ten_percent_among_twelve():
    curve = [power(12, rounds) for rounds in (3, 5, 7, 10)]
    assert curve == pytest.approx([0.07, 0.44, 0.85, 0.99], abs=0.015)  # as docs/architecture.md has it


@given(
    st.lists(st.tuples(st.floats(0.5, 2), st.floats(0, 0.3), st.integers(0, 2**32 - 1)), min_size=1, max_size=29),
    st.integers(2, 30),
    st.sampled_from([0.0, 0.02, 0.1]),
)
def test_the_verdict_is_what_the_printed_interval_says(cells, rounds, min_effect):
    family = [
        t_interval(np.log(ratio) + spread * np.random.default_rng(seed).standard_normal(rounds))
        for ratio, spread, seed in cells
    ]
    for alone, together in zip(family, simultaneous(family), strict=True):
        ratio = together.exp()
        assert together.low <= alone.low <= alone.high <= together.high or len(family) == 1 or alone.error == 0
        if ratio.low is None:
            assert verdict_of(ratio, min_effect) == "not tested"
            continue
        verdict = verdict_of(ratio, min_effect)
        is_within = ratio.low >= 1 / (1 + min_effect) and ratio.high <= 1 + min_effect
        expected = "faster" if ratio.low > 1 else "slower" if ratio.high < 1 else "no difference shown"
        assert verdict == ("equivalent" if is_within else expected)
        if abs(together.p_value - 0.05) > 1e-9:
            assert (together.p_value < 0.05) == (together.low > 0 or together.high < 0)


def test_a_clear_difference_is_shown_for_any_number_of_rounds():
    """Seven cells at ten rounds once all showed nothing: a bootstrap's p-value has a floor."""
    generator = np.random.default_rng(0)
    for rounds in range(5, 31):
        family = [t_interval(np.log(0.5) + 0.02 * generator.standard_normal(rounds)) for _ in range(30)]
        assert {verdict_of(one.exp(), 0.02) for one in simultaneous(family)} == {"slower"}


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(1.10, 1.05, 1.15, 3), "faster"),
        (Interval(0.90, 0.85, 0.95, 3), "slower"),
        (Interval(1.01, 1.001, 1.019, 3), "equivalent"),
        (Interval(1.015, 1.005, 1.03, 3), "faster"),
        (Interval(1.10, 0.95, 1.3, 3), "no difference shown"),
        (Interval(1.10, n=1), "not tested"),
        (Interval(None), "not comparable"),
    ],
)
def test_verdicts(interval, verdict):
    assert verdict_of(interval, 0.02) == verdict


def test_what_has_no_interval_is_not_counted():
    one, two = t_interval([0.1]), t_interval([0.1, 0.12])
    assert simultaneous([one, two, Interval(None)]) == [one, two, Interval(None)]
