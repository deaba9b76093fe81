"""Counts with their nouns, thousands separators, one order for terminal and page, and entries without a day."""

from __future__ import annotations

import pytest

from decodebench.collate.comparison.log_entry import log_entry
from decodebench.collate.comparison.result import Accuracy, Estimate, LoadCurve, LoadPoint, Parity
from decodebench.core.api.results import open as open_results
from decodebench.core.measure.rounds.report import describe_undecided
from decodebench.core.records.metrics import METRICS
from decodebench.viz.report.bars import bar_chart
from decodebench.viz.terminal.accuracy import accuracy_note
from decodebench.viz.terminal.answer import parity_text, sort_rows
from decodebench.viz.terminal.captions import about_intervals
from decodebench.viz.terminal.tables import comparison_view

from ..collate.conftest import Logs
from .report_pages import plain_charts
from .test_terminal import failed_row, shown

UNDIRECTED = next(name for name, metric in METRICS.items() if metric.higher_is_better is None)


@pytest.mark.parametrize(("n", "said"), [(1, "n = 1 problem"), (16, "n = 16 problems"), (1319, "n = 1,319 problems")])
def test_problems_are_counted_as_they_are(comparison, n, said):
    rows = [
        row.model_copy(update={"accuracy": Accuracy(task="t", value=Estimate(value=0.5, low=0.1, high=0.9, n=n))})
        for row in comparison.rows
    ]
    lines = list(about_intervals(comparison.model_copy(update={"rows": tuple(rows)})))
    assert f"accuracy: 95 % interval, {said}" in lines
    row = {"accuracy": 0.5, "accuracy_low": 0.1, "accuracy_high": 0.9, "accuracy_task": "t", "problems": n}
    assert f"{said}, each counted once" in accuracy_note([row])


def test_one_failed_round_and_one_more_round(comparison):
    failed = failed_row().model_copy(update={"failed": 1})
    text = shown(comparison_view(comparison.model_copy(update={"rows": (*comparison.rows, failed)})))
    assert "1 of 1 round failed" in text
    assert describe_undecided({"a": 1, "b": 4})[0].endswith("about 1 more round would be needed")


def test_large_counts_and_loads_have_separators(comparison):
    assert parity_text(Parity(verdict="differs", identical=1200, compared=1319)) == "1,200/1,319"
    points = [
        LoadPoint(cell_id=str(load), load=load, tokens_per_s=Estimate(value=5.0), figures={})
        for load in (0.5, 64, 1_000_000)
    ]
    curve = LoadCurve(name="engine", axis="concurrency", points=tuple(points))
    text = shown(comparison_view(comparison.model_copy(update={"load_curves": (curve,)})), 120)
    assert "1,000,000" in text and "1e+06" not in text and " 0.5 " in text


def test_a_metric_without_a_direction_is_sorted_alike_on_page_and_in_terminal(comparison):
    rows = [
        row.model_copy(update={"metrics": {UNDIRECTED: Estimate(value=value)}})
        for row, value in zip(comparison.rows, (3.0, 1.0, 4.0, 2.0), strict=True)
    ]
    found = comparison.model_copy(update={"rows": tuple(rows), "metric": UNDIRECTED})
    bars = bar_chart(found, plain_charts(found)["cells"]).bars
    assert [bar.label for bar in bars] == [row.cell.label for row in sort_rows(found)]


def test_an_entry_without_a_day_begins_with_its_experiment(tmp_path):
    logs = Logs(tmp_path)
    logs.write("a", started_at="")
    with open_results(tmp_path) as results:
        assert results.log_entry().startswith("#### exp: a f16\n")
        assert log_entry(results.store, results.compare()).startswith("#### exp: a f16\n")
