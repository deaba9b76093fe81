"""The dual-axis sweep figures: both lines, their scales, and values where the lines come close."""

from __future__ import annotations

import pytest

from decodebench.plugins.fast_dllm.figures import BLOCKS, STEPS
from decodebench.viz.drawing import style
from decodebench.viz.drawing.dual_axis import ACCURACY, THROUGHPUT
from decodebench.viz.plot import draw

from ..refusals import refused


def rows(shares, speeds, rounds=3):
    found = []
    for at, (share, speed) in enumerate(zip(shares, speeds, strict=True)):
        for index in range(rounds):
            found.append(
                {
                    "cell_id": f"c{at}", "model": "m", "task": "tiny-gsm", "swept": 4 * 2**at,
                    "e2e_tokens_per_s": speed * (1 + 0.01 * index), "accuracy": share,
                    "accuracy_low": share - 0.1, "accuracy_high": share + 0.1, "accuracy_task": "tiny-gsm",
                    "problems": 50,
                }
            )  # fmt: skip
    return found


def drawn(figure, data):
    with style.applied("x"):
        return draw(figure, data)


@pytest.mark.parametrize("figure", [BLOCKS, STEPS])
def test_both_figures_have_the_same_colours_and_a_log2_axis(figure):
    canvas = drawn(figure, rows([0.9, 0.8, 0.5], [100, 300, 900]))
    left, right = canvas.axes
    assert left.get_lines()[0].get_color() == ACCURACY and right.get_lines()[0].get_color() == THROUGHPUT
    assert left.get_xscale() == "log" and [t.get_text() for t in left.get_xticklabels()] == ["4", "8", "16"]
    assert left.get_lines()[0].get_ydata().tolist() == pytest.approx([90, 80, 50])
    assert "accuracy (%)" == left.get_ylabel() and right.get_ylabel().startswith("throughput")
    assert "n = 3 rounds" in style.caption(canvas) and "n = 50 problems" in style.caption(canvas)


def test_values_stand_beside_points_where_the_lines_come_close():
    apart = drawn(BLOCKS, rows([0.9, 0.9, 0.9], [100, 200, 300]))
    assert [text.get_text() for text in apart.axes[0].texts] == ["(90 %, 303)"]
    near = drawn(BLOCKS, rows([0.8, 0.85], [290, 300]))
    assert [text.get_text() for text in near.axes[0].texts] == ["(80 %, 293)", "(85 %, 303)"]


def test_what_is_no_sweep_is_refused():
    with refused("data-missing", "block_length"):
        drawn(BLOCKS, rows([0.9], [100]))
    twice = rows([0.9, 0.8], [100, 200]) + [{**rows([0.9], [100])[0], "cell_id": "other"}]
    with refused("data-missing"):
        drawn(BLOCKS, twice)
