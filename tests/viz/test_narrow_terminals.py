"""Nothing is lost in a narrow terminal: what does not fit as columns is printed as blocks."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from decodebench.core.cli.output import console, print_table
from decodebench.viz.terminal.fitting import FittingTable
from decodebench.viz.terminal.sparkline import Courses
from decodebench.viz.terminal.tables import show_view

from .test_terminal import failed_row, matrix, shown

WIDTHS = (20, 40, 60, 80, 120)
VALUES = (
    "655",
    "1,210",
    "1.84 [1.73, 1.95]",
    "0.63 [0.59, 0.67]",
    "16/16",
    "11/16",
    "81 % [57, 93]",
    "12.3 ms",
    "296 MiB",
)


def squeezed(text: str) -> str:
    """The text without its breaks: a line is folded anywhere where it is narrower than a word."""
    return "".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("has_failed", [False, True])
def test_every_value_of_a_comparison_is_there(comparison, width, has_failed):
    rows = (*comparison.rows, failed_row()) if has_failed else comparison.rows
    found = comparison.model_copy(update={"rows": rows})
    courses = Courses("rounds", {"llama-cpp-q8_0": [1200.0, 1210.0, 600.0]})
    text = shown(show_view(found, courses, has_unicode=False), width)
    assert max(map(len, text.splitlines())) <= width
    assert [value for value in VALUES if squeezed(value) not in squeezed(text)] == []
    assert [row.cell.label for row in rows if squeezed(row.cell.label) not in squeezed(text)] == []
    assert "…" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_forty_hard_cells_keep_their_intervals(comparison, width):
    found = matrix(comparison, 40, "", is_hard=True)
    text = squeezed(shown(show_view(found, Courses("rounds", {})), width))
    assert text.count(squeezed("[<0.001, >1,000]")) == 38


@pytest.mark.parametrize("width", range(8, 100, 7))
def test_a_table_is_whole_or_in_blocks(width):
    table = FittingTable("cell")
    for heading in ("first\nheading", "second"):
        table.add_column(heading, no_wrap=True)
    table.add_row("a-name", "0123456789", "0123456789 0123456789")
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    text = output.getvalue()
    assert squeezed(text).count("0123456789") == 3 and max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_listing_keeps_every_value(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(["name", "a long heading"], [["x" * 30, "one two " + "y" * 50]], empty="none")
    text = squeezed(capsys.readouterr().out)
    assert "x" * 30 in text and "y" * 50 in text


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        (None, 160),
        ("", 160),
        ("0", 160),
        ("-5", 160),
        ("wide", 160),
        ("٣٣", 160),
        ("3", 20),
        ("50", 50),
        ("9" * 99, 9999),
    ],
)
def test_columns_counts_where_it_is_a_number(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns) if columns is not None else monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == width


@pytest.mark.parametrize(("columns", "longest"), [("60", 60), ("120", 120), ("0", 80), ("none", 80)])
def test_help_is_as_wide_as_columns_says(cli, columns, longest):
    lines = cli.cold("run", "--help", env={"COLUMNS": columns}).out.splitlines()
    folded = [line for line in lines if not line.strip().startswith("decodebench ")]  # examples stay whole
    assert longest - 20 < max(map(len, folded)) <= longest
