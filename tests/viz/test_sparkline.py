"""Sparklines: what they show, and what they do not blow up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench.collate.comparison.compare import compare
from decodebench.core.api.results import open as open_results
from decodebench.viz.terminal.sparkline import WIDTH, courses, sparkline

from ..collate.conftest import Logs, plain_steps, sample

FIGURES = st.lists(st.floats(1e-6, 1e9), max_size=60)


@pytest.mark.parametrize(
    ("values", "blocks", "digits"),
    [
        ([1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇", "1234567"),
        ([10, 5], "▇▁", "71"),
        ([100, 100.4, 99.8], "▄▄▄", "444"),
        ([0, 0], "▄▄", "44"),
        ([5], "", ""),
        ([], "", ""),
    ],
)
def test_what_rises_rises_and_noise_stays_flat(values, blocks, digits):
    assert sparkline(values, has_unicode=True) == blocks
    assert sparkline(values, has_unicode=False) == digits


@given(FIGURES)
def test_it_is_never_wider_than_asked_and_keeps_the_order_of_size(values):
    line = sparkline(values, has_unicode=False)
    assert len(line) == (min(len(values), WIDTH) if len(values) > 1 else 0)
    if 1 < len(values) <= WIDTH:
        levels = [int(level) for level in line]
        assert all(
            a <= b
            for (x, a) in zip(values, levels, strict=True)
            for (y, b) in zip(values, levels, strict=True)
            if x < y
        )


def of(folder):
    with open_results(folder).store as store:
        return courses(store, compare(store))


def test_three_rounds_have_a_course(tmp_path):
    Logs(tmp_path).speeds("a", (0.1, 0.2, 0.1))
    found = of(tmp_path)
    assert found.over == "rounds"
    first, second, third = found.values["cell-a"]
    assert first == third == pytest.approx(2 * second)


def test_fewer_rounds_show_how_answers_slow_down(tmp_path):
    steps = plain_steps(n=25)
    for step in steps[13:]:
        step["step_s"] = 0.2
    Logs(tmp_path).write("a", 0, [sample(i, steps) for i in range(2)])
    found = of(tmp_path)
    assert found.over == "steps"
    assert found.values["cell-a"] == pytest.approx([10.0] * 6 + [5.0] * 6)


@pytest.mark.nightly
def test_show_prints_it_in_a_pipe_with_and_without_unicode(cli, tmp_path):
    Logs(tmp_path).speeds("a", (0.1, 0.2, 0.1))
    assert "▇▁▇" in cli.cold("show", tmp_path, env={"PYTHONIOENCODING": "utf-8"}).out
    plain = cli.cold("show", tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert plain.code == 0 and plain.out.isascii()
    assert "717" in plain.out and "\x1b" not in plain.out
