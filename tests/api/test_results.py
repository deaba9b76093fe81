"""``decodebench.open`` and ``compare``: the results of a folder as objects, frames, HTML and files."""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path

import pytest

import decodebench
from decodebench.core.api.comparison import Comparison
from decodebench.core.records.metrics import METRICS
from decodebench.viz.drawing.numbers import interval

from ..refusals import refused


@pytest.fixture
def results(measured):
    with decodebench.open(measured[2]) as opened:
        yield opened


def test_compare_takes_a_folder_or_its_open_results(measured, results):
    experiment, _, folder = measured
    compared = decodebench.compare(folder, experiment=experiment.name)
    assert (
        compared
        == results.compare(experiment=experiment.name)
        == decodebench.compare(results, experiment=experiment.name)
    )
    assert isinstance(compared, Comparison)
    assert compared.by == "step_s"


def test_a_baseline_and_a_metric_may_be_chosen(measured, results):
    found = results.compare(experiment=measured[0].name, baseline="faulty f32 step_s=0.002", metric="ttft_s")
    assert (found.baseline, found.metric) == ("faulty f32 step_s=0.002", "ttft_s")
    with refused("unknown-name", kind="metric", nearest="ttft_s"):
        results.compare(metric="tfft_s")


def test_a_steady_state_comparison_leaves_the_next_one_as_it_was(measured, results):
    name = measured[0].name
    before = results.compare(experiment=name)
    steady = results.compare(experiment=name, steady_state=True)
    assert steady.steady_state and steady.rows != before.rows
    assert results.compare(experiment=name) == before


FRAMES = [("pandas", "to_pandas"), ("polars", "to_polars"), ("pyarrow", "to_arrow")]


@pytest.mark.parametrize(("package", "method"), FRAMES)
def test_a_frame_has_a_row_per_cell_with_estimates_and_their_ends(measured, package, method):
    pytest.importorskip(package)
    comparison = measured[0].comparison
    frame = getattr(comparison, method)()
    column = frame.column_names if package == "pyarrow" else list(frame.columns)
    values = {name: list(frame[name].to_pylist() if package == "pyarrow" else frame[name]) for name in column}
    assert values["cell"] == [row.cell.label for row in comparison.rows]
    assert values["verdict"] == [row.verdict for row in comparison.rows]
    estimate = comparison.rows[1].metrics["decode_tokens_per_s"]
    assert values["decode_tokens_per_s"][1] == estimate.value
    assert (values["decode_tokens_per_s_low"][1], values["decode_tokens_per_s_high"][1]) == (
        estimate.low,
        estimate.high,
    )
    assert values["ratio"][1] == comparison.rows[1].ratio.value
    assert values["accuracy"][0] == comparison.rows[0].accuracy.value.value
    assert len(column) == len(set(column))
    assert {name for name in METRICS if name in comparison.rows[0].metrics} <= set(column)


@pytest.mark.parametrize(("package", "method"), FRAMES)
def test_the_results_of_a_folder_are_a_frame_with_a_row_per_round(measured, results, package, method):
    pytest.importorskip(package)
    frame = getattr(results, method)()
    rounds = results.query("SELECT count(*) FROM runs").rows[0][0]
    assert len(frame) == rounds >= len(measured[0].comparison.rows) * 2
    columns = frame.column_names if package == "pyarrow" else list(frame.columns)
    assert {"experiment", "cell_id", "round", "status", "decode_tokens_per_s"} <= set(columns)


def test_a_notebook_shows_the_experiments_of_a_folder(measured, results):
    html = results._repr_html_()
    assert html.count("<tr>") == 1 + len(results.experiments)
    assert measured[0].name in html


@pytest.mark.parametrize(("package", "method"), FRAMES)
def test_a_package_that_is_missing_is_named_with_its_command(measured, monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with refused("package-missing", f"pip install {package}"):
        getattr(measured[0].comparison, method)()


def test_a_query_is_a_table_even_without_rows(results):
    sql = "SELECT backend, round, status FROM runs WHERE backend = ? ORDER BY round"
    assert results.query(sql, ["faulty"]).to_pandas()["status"].unique().tolist() == ["ok"]
    assert results.query(sql, ["nobody"]).to_arrow().column_names == ["backend", "round", "status"]
    assert results.query(sql, ["nobody"]).to_polars().shape == (0, 3)
    with refused("query-failed", "nothere"):
        results.query("SELECT * FROM nothere")


def test_the_notebook_view_says_value_interval_verdict_and_warnings(measured):
    comparison = measured[0].comparison
    html = comparison._repr_html_()
    text = unescape(re.sub(r"<[^>]+>", " ", html))
    second = comparison.rows[1]
    assert html.count("<tr>") == 1 + len(comparison.rows)
    for word in (comparison.experiment, second.cell.label, second.verdict, f"{second.ratio.value:.2f}"):
        assert word in text, word
    assert interval(second.ratio)[1] in text
    assert all(found.line in text for found in comparison.findings)
    assert measured[0]._repr_html_() == html


def test_what_a_model_or_a_plan_is_called_is_no_markup(measured):
    renamed = measured[0].comparison.model_copy(update={"experiment": "<script>x</script>"})
    assert "<script>" not in renamed._repr_html_()
    assert "<b>" not in decodebench.Table(["a"], [["<b>"]])._repr_html_().replace("<p><b>", "")


def test_findings_and_log_entry_are_of_the_experiment(measured, results):
    assert all(finding.severity in ("error", "warning", "note") for finding in results.findings(measured[0].name))
    comparison = results.compare(experiment=measured[0].name)
    assert results.log_entry(comparison).count("#### ") == len(comparison.rows)


def test_files_are_written_where_they_are_asked_for(measured, results, tmp_path):
    comparison = results.compare(experiment=measured[0].name)
    drawn = results.draw(["summary_stats"], comparison, to=tmp_path / "f", fmt="svg")
    assert [file.suffix for file in drawn.files] == [".svg"] and all(file.is_file() for file in drawn.files)
    page = results.report(comparison, to=tmp_path / "page.html", figures=["summary_stats"])
    assert comparison.rows[1].cell.label in page.read_text(encoding="utf-8")
    assert all(Path(file).is_file() for file in results.export("json", comparison.experiment, to=tmp_path / "e"))


def test_figures_without_data_are_named_with_what_they_lack(measured, results, tmp_path):
    drawn = results.draw(["cycle_tau_cdf"], results.compare(experiment=measured[0].name), to=tmp_path)
    assert not drawn.files
    assert "cycle_tau_cdf" in drawn.missing
    with refused("unknown-name", kind="figure", nearest="summary_stats"):
        results.draw(["sumary_stats"])


def test_a_folder_without_results_is_refused(tmp_path):
    with refused("folder-missing"):
        decodebench.open(tmp_path / "nowhere")
    with pytest.raises(decodebench.UsageError):
        decodebench.open(tmp_path)


def test_a_log_that_cannot_be_read_is_a_problem_and_no_error(measured, tmp_path):
    import shutil

    shutil.copytree(measured[2], tmp_path / "o")
    (tmp_path / "o" / "raw" / "faulty" / "broken.jsonl").write_text("{nothing\n")
    told = []
    with decodebench.open(tmp_path / "o", progress=lambda *call: told.append(call)) as results:
        (problem,) = results.problems
        assert "broken.jsonl" in problem.file
        assert measured[0].name in results.experiments
    assert told
