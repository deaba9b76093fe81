"""The median of the prompts' ratios beside the ratio of totals: what a burst does to either, and when it is told."""

from __future__ import annotations

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.comparison.result import Estimate
from decodebench.collate.comparison.robust import disagree
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


def compared(logs, make_sample, make_steps, gaps_of_b):
    """Five rounds of `a`, 0.1 s a token, and `b`, whose prompts have the gaps that `gaps_of_b` gives for a round."""
    for index in range(5):
        for cell, gaps in (("a", [0.1] * 5), ("b", gaps_of_b(index))):
            content = [make_sample(i, make_steps(n=6, gap=gap)) for i, gap in enumerate(gaps)]
            logs.write(cell, index, content, samples=5)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return compare(store, experiment="exp")


def test_a_burst_moves_the_ratio_of_totals_and_not_the_median_and_that_is_told(logs, make_sample, make_steps):
    def hit(index):
        return [0.05, 0.05, 0.0501 + index * 1e-4, 0.051, 0.4 + 0.02 * index]

    found = compared(logs, make_sample, make_steps, hit)
    row = found.rows[1]
    assert row.ratio_median.value == pytest.approx(0.1 / 0.0503, rel=1e-3) and row.ratio_median.n == 5
    assert row.ratio.value == pytest.approx(0.5 / 0.6413, rel=0.01)
    assert row.ratio.low < row.ratio.value < row.ratio.high < 1 < row.ratio_median.low
    (warning,) = (text for text in found.warnings if "median" in text)
    assert "'b f16'" in warning and "0.78" in warning and "1.99" in warning


def test_ratios_that_agree_are_not_told(logs, make_sample, make_steps):
    found = compared(logs, make_sample, make_steps, lambda index: [0.05 + 0.001 * (i + index % 3) for i in range(5)])
    assert found.rows[1].ratio_median.value == pytest.approx(found.rows[1].ratio.value, rel=0.01)
    assert not [text for text in found.warnings if "median" in text]


@pytest.mark.parametrize(
    ("totals", "median", "told"),
    [
        ((1.5, 1.4, 1.6), (1.2, 1.1, 1.3), True),
        ((1.5, 1.1, 1.9), (1.2, 1.15, 1.25), False),
        ((1.01, 1.009, 1.011), (1.02, 1.019, 1.021), False),
        ((1.5, None, None), (1.2, 1.1, 1.3), False),
        ((1.5, 1.4, 1.6), (None, None, None), False),
    ],
)
def test_ratios_disagree_outside_each_others_interval_by_more_than_the_smallest_effect(totals, median, told):
    first, second = (Estimate(value=value, low=low, high=high) for value, low, high in (totals, median))
    assert disagree(first, second, 0.02) is told and disagree(second, first, 0.02) is told
