"""What noise alone makes of the checks of rounds: simulated experiments without a difference, and with one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.comparison.observations import Cell, Round
from decodebench.collate.findings import found_of, no_further
from decodebench.collate.findings.subject import Subject
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from ..at_night import a_few

METRIC = "decode_tokens_per_s"
OF_NOISE = {"outlier-rounds", "variable-rounds", "drifting-rounds", "copied-rounds"}


@pytest.fixture(scope="module")
def store(tmp_path_factory, make_logs):
    """A store of which the simulated experiments take the columns; their own rows are in memory alone."""
    logs = make_logs(tmp_path_factory.mktemp("store"))
    logs.write("a")
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as opened:
        yield opened


def experiment(store, speeds):
    """The subject of an experiment with these speeds, [cells, rounds]."""
    (like,) = store.dicts("SELECT * FROM run_metrics")
    like |= {name: {} for name in ("options", "sampling", "settings", "environment", "conditions", "extra")} | {
        "totals": None
    }
    cells = []
    for name, values in enumerate(speeds):
        runs = [
            {**like, "cell_id": str(name), "backend": f"b{name}", "run_id": f"{name}-{i}", "round": i, METRIC: value}
            for i, value in enumerate(map(float, values))
        ]
        cells.append(Cell(str(name), runs[0], [Round((i, 0), run) for i, run in enumerate(runs)], []))
    return Subject(store, "simulated", cells, METRIC, 0.02)


def found_on_average(store, rounds, repetitions, noise):
    generator = np.random.default_rng(rounds)
    counts = Counter()
    for _ in range(repetitions):
        speeds = 100 * np.exp(noise(generator, (12, rounds)))
        counts.update(finding.check for finding in found_of(experiment(store, speeds), no_further))
    assert counts.keys() <= OF_NOISE
    return sum(counts.values()) / repetitions


def launch_noise(generator, shape):
    return 0.03 * generator.standard_normal(shape)


def heavy_tails(generator, shape):
    return 0.03 / np.sqrt(3) * generator.standard_t(3, shape)


@pytest.mark.nightly
@pytest.mark.parametrize("rounds", a_few(1, [3, 5, 10]))
def test_twelve_equal_cells_give_less_than_one_finding(store, rounds):
    """They gave 11.5: most rounds of three have an outlier by rank, and every cell would have needed more rounds."""
    assert found_on_average(store, rounds, 25, launch_noise) < 0.4


@pytest.mark.nightly
@pytest.mark.parametrize("rounds", [2, 3, 5, 10, 20])
def test_twelve_equal_cells_rarely_give_a_finding(store, rounds):
    assert found_on_average(store, rounds, 400, launch_noise) < 0.15


@pytest.mark.nightly
@pytest.mark.parametrize(("rounds", "most"), [(2, 0.3), (3, 0.5), (5, 0.9), (10, 1.2), (20, 1.2)])
def test_outliers_of_heavy_tails_are_one_finding(store, rounds, most):
    """Some of 240 rounds do stand apart then; they are told in one line."""
    assert found_on_average(store, rounds, 100, heavy_tails) < most


def test_one_noisy_cell_is_found_and_named_alone(store):
    speeds = 100 * np.exp(launch_noise(np.random.default_rng(1), (12, 5)))
    speeds[7] *= np.exp(0.3 * np.random.default_rng(2).standard_normal(5))
    (finding,) = found_of(experiment(store, speeds), no_further)
    assert (finding.check, finding.severity, finding.details) == ("variable-rounds", "warning", ())
    (name,) = finding.cells
    assert "b7" in name


def test_a_machine_that_slows_down_is_one_finding(store):
    noise = 0.005 * np.random.default_rng(3).standard_normal((12, 8))
    found = found_of(experiment(store, 100 * np.exp(noise - np.linspace(0, 0.1, 8))), no_further)
    (drift,) = [finding for finding in found if finding.check == "drifting-rounds"]
    assert len(drift.cells) == len(drift.details) == 12 and "11 more such, in " in drift.text


def test_the_rounds_that_are_needed_follow_from_the_scatter_of_the_ratio(logs):
    """Of each cell's own scatter half the number would do: a ratio has the noise of both."""
    generator = np.random.default_rng(4)
    for cell in "ab":
        logs.speeds(cell, 0.1 * np.exp(0.03 * generator.standard_normal(10)))
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as opened:
        baseline, row = compare(opened).rows
    assert baseline.rounds_needed is None
    expected = (1.96 * 0.03 * np.sqrt(2) / np.log(1.02)) ** 2 + 2
    assert row.rounds_needed == pytest.approx(expected, rel=0.5)


def test_no_more_rounds_are_needed_where_the_interval_is_narrow(logs):
    for cell in "ab":
        logs.speeds(cell, [0.1, 0.1001, 0.0999])
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as opened:
        assert compare(opened).rows[1].rounds_needed is None
