"""The heat map of parity: one row per cell, the numbers in its fields, and what was not measured in grey."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgba

from decodebench.viz.drawing import style
from decodebench.viz.figures.parity_heatmap import FIGURE
from decodebench.viz.plot import draw, image

THEIRS = [[1, 2, 3, 4], [5, 6, 7, 8]]
CELLS = (
    # backend, quantisation, bits, outputs, KL, exact
    ("llama-cpp", "q4_0", 4.5, [[1, 2, 3, 4], [5, 9, 7, 8]], 0.0123, True),
    ("llama-cpp", "f16", 16.0, THEIRS, 5e-9, True),
    ("transformers", "none", 32.0, THEIRS, 0.0, True),
    ("faulty", "f32", 32.0, [[0], [0]], None, None),
)


def make_rows(cells):
    return [
        {
            "backend": backend, "quantisation": quantisation, "bits_per_weight": bits, "model": "m", "device": "cpu",
            "cell_id": f"{backend} {quantisation}", "options": "{}", "is_reference": backend == "transformers",
            "kl_mean": kl, "kl_is_exact": is_exact, "ours": ours, "theirs": theirs,
        }
        for backend, quantisation, bits, outputs, kl, is_exact in cells
        for ours, theirs in zip(outputs, THEIRS, strict=True)
    ]  # fmt: skip


def drawn(rows):
    with style.applied(salt="test"):
        canvas = draw(FIGURE, rows)
        canvas.draw_without_rendering()
        return canvas


def fields(axes) -> dict[str, list[str]]:
    """Return the three texts of each line by its name."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    lines: dict[str, dict[float, str]] = {name: {} for name in names}
    for text in axes.texts:
        x, y = text.get_position()
        lines[names[int(y)]][x] = text.get_text()
    return {name: [line[x] for x in sorted(line)] for name, line in lines.items()}


def test_every_cell_has_its_three_numbers_the_reference_first_then_by_bits():
    (axes,) = drawn(make_rows(CELLS)).axes
    found = fields(axes)
    assert found == {
        "transformers none (32 bits), reference": ["100 %", "100 %", "0"],
        "faulty f32 (32 bits)": ["0 %", "0 %", "n/a"],
        "llama-cpp f16 (16 bits)": ["100 %", "100 %", "5.0e-09"],
        "llama-cpp q4_0 (4.5 bits)": ["50 %", "62 %", "0.0123"],
    }
    assert [name.split(" ")[0] for name in found] == ["transformers", "faulty", "llama-cpp", "llama-cpp"]
    assert [label.get_text().split() for label in axes.get_xticklabels()][2] == ["KL(reference", "||", "cell)"]


def test_a_larger_divergence_is_deeper_and_a_missing_one_is_grey():
    (axes,) = drawn(make_rows(CELLS)).axes
    third = sorted((p for p in axes.patches if p.get_x() > 2), key=lambda patch: patch.get_y())
    reference, faulty, f16, q4_0 = third
    assert faulty.get_facecolor() == to_rgba(style.GRID)
    assert sum(q4_0.get_facecolor()) < sum(f16.get_facecolor()) == sum(reference.get_facecolor())


def test_a_bound_is_marked_as_one():
    (axes,) = drawn(make_rows([("a", "q8", 8.0, THEIRS, 0.5, False)])).axes
    assert {text.get_text() for text in axes.texts} >= {"≥ 0.500"}
    assert "lower bound, top 64 + tail" in style.caption(axes.figure)


def test_without_scores_the_caption_says_who_gives_them():
    (axes,) = drawn(make_rows([("a", "q8", 8.0, THEIRS, None, None)])).axes
    assert "`decodebench parity`" in style.caption(axes.figure)


def test_many_cells_keep_their_labels_apart():
    cells = [("llama-cpp", f"q{i}", float(i), THEIRS, 0.1, True) for i in range(1, 21)]
    (axes,) = drawn(make_rows(cells)).axes
    boxes = sorted((label.get_window_extent() for label in axes.get_yticklabels()), key=lambda box: box.y0)
    assert len(boxes) == 20
    assert all(a.y1 <= b.y0 for a, b in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("fmt", ["png", "svg"])
def test_equal_rows_give_equal_bytes(fmt):
    assert image(FIGURE, make_rows(CELLS), fmt) == image(FIGURE, make_rows(CELLS), fmt)
