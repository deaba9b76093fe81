"""Cells that failed: headline and cards claim nothing about what was not measured."""

from __future__ import annotations

import pytest

from decodebench.core.api.results import open as open_results
from decodebench.viz.report.answer import cards, headline
from decodebench.viz.terminal.captions import headline as terminal_headline

from ..collate.conftest import Logs


def compared(folder, measured, failed):
    logs = Logs(folder)
    for cell in failed:
        logs.write(cell, 0, content=[], status="failed")
    for cell in measured:
        logs.speeds(cell, (0.1, 0.11))
    with open_results(folder) as results:
        return results.compare()


@pytest.mark.parametrize(
    ("measured", "failed", "said"),
    [
        ("", "a", "Nothing was measured: 1 of 1 cell failed"),
        ("", "abc", "Nothing was measured: 3 of 3 cells failed"),
        ("b", "ac", "Only b f16 was measured: 2 of 3 cells failed"),
    ],
)
def test_the_headline_says_what_was_not_measured(tmp_path, measured, failed, said):
    found = compared(tmp_path, measured, failed)
    assert headline(found) == said
    assert terminal_headline(found) == said[0].lower() + said[1:]
    assert cards(found)[0].value in ("unknown", "one cell")


def test_two_measured_cells_are_compared_whatever_else_failed(tmp_path):
    assert headline(compared(tmp_path, "ab", "c")) == "No cell shows a better decode speed than a f16"


def test_one_measured_cell_has_its_value(tmp_path):
    assert headline(compared(tmp_path, "a", "")).startswith("a f16: ")
