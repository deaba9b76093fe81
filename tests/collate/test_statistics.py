import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from decodebench.collate.statistics.intervals import Interval, scale_mean, t_interval, welch_interval
from decodebench.collate.statistics.multiplicity import holm
from decodebench.collate.statistics.noise import (
    outlier_p_values,
    percentile,
    rounds_needed,
    scatter_p_value,
    slope,
    variation,
)
from decodebench.collate.statistics.proportions import mcnemar, paired_difference, unpaired_difference, wilson
from decodebench.collate.statistics.ratios import PairedRound, over_prompts, ratio_geomean, ratio_of_totals


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


def test_over_prompts_is_wide_where_prompts_differ_and_rounds_do_not():
    """Two prompts of which one gains: the rounds agree to the digit, other prompts may not."""
    one = PairedRound(*(np.array(x, dtype=float) for x in ([10, 10], [1, 4], [10, 10], [2, 4])))
    assert ratio_of_totals([one, one]).low == ratio_of_totals([one, one]).high
    found = over_prompts([one, one]).exp()
    assert found.value == pytest.approx(ratio_of_totals([one]).value)
    assert found.low < 1 < found.high
    assert over_prompts([one]).low is None


def test_wilson_against_published_values():
    found = wilson(81, 263)  # Newcombe 1998, table I
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10).low == 0.0 and wilson(10, 10).high == 1.0 and wilson(0, 0).value is None


def test_unpaired_difference_against_published_values():
    found = unpaired_difference((56 / 70, 70), (48 / 80, 80))  # Newcombe 1998 (873-890), table II, method 10, case a
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert unpaired_difference((0.5, 10), (0.5, 10)).p_value == pytest.approx(1.0)


def test_mcnemar_against_published_values():
    # Fagerland, Lydersen, Laake 2013, section 5: airway hyper-responsiveness, discordant 7 and 1: mid-p 0.0391
    assert mcnemar(7, 1) == pytest.approx(0.0391, abs=5e-5)
    with pytest.raises(ValueError, match="paired"):
        paired_difference([True], [True, False])


def pairs(only_a, only_b, both, n):
    neither = n - only_a - only_b - both
    a = [True] * (only_a + both) + [False] * (only_b + neither)
    return a, [False] * only_a + [True] * (both + only_b) + [False] * neither


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200), st.sampled_from([0.9, 0.95, 0.999]))
def test_the_interval_of_a_paired_difference_leaves_0_where_its_test_rejects(only_a, only_b, both, confidence):
    found = paired_difference(*pairs(only_a, only_b, both, max(only_a + only_b + both, 1)), confidence)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (found.p_value < 1 - confidence) == (found.low > 0 or found.high < 0)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_interval_of_an_unpaired_difference_leaves_0_where_its_test_rejects(n, m, data):
    a, b = (data.draw(st.integers(0, count)) / count for count in (n, m))
    found = unpaired_difference((a, n), (b, m))
    assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0) or abs(found.p_value - 0.05) < 1e-9


@pytest.mark.parametrize("n", [8, 16, 32])
@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.2, 0.05), (0.4, 0.1), (0.3, 0.3), (0.15, 0.02)])
def test_the_interval_of_a_paired_difference_covers_it(n, shares):
    """Exact: every possible outcome with its probability."""
    covered = 0.0
    for only_a in range(n + 1):
        for only_b in range(n + 1 - only_a):
            rest = n - only_a - only_b
            chance = stats.multinomial.pmf([only_a, only_b, rest], n, [*shares, 1 - sum(shares)])
            if chance > 1e-9:
                found = paired_difference(*pairs(only_a, only_b, rest, n))
                covered += chance * (found.low <= shares[0] - shares[1] + 1e-9 <= found.high + 2e-9)
    assert covered >= 0.92


def test_mcnemar_without_discordance_shows_nothing():
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(("q", "n"), [(0.9, 36), (0.99, 368)])
def test_percentiles_need_their_sample(q, n):
    assert percentile(range(n - 1), q).value is None
    found = percentile(range(n), q)
    assert found.low <= found.value <= found.high


def test_an_outlier_is_tested_against_the_others_alone():
    values = [1.0, 1.01, 0.99, 1.0, 5.0]
    found = outlier_p_values(values)
    assert np.argmin(found) == 4 and found[4] < 1e-5
    expected = stats.ttest_ind(np.log(values[4:]), np.log(values[:4]))  # one value against the others
    assert found[4] == pytest.approx(expected.pvalue)
    assert outlier_p_values([1.0, 1.0, 2.0]) == []
    assert outlier_p_values([1.0] * 4) == [1.0] * 4


def test_a_scatter_is_tested_as_a_variance():
    values = np.exp([0.0, 0.1, -0.1, 0.05])
    assert scatter_p_value(values, 0.05) == pytest.approx(stats.chi2.sf(np.log(values).var(ddof=1) * 3 / 0.05**2, 3))
    assert scatter_p_value([1.0], 0.05) is None


def test_holm_counts_the_tests_that_show_nothing():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.02, 0.9]) == [True, False] and holm([0.026, 0.9]) == [False, False] and holm([]) == []


def test_noise_figures_by_hand():
    assert variation([9.0, 10.0, 11.0]) == pytest.approx(0.1)
    assert variation([1.0]) is None
    assert slope([0, 1, 2, 3], [1.0, 3.0, 5.0, 7.1]).value == pytest.approx(2.03)
    assert slope([0, 1], [1, 2]).value is None
    needed = rounds_needed(0.05, 0.02)
    half = [stats.t.ppf(0.975, n - 1) * 0.05 / math.sqrt(n) for n in (needed - 1, needed)]
    assert half[0] > 0.02 >= half[1]
    assert rounds_needed(0.0, 0.02) == 2
