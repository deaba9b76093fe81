"""The terminal view at 80 columns, in a pipe and without colour."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from decodebench.collate.comparison.result import Estimate, Parity
from decodebench.viz.terminal.sparkline import Courses
from decodebench.viz.terminal.tables import comparison_view, show_view

from .conftest import DIVERGENCE, make_row

COURSES = Courses("rounds", {"llama-cpp-q8_0": [1200.0, 1210.0, 600.0] * 10, "reference-f32": [412.0, 411.0, 413.0]})
NO_ROUND = Parity(verdict="not comparable", reason="no finished round")
OPTIONS = "Meta-Llama-3.1-8B-Instruct cuda:0 kv_cache_type=f16 flash_attention=on n_threads=2"


def shown(renderable, width: int = 80) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(renderable)
    return output.getvalue()


def table_of(text: str) -> list[str]:
    """The lines of the first table: below its rule, as far as figures go."""
    lines = text.splitlines()
    rule = next(i for i, line in enumerate(lines) if set(line.strip()) == {"─"})
    return lines[rule + 1 :]


def failed_row(label="mlc q4"):
    row = make_row("mlc", "q4", "not comparable", 1.0, NO_ROUND, label, rounds=0, failed=3, n=0)
    none = Estimate(value=None)
    return row.model_copy(update={"ratio": none, "ratio_simultaneous": none, "metrics": {}, "accuracy": None})


def matrix(comparison, cells, further, *, is_hard):
    """A comparison of so many cells; a hard one has a failed cell, no accuracy and intervals of two rounds."""
    verdicts = ("faster", "slower", "equivalent", "no difference shown")
    ties = Parity(verdict="ties only", identical=11, compared=16, divergences=(DIVERGENCE,))
    base = comparison.rows[0]
    rows = [
        make_row("llama-cpp", f"q{i}", verdicts[i % 4], (0.004, 1.02, 12.4, 312.0)[i % 4], ties,
                 label=f"llama-cpp q{i}_k_m{further and ' ' + further}")
        for i in range(cells - 1)
    ]  # fmt: skip
    if is_hard:
        wide = [
            row.model_copy(
                update={"accuracy": None, "ratio_simultaneous": Estimate(value=1.0, low=0.0001, high=9999.0, n=2)}
            )
            for row in rows
        ]
        base, rows = base.model_copy(update={"accuracy": None}), [*wide[:-1], failed_row()]
    return comparison.model_copy(update={"rows": (base, *rows), "comparisons": cells - 1})


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("cells", [2, 14, 40])
@pytest.mark.parametrize("further", ["", OPTIONS])
@pytest.mark.parametrize("is_hard", [False, True])
def test_every_column_is_whole_at_every_width(comparison, width, cells, further, is_hard):
    found = matrix(comparison, cells, further, is_hard=is_hard)
    text = shown(comparison_view(found, has_unicode=True), width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    words = " ".join(text.split())
    has_accuracy = () if is_hard else ("[95 %]",)
    n = ("n",) if is_hard else ()
    heading = next(line for line in text.splitlines() if "tokens/s" in line)
    assert re.split(r" +(?!%)", heading.strip()) == ["cell", "tokens/s", "[95 %]", "text", *has_accuracy, *n]
    labels = words if further else " ".join(table_of(text))
    assert all(row.cell.label.split()[1] in labels for row in found.rows)
    assert ("accuracy: not scored" in words) == is_hard
    assert ("3 of 3 rounds failed" in words) == is_hard


def test_the_fastest_is_first_and_what_has_no_value_last(comparison):
    found = comparison.model_copy(update={"rows": (*comparison.rows, failed_row())})
    table = table_of(shown(comparison_view(found), 120))
    expected = ["llama-cpp q8_0", "llama-cpp q4_k_m", "transformers f32", "reference f32", "mlc q4"]
    assert [re.split(r"  +", line)[0] for line in table[:5]] == expected
    assert table[4].split()[2:] == ["n/a", "n/a", "n/a", "n/a", "0"]
    by_time = found.model_copy(update={"metric": "ttft_s"})
    assert table_of(shown(comparison_view(by_time), 120))[4].startswith("mlc q4")


def test_a_row_has_speed_ratio_text_and_accuracy(comparison):
    rows = table_of(shown(comparison_view(comparison, has_unicode=False), 120))
    assert re.split(r"  +", rows[0]) == [
        "llama-cpp q8_0",
        "1,210",
        "#" * 24,
        "1.84 [1.73, 1.95]",
        "16/16",
        "81 % [57, 93]",
    ]
    assert re.split(r"  +", rows[2])[3] == "baseline"
    assert "1.02 [0.96, 1.08] ?" in rows[1], "an interval that holds 1 shows no difference, and is no equivalence"


def test_bars_are_as_long_as_their_values(comparison):
    rows = table_of(shown(comparison_view(comparison, has_unicode=False), 120))[:4]
    speeds = [float(re.split(r"  +", row)[1].replace(",", "")) for row in rows]
    assert [row.count("#") for row in rows] == [round(24 * speed / max(speeds)) for speed in speeds]
    assert "█" in shown(comparison_view(comparison, has_unicode=True))


def test_rounds_are_in_the_headline_or_in_a_column(comparison):
    alike = shown(comparison_view(comparison))
    assert "n = 3 rounds" in alike
    one, *others = comparison.rows
    unlike = comparison.model_copy(update={"rows": (one, *(row.model_copy(update={"rounds": 5}) for row in others))})
    table = table_of(shown(comparison_view(unlike), 120))
    assert sorted(line.split()[-1] for line in table[:4]) == ["3", "5", "5", "5"]


def test_warnings_findings_and_divergences_are_told(comparison):
    text = " ".join(shown(comparison_view(comparison)).split())
    assert f"warning: {comparison.warnings[0]}" in text
    assert f"warning: {comparison.findings[0]} [outliers]" in text
    assert "token 17 of tiny-gsm/1/4" in text and "0.41" in text
    assert "reference f32: text not comparable: sampled, not greedy" in text


def test_show_has_courses_times_and_memory(comparison):
    text = shown(show_view(comparison, COURSES, has_unicode=False))
    assert "413 tokens/s" not in text and "12.3 ms" in text and "412 ms" in text and "296 MiB" in text
    assert re.search(r"^reference f32 +444 ", text, re.MULTILINE) and "(1 lowest, 7 highest)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_only_show_has_is_said(comparison):
    listed = next(line for line in shown(comparison_view(comparison), 160).splitlines() if "decodebench show" in line)
    assert all(name in listed for name in ("time to first token", "load time", "peak memory"))


def test_cells_without_a_course_have_none_and_no_key_to_it(comparison):
    text = shown(show_view(comparison, Courses("rounds", {"llama-cpp-q8_0": [1.0]})))
    assert "course" not in text


def test_cells_with_one_reason_share_a_line(comparison):
    unlike = Parity(verdict="not comparable", compared=0, identical=0, reason="no common problem")
    rows = [make_row("engine", f"q{i}", parity=unlike) for i in range(5)]
    text = shown(comparison_view(comparison.model_copy(update={"rows": (comparison.rows[0], *rows)})))
    assert "engine q0, engine q1, engine q2 and 2 more: text not comparable: no common" in " ".join(text.split())
