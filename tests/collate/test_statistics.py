import math

import numpy as np
import pytest
from scipy import stats

from decodebench.collate.statistics.noise import (
    modified_z_scores,
    outliers,
    percentile,
    rounds_needed,
    slope,
    variation,
)
from decodebench.collate.statistics.proportions import mcnemar, paired_difference, unpaired_difference, wilson
from decodebench.collate.statistics.ratios import (
    Interval,
    PairedRound,
    holm,
    ratio_geomean,
    ratio_of_totals,
    scale_mean,
    t_interval,
    verdict_of,
    welch_interval,
)


def rounds_of(generator, count, effect, noise=0.03, prompts=4):
    """Rounds of two cells with launch noise only; tokens over seconds."""
    made = []
    for _ in range(count):
        base = 100 * np.exp(generator.normal(0, noise))
        cell = 100 * (1 + effect) * np.exp(generator.normal(0, noise))
        tokens = np.full(prompts, 64.0)
        made.append(PairedRound(tokens, tokens / cell, tokens, tokens / base))
    return made


def verdicts(count, effect, experiments=1000, seed=7):
    generator = np.random.default_rng(seed)
    ratios = [ratio_of_totals(rounds_of(generator, count, effect)) for _ in range(experiments)]
    return [verdict_of(ratio, ratio.p_value, 0.02) for ratio in ratios]


def false_alarms(count, seed):
    found = verdicts(count, 0.0, seed=seed)
    return sum(v in ("faster", "slower") for v in found) / len(found)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_cells_are_rarely_called_different(count, seed):
    assert false_alarms(count, seed) <= 0.065


def test_the_bootstrap_from_ten_rounds_on_keeps_its_level():
    assert false_alarms(10, seed=0) <= 0.065


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [10, 12, 20])
def test_the_bootstrap_keeps_its_level_for_any_seed(count, seed):
    assert false_alarms(count, seed) <= 0.065


def test_the_bootstrap_rejects_where_its_interval_leaves_1():
    generator = np.random.default_rng(3)
    ratios = [ratio_of_totals(rounds_of(generator, 10, effect)) for effect in np.linspace(0, 0.06, 40)]
    assert {r.low > 1 for r in ratios} == {True, False}
    assert all((r.p_value < 0.05) == (r.low > 1 or r.high < 1) or abs(r.p_value - 0.05) < 0.01 for r in ratios)


def test_ten_percent_is_found_with_five_rounds():
    found = verdicts(5, 0.10, experiments=400)
    assert found.count("faster") / len(found) >= 0.8


def test_one_round_shows_nothing_and_two_have_a_wide_interval():
    generator = np.random.default_rng(1)
    one = ratio_of_totals(rounds_of(generator, 1, 1.0))
    assert (one.low, one.p_value, verdict_of(one, one.p_value, 0.02)) == (None, None, "no difference shown")
    two = ratio_of_totals(rounds_of(generator, 2, 0.05))
    assert two.high / two.low > 1.2


def test_t_and_welch_agree_with_scipy():
    a, b = [1.0, 1.2, 0.9, 1.1], [0.8, 0.7, 0.95]
    found, expected = t_interval(a), stats.ttest_1samp(a, 0.0)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p_value == pytest.approx(expected.pvalue)
    found, expected = welch_interval(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_identical_observations():
    assert t_interval([0.0, 0.0]).p_value == 1.0
    assert t_interval([0.1, 0.1]).p_value == 0.0
    assert t_interval([]).value is None
    assert scale_mean([5000, 5000, 5000]) == Interval(5000.0, 5000.0, 5000.0, 3)
    assert scale_mean([0.0, 0.5]).value == 0.25


def test_an_interval_beyond_floats_is_none():
    found = scale_mean([1e-150, 1e150])
    assert found.value == pytest.approx(1.0) and (found.low, found.high, found.p_value) == (None, None, None)


def test_ratio_of_totals_and_geomean_by_hand():
    paired = PairedRound(*(np.array(x, dtype=float) for x in ([10, 10], [1, 4], [10, 10], [2, 2])))
    assert ratio_of_totals([paired, paired]).value == pytest.approx((20 / 5) / (20 / 4))
    assert ratio_geomean([paired, paired]).value == pytest.approx(math.sqrt((10 / 5) * (2.5 / 5)))


@pytest.mark.parametrize(
    ("interval", "p_value", "verdict"),
    [
        (Interval(1.10, 1.05, 1.15, 3), 0.01, "faster"),
        (Interval(0.90, 0.85, 0.95, 3), 0.01, "slower"),
        (Interval(1.01, 1.001, 1.019, 3), 0.001, "equivalent"),
        (Interval(1.015, 1.005, 1.03, 3), 0.01, "no difference shown"),
        (Interval(1.10, 1.05, 1.15, 3), 0.2, "no difference shown"),
        (Interval(None), None, "not comparable"),
    ],
)
def test_verdicts(interval, p_value, verdict):
    assert verdict_of(interval, p_value, 0.02) == verdict


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([]) == []


def test_wilson_against_published_values():
    found = wilson(81, 263)  # Newcombe 1998, table I
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == 1.0 and wilson(0, 0).value is None


def test_unpaired_difference_against_published_values():
    found = unpaired_difference((56 / 70, 70), (48 / 80, 80))  # Newcombe 1998 (873-890), table II, method 10, case a
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert unpaired_difference((0.5, 10), (0.5, 10)).p_value == pytest.approx(1.0)


def test_paired_difference_against_published_values():
    # Newcombe 1998 (paired), table II, method 10: cells 36, 12, 2, 0
    a, b = [True] * 36 + [True] * 12 + [False] * 2, [True] * 36 + [False] * 12 + [True] * 2
    found = paired_difference(a, b)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-4)
    assert found.p_value == pytest.approx(mcnemar(12, 2)) == pytest.approx(0.0129, abs=1e-4)
    with pytest.raises(ValueError, match="paired"):
        paired_difference([True], [True, False])


def test_mcnemar_without_discordance_shows_nothing():
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(("q", "n"), [(0.9, 36), (0.99, 368)])
def test_percentiles_need_their_sample(q, n):
    assert percentile(range(n - 1), q).value is None
    found = percentile(range(n), q)
    assert found.low <= found.value <= found.high


def test_outliers_are_far_from_the_median():
    assert outliers([1.0, 1.01, 0.99, 1.0, 5.0]) == [4]
    assert outliers([1.0, 1.0]) == []
    assert outliers([1.0, 1.0, 1.0, 1.0]) == []
    assert np.isinf(modified_z_scores([1.0, 1.0, 2.0])[2])


def test_noise_figures_by_hand():
    assert variation([9.0, 10.0, 11.0]) == pytest.approx(0.1)
    assert variation([1.0]) is None
    assert slope([0, 1, 2, 3], [1.0, 3.0, 5.0, 7.1]).value == pytest.approx(2.03)
    assert slope([0, 1], [1, 2]).value is None
    needed = rounds_needed(0.05, 0.02)
    half = [stats.t.ppf(0.975, n - 1) * 0.05 / math.sqrt(n) for n in (needed - 1, needed)]
    assert half[0] > 0.02 >= half[1]
    assert rounds_needed(0.0, 0.02) == 2
