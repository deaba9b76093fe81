"""Tables of the sweeps: all headers, rows without a result, histograms that break the columns, cut files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.core.records.raw_log import RawLogError
from decodebench.plugins.dflash.logs.summary_csv import SummaryTable

DATA = Path(__file__).parents[2] / "data" / "dflash"


def read(path):
    assert SummaryTable().matches(path, path.read_bytes())
    return list(SummaryTable().read(path))


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "summary.csv"
        path.write_text(text)
        return read(path)

    return write


def figure(run, name):
    return float(run.settings[f"published_{name}"])


def test_a_row_is_a_run_and_its_baseline_another():
    baseline, run = read(DATA / "block_sweep.csv")[:2]
    assert (baseline.options, run.options) == ({"block_size": 1}, {"block_size": 8})
    assert (run.task, run.samples, run.status) == ("aime25", 3, "ok")
    names = ("total_wall_s", "tokens_per_s", "tpot_s", "ttft_s")
    assert [figure(run, name) for name in names] == [15, 100, 0.01, 0.11]
    assert [figure(baseline, name) for name in names] == [60, 25, 0.04, 0.1]
    assert (figure(run, "tpot_speedup"), figure(run, "tau_mean")) == (4, 5.5)
    assert json.loads(run.settings["published_tau_shares"]) == [0, 0.5, 0, 0, 0, 0, 0, 0, 0.5]
    assert run.settings["published_log_path"] == "logs/a_bs8.log"
    assert run.environment.gpu == ("NVIDIA A100 80GB PCIe",)


def test_rows_without_a_result_say_why():
    runs = {run.options["block_size"]: run for run in read(DATA / "block_sweep.csv")}
    assert (runs[24].status, runs[24].reason) == (
        "failed", "the sweep recorded ERROR: speedup, tau, acceptance_histogram",
    )  # fmt: skip
    assert (runs[32].status, runs[32].reason[:26]) == ("skipped", "the sweep recorded DRY_RUN")
    assert (runs[12].status, runs[12].reason) == ("incomplete", "tau is NA: the run's log had no such line")
    assert runs[20].status == "ok" and "published_tpot_speedup" not in runs[20].settings  # its baseline was skipped
    for size in (12, 24, 32):
        assert not {"published_tau_mean", "published_tpot_s"} & set(runs[size].settings)


def test_a_histogram_that_was_cut_is_left_out():
    run = next(run for run in read(DATA / "block_sweep.csv") if run.options["block_size"] == 16)
    assert run.status == "ok" and "published_tau_shares" not in run.settings
    assert any("histogram is cut off" in note for note in run.notes)


@pytest.mark.parametrize(
    ("name", "size", "speedup", "tau", "modes"),
    [
        ("block_sweep_7.csv", 16, 6.24, 7.67, ["speculative"]),
        ("block_sweep_8.csv", 12, 5.60, 6.80, ["speculative"]),
        ("block_sweep_10.csv", 8, 4.46, 5.46, ["baseline", "speculative"]),
    ],
)
def test_older_headers_read_by_their_names(name, size, speedup, tau, modes):
    runs = read(DATA / name)
    assert [run.conditions["mode"] for run in runs] == modes
    run = runs[-1]
    assert (run.options["block_size"], run.samples) == (size, 8)
    assert (figure(run, "tpot_speedup"), figure(run, "tau_mean")) == (speedup, tau)
    if len(modes) == 2:
        assert figure(runs[0], "tpot_s") / figure(run, "tpot_s") == pytest.approx(speedup, abs=0.005)


def test_a_fixed_prefix_sweep_shares_its_two_references():
    runs = read(DATA / "fixed_prefix_sweep.csv")
    assert [run.conditions["mode"] for run in runs] == ["baseline", "vanilla", *["speculative"] * 3]
    _, vanilla, second, sixth, last = runs
    assert (vanilla.options, figure(vanilla, "total_wall_s")) == ({"block_size": 16}, 12)
    assert second.options == {
        "block_size": 16, "candidate_mode": "fixed_prefix_rank", "fixed_prefix_len": 2, "sparse_max_positions": 4,
        "branch_top_k": 4, "max_candidates": 4,
    }  # fmt: skip
    for run in (second, sixth):
        gain = figure(vanilla, "total_wall_s") / figure(run, "total_wall_s")
        assert figure(run, "e2e_speedup_vs_vanilla_bs") == pytest.approx(gain, abs=1e-6)
        shares = figure(run, "target_share_decode") + figure(run, "draft_share_decode")
        assert shares == pytest.approx(1)
    assert figure(second, "avg_target_decode_s") == 3.1 and figure(second, "total_profiled_cycles") == 95
    assert figure(sixth, "avg_verify_calls_per_sample") == 34
    assert last.status == "incomplete"


def test_histograms_with_bare_commas_do_not_shift_the_columns():
    baseline, four, two = read(DATA / "multi_block.csv")
    assert figure(baseline, "tpot_s") == 0.04
    assert json.loads(four.settings["published_tau_shares"]) == [0, 0.2, 0.2, 0.3, 0.3]
    assert json.loads(two.settings["published_tau_shares"]) == [0, 0.2, 0.8]
    assert [figure(run, "world_size") for run in (four, two)] == [1, 1]
    assert [figure(run, "total_wall_s") for run in (four, two)] == [20, 40]


def test_a_header_alone_is_an_incomplete_artifact():
    (run,) = read(DATA / "block_sweep_started.csv")
    assert (run.status, run.reason) == ("incomplete", "only a header: the sweep wrote no row")


def test_columns_are_known_by_name_in_any_order(written):
    text = (DATA / "block_sweep_10.csv").read_text()
    rows = [line.replace("\"['0.0%', '100.0%']\"", "NA").split(",") for line in text.splitlines()]
    baseline, run = written("".join(",".join(reversed(row)) + "\n" for row in rows))
    assert (figure(baseline, "tpot_s"), figure(run, "tau_mean"), run.task) == (0.046, 5.46, "aime25")


def test_a_cut_table_keeps_its_whole_rows(written):
    text = (DATA / "block_sweep.csv").read_text()
    runs = written(text[: text.index("\naime25,3,16") + 40])
    assert [run.options["block_size"] for run in runs] == [1, 8]
    assert {run.status for run in runs} == {"incomplete"}
    assert runs[0].reason == "the table ends inside its line 3, which is left out: it was cut"
    (run,) = written(text[: text.index("\n")])
    assert (run.status, run.settings, run.conditions) == ("incomplete", {}, {"mode": "unknown"})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.010000", "nan", ":2: field 'speculative_tpot': 'nan'"),
        ("0.010000", "-0.01", ":2: field 'speculative_tpot': '-0.01'"),
        (",16,5.00", ",sixteen,5.00", ":3: field 'block_size': 'sixteen' must be an integer"),
        (",8,4.00", ",0,4.00", ":2: field 'block_size': '0' "),
        ("15.000000,", "15.000000,1,", ":2: field 'line': 20 fields under 19 columns"),
        ("'50.0%'", "50", "list of percentages"),
    ],
)
def test_a_bad_value_is_named_with_file_line_and_column(written, old, new, words):
    text = (DATA / "block_sweep.csv").read_text()
    with pytest.raises(RawLogError) as caught:
        written(text.replace(old, new))
    assert words in str(caught.value)
