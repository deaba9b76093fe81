"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.collate.comparison.result import Estimate
from decodebench.viz.drawing.numbers import by_unit, digits, interval, percent, seconds, size, with_interval


@given(st.floats(1e-6, 1e12))
def test_three_significant_digits_and_never_an_exponent(value):
    text = digits(value)
    assert "e" not in text.lower()
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (seconds(0.00123), "1.23 ms"),
        (seconds(12.5), "12.5 s"),
        (seconds(4.2e-5), "42.0 µs"),
        (size(5 * 2**20), "5.00 MiB"),
        (size(3 * 2**30), "3.00 GiB"),
        (percent(0.875), "88 %"),
        (percent(0.996), "99.6 %"),
        (by_unit(1234.0, "tokens/s"), "1,230"),
        (digits(1234567.0), "1,230,000"),
    ],
)
def test_units_suit_the_size(shown, expected):
    assert shown == expected


def test_an_estimate_without_interval_shows_none():
    assert with_interval(Estimate(value=2.0), "s") == ("2.00 s", "")
    assert with_interval(Estimate(value=None), "s") == ("n/a", "")
    assert with_interval(Estimate(value=2.0, low=1.5, high=2.25), "s") == ("2.00 s", "[1.50, 2.25]")
    assert interval(Estimate(value=1.5, low=1.25, high=1.8)) == ("1.50", "[1.25, 1.80]")


def test_a_small_ratio_keeps_two_digits():
    assert interval(Estimate(value=0.0123, low=0.0101, high=0.15, n=3)) == ("0.012", "[0.01, 0.15]")
    assert interval(Estimate(value=0.156, n=1)) == ("0.16", "")
