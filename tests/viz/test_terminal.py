"""The terminal view at 80 columns, in a pipe and without colour."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from decodebench.collate.comparison.result import Estimate, Parity
from decodebench.viz.terminal.sparkline import Courses
from decodebench.viz.terminal.tables import comparison_view, show_view

from .conftest import make_row

COURSES = Courses("rounds", {"llama-cpp-q8_0": [1200.0, 1210.0, 600.0] * 10, "reference-f32": [412.0, 411.0, 413.0]})


def shown(renderable, width: int = 80) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(renderable)
    return output.getvalue()


def test_everything_stands_within_80_columns_without_colour_codes(comparison):
    text = shown(show_view(comparison, COURSES))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    header = next(line for line in text.splitlines() if line.strip().startswith("cell"))
    assert header.rstrip().endswith("accuracy  n"), "no column may be squeezed out"


def test_a_pipe_does_not_widen_tables_beyond_what_they_need(comparison):
    lines = shown(show_view(comparison, COURSES), width=160).splitlines()
    rulers = [line for line in lines if "──" in line and "█" not in line]
    assert len(rulers) == 2 and max(map(len, rulers)) <= 84
    assert any(line.startswith("ratio: ") and len(line) > 100 for line in lines), "sentences stay whole there"


@pytest.mark.parametrize(
    "word",
    ["1210", "1.84", "[1.77, 1.91]", "faster", "slower", "identical", "16/16", "11/16", "81 %", "[57, 93]", "12.3 ms"],
)
def test_every_figure_is_readable(comparison, word):
    assert word in shown(comparison_view(comparison))


def test_warnings_findings_and_divergences_are_told(comparison):
    text = " ".join(shown(comparison_view(comparison)).split())
    assert "warning: llama-cpp ran on 2 threads, transformers on 1" in text
    assert "finding (warning): reference f32: round 2 took 1.4 times" in text
    assert "first parts at output token 17 of tiny-gsm/1/4, log-probability gap 0.41" in text
    assert "reference f32: tokens not comparable: sampled, not greedy" in text
    assert "above 1 is better than transformers f32" in text


def test_a_cell_without_figures_says_so(comparison):
    broken = make_row(
        "mlc", "q4", "not comparable", metrics={}, ratio=1.0, rounds=0, failed=3, n=0, accuracy=None,
        parity=Parity(verdict="not comparable", reason="no finished round"),
    ).model_copy(update={"ratio": Estimate(value=None), "metrics": {}})  # fmt: skip
    text = shown(comparison_view(comparison.model_copy(update={"rows": (*comparison.rows, broken)})))
    assert "n/a" in text and "3 failed" in text and "not comparable" in " ".join(text.split())


def test_bars_and_courses_have_a_plain_form_for_terminals_that_need_it(comparison):
    text = shown(show_view(comparison, COURSES, has_unicode=False)).split("demo: ")[0]
    assert text.isascii()
    longest = max(comparison.rows, key=lambda row: row.metrics["decode_tokens_per_s"].value)
    lines = {line.split("  ")[0].strip(): line.count("#") for line in text.splitlines()}
    assert max(lines, key=lambda name: lines[name]) == longest.cell.label
    assert "413 tokens/s 444" in text and "(1 lowest, 7 highest)" in text


def test_cells_without_a_course_have_none_and_no_key_to_it(comparison):
    text = shown(show_view(comparison, Courses("rounds", {"llama-cpp-q8_0": [1.0]})))
    assert "round by round" not in text


def test_cells_with_one_reason_share_a_line(comparison):
    unlike = Parity(verdict="not comparable", compared=0, identical=0, reason="no common problem")
    rows = [make_row("engine", f"q{i}", parity=unlike) for i in range(5)]
    text = shown(comparison_view(comparison.model_copy(update={"rows": (comparison.rows[0], *rows)})))
    assert "engine q0, engine q1, engine q2 and 2 more: tokens not comparable: no common" in " ".join(text.split())
