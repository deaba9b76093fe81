"""What a run would take, by one batch of each cell."""

from __future__ import annotations

import pytest

from decodebench.core.measure.forecast.probe import RoundEstimate, RunEstimate


def test_a_matrix_takes_the_rounds_of_its_cells_and_no_longer_than_their_time_out():
    cells = [RoundEstimate("a", 10.0, 25.0), RoundEstimate("b", 50.0, 90.0), RoundEstimate("c", reason="no weights")]
    found = RunEstimate(cells, rounds=3, timeout_s=30.0)
    assert (found.total_s, found.at_most_s) == (3 * (10 + 30), 3 * (25 + 30))
    slow, unknown = found.warnings()
    assert slow.startswith("b: a round takes about 50 s, and is stopped after 30 s")
    assert unknown == "c: no estimate: no weights"


@pytest.mark.nightly
@pytest.mark.engine
def test_a_dry_run_tries_each_cell_and_records_nothing(cli, tmp_path):
    run = ["run", "-b", "llama-cpp", "-m", "tiny:target", "--task", "tiny-gsm", "--samples", 5000, "--rounds", 2]
    shown = cli(*run, "--timeout", 90, "--dry-run", "--json", "-o", tmp_path / "out").json
    (cell,) = shown["cells"]
    assert 90 < cell["round_s"] <= cell["round_at_most_s"] and cell["reason"] is None
    assert shown["estimated_s"] == 2 * 90 and "--timeout" in shown["warnings"][0]
    assert not (tmp_path / "out").exists()
    alone = cli(*run, "--dry-run", "--no-probe", "--json", "-o", tmp_path / "out").json
    assert "round_s" not in alone["cells"][0] and "estimated_s" not in alone


def test_of_a_long_matrix_the_first_cells_are_printed(cli, tmp_path):
    many = (
        "--set",
        "n_threads={from=1,to=501}",
        "--prompt-tokens",
        4,
        "--dry-run",
        "--no-probe",
        "-o",
        tmp_path / "out",
    )
    run = ("run", "-b", "llama-cpp", "-q", "f32", "-m", "tiny:draft", *many)
    shown = cli(*run)
    assert shown.code == 0 and "n_threads=500" in shown.out and "n_threads=501" not in shown.out
    assert "1 further cell;" in shown.out and "501 cells x" in shown.out
    assert len(cli(*run, "--json").json["cells"]) == 501
