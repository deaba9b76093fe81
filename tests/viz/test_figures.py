"""Figures draw what the rows say, alike each time, and say what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from decodebench import UsageError
from decodebench.viz import style
from decodebench.viz.figures import (
    backend_comparison,
    decodebench_figures,
    latency_distribution,
    quantization_impact,
    speedup_comparison,
)
from decodebench.viz.plot import MissingDataError, choose, draw, image, plot


def drawn(figure, rows):
    with style.applied(salt="test"):
        canvas = draw(figure, rows)
        canvas.draw_without_rendering()
        return canvas


def texts(axes) -> set[str]:
    labels = {label.get_text() for label in axes.get_xticklabels()}
    return {text.get_text() for text in axes.texts} | labels | {axes.get_xlabel()}


def test_importing_figures_imports_no_matplotlib():
    code = "import sys, decodebench.viz.figures, decodebench.viz.terminal; print('matplotlib' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_bars_have_the_mean_of_their_rounds_and_one_colour_per_backend(round_rows):
    (axes,) = drawn(backend_comparison.FIGURE, round_rows).axes
    heights = sorted(bar.get_height() for bar in axes.patches)
    speeds = sorted({row["cell_id"]: row["decode_tokens_per_s"] / 1.03 for row in round_rows}.values())
    assert heights == pytest.approx([speed * (0.98 + 1.0 + 1.03) / 3 for speed in speeds])
    assert "tokens/s" in axes.get_ylabel()
    assert any("n = 3" in text for text in texts(axes))
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3
    assert len(axes.containers) >= 6, "every bar has its interval"


def test_a_speed_up_is_drawn_against_the_baseline(round_rows):
    rows = [row | {"is_baseline": row["backend"] == "reference"} for row in round_rows]
    (axes,) = drawn(speedup_comparison.FIGURE, rows).axes
    shown = {text.get_text() for text in axes.texts}
    assert f"{655 / 410:.2f}×" in shown
    assert "1.00×" not in shown


def test_first_steps_are_drawn_apart(step_rows):
    steps, first = drawn(latency_distribution.FIGURE, step_rows).axes
    assert "first step" in first.get_ylabel() and "ms" in first.get_ylabel()
    assert "after the first" in steps.get_ylabel()
    assert any("n=4000" in text for text in texts(steps))


def test_accuracy_stands_below_speed(round_rows):
    speed, accuracy = drawn(quantization_impact.FIGURE, round_rows).axes
    assert "tokens/s" in speed.get_ylabel() and "%" in accuracy.get_ylabel()
    heights = {round(float(y), 2) for line in accuracy.lines for y in line.get_ydata()}
    assert {100 * 13 / 16, 100 * 12 / 16, 100 * 9 / 16} <= heights


def test_labels_of_neighbouring_formats_do_not_overlap(round_rows):
    canvas = drawn(quantization_impact.FIGURE, round_rows)
    boxes = [label.get_window_extent() for label in canvas.axes[0].get_xticklabels() if label.get_text()]
    boxes.sort(key=lambda box: box.x0)
    assert all(a.x1 <= b.x0 or a.y0 >= b.y1 or b.y0 >= a.y1 for a, b in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("figure", [backend_comparison.FIGURE, quantization_impact.FIGURE], ids=lambda f: f.id)
def test_equal_rows_give_equal_bytes(figure, round_rows):
    first = image(figure, round_rows, "svg")
    assert first == image(figure, round_rows, "svg")
    assert b"<svg" in first and b"tokens/s" in first


def test_a_backend_keeps_its_colour_when_others_come():
    alone = style.slots(["llama-cpp"])
    together = style.slots(["llama-cpp", "a-third-party"])
    assert len(set(together.values())) == 2
    assert alone["llama-cpp"] == style.slots(["llama-cpp"])["llama-cpp"]


class EmptyStore:
    def query(self, sql, params=None):
        return [], []


def test_missing_data_are_named_instead_of_an_empty_axis(tmp_path):
    with pytest.raises(MissingDataError, match="figure 'backend_comparison': experiment 'x' has no finished rounds"):
        plot(EmptyStore(), [backend_comparison.FIGURE], "x", tmp_path / "out", "png")
    assert not list(tmp_path.rglob("*.png"))


def test_an_unknown_figure_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'backend_comparison'"):
        choose(decodebench_figures(), ["backend_comparson"])
