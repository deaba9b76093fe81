"""A comparison by a dimension has a baseline in each group: every ratio is said to be relative to its own."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from decodebench.collate.comparison.gates import Gates
from decodebench.core.api.results import open as open_results
from decodebench.viz.report.answer import cards, headline
from decodebench.viz.terminal.tables import comparison_view

from ..collate.conftest import Logs

SPEEDS = {("a", "f16"): 100, ("a", "q4"): 150, ("b", "f16"): 1000, ("b", "q4"): 1100}


def measured(folder, speeds):
    logs = Logs(folder)
    for (engine, form), speed in speeds.items():
        logs.speeds(f"{engine}{form}", [1 / speed, 1.01 / speed, 1 / speed], backend=engine, quantisation=form)
    return open_results(folder)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with measured(tmp_path_factory.mktemp("groups"), SPEEDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def comparison(results):
    return results.compare(by="quantisation")


def test_the_headline_names_the_baseline_of_the_best_cell(comparison):
    assert headline(comparison) == "a q4 has 1.50× the decode speed of a f16"
    fastest, text, _ = cards(comparison)
    assert fastest.title == "Largest speed-up" and fastest.about.endswith("a q4 compared with a f16")
    assert text.about == "outputs of a q4 compared with a f16"


@pytest.mark.parametrize("last", [("b", "f16"), ("b", "q4")])
def test_a_group_of_one_cell_lends_its_name_to_no_other(tmp_path, last):
    speeds = {("b", last[1]): 1000, ("a", "f16"): 150, ("a", "q4"): 100}
    with measured(tmp_path, speeds) as opened:
        found = opened.compare(by="quantisation")
    assert headline(found) == "No cell shows a better decode speed than its baseline" or "b" not in headline(found)


def test_rows_and_the_table_of_python_have_their_own_baseline(comparison):
    assert [row.baseline for row in comparison.rows] == ["a f16", "a f16", "b f16", "b f16"]
    table = comparison.table()
    assert [row[table.columns.index("baseline")] for row in table.rows] == ["a f16", "a f16", "b f16", "b f16"]


def test_the_terminal_says_which_cells_a_baseline_stands_for(comparison):
    output = io.StringIO()
    Console(file=output, width=200).print(comparison_view(comparison))
    said = output.getvalue()
    assert "ratio to the baseline of its group" in said
    assert "relative to a f16: a q4" in said and "relative to b f16: b q4" in said


@pytest.mark.nightly
def test_log_entry_page_and_slides_name_them_too(results, comparison, tmp_path):
    entry = results.log_entry(comparison)
    assert re.findall(r"against (\w f16)", entry) == ["a f16", "b f16"]
    page = results.report(comparison, to=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "compared with the baseline of each group" in page and '<td class="words">b f16</td>' in page
    results.slides(comparison, to=tmp_path / "talk.pdf")
    deck = json.loads((tmp_path / "talk-slides" / "deck.json").read_text(encoding="utf-8"))
    assert deck["baseline"] == "the baseline of its group"
    assert [row["baseline"] for row in deck["rows"]] == ["a f16", "a f16", "b f16", "b f16"]


def test_baselines_trip_no_gate(comparison):
    tripped = Gates(slower=0.05, accuracy_drop=0.01, outputs_differ=True).tripped(comparison)
    assert [line for line in tripped if " f16" in line.partition(":")[0]] == []


def test_one_baseline_is_named_as_before(results):
    found = results.compare()
    assert headline(found) == "b q4 has 11.0× the decode speed of a f16" and not found.has_groups
