"""How many rounds there are, from Python: counted ahead, ended by a budget or an answer, counted once afterwards."""

from __future__ import annotations

import re

import pytest

import decodebench
from decodebench import WhenBusy
from decodebench.core.api.experiment import display, planned
from decodebench.core.api.stages import Stages, run_in_stages
from decodebench.core.contract.launcher import Outcome
from decodebench.core.measure.local_launcher import LocalLauncher
from decodebench.core.measure.machine.condition import Condition
from decodebench.core.measure.rounds import arrangement, machines
from decodebench.core.measure.rounds.report import BudgetEnd
from decodebench.core.records import raw_log

from ..at_night import at_night
from .conftest import MATRIX

TINY = {"samples": 1, "warmup": 0, "max_new_tokens": 4}
QUIET, BUSY = Condition(0.0, 2, 0.0), Condition(1.5, 2, 1.5)
THREE = {"step_s": [0.0, 0.001, 0.002]}


@pytest.fixture
def room_for_two(monkeypatch):
    """Let two workers fit into memory together, and no third one."""
    monkeypatch.setattr(arrangement, "free_memory", lambda devices: {"cpu": 3 * 2**29})


@pytest.mark.nightly
def test_a_baseline_of_two_groups_is_counted_ahead_and_is_no_more_rounds(plugins, room_for_two, tmp_path):
    told = []
    how = {**MATRIX, **TINY, "options": THREE, "interleave": "samples"}
    experiment = decodebench.run(**how, rounds=2, output=tmp_path / "o", progress=told.append)
    counted = [tuple(map(int, found.groups())) for line in told if (found := re.match(r"\[(\d+)/(\d+)\]", line))]
    assert counted == [(at, 8) for at in range(1, 9)]
    assert all("left" in line for line in told if re.match(r"\[[1-7]/8\]", line)), told
    rows = experiment.comparison.rows
    assert [(row.rounds, row.n, row.ratio.n) for row in rows] == [(2, 2, 2)] * 3
    assert {estimate.n for row in rows for name, estimate in row.metrics.items() if name != "accuracy"} == {2}


def test_a_budget_that_ends_a_run_says_where_and_each_run_adds_a_round(plugins, tmp_path):
    for rounds in (1, 2, 3):
        report = decodebench.run(**MATRIX, **TINY, rounds=3, budget_s=0.001, output=tmp_path / "o").report
        assert report.done == 1
        assert report.budget_end == (BudgetEnd(rounds, 3) if rounds < 3 else None)


def test_an_answered_experiment_is_looked_at_once_and_needs_no_idle_machine(plugins, tmp_path, monkeypatch):
    found = planned(None, {**MATRIX, **TINY, "options": {"step_s": [0.0, 0.001]}, "until": "verdict"})
    looked = []

    def look(experiment):
        looked.append(experiment)
        return []

    first = found.runner(tmp_path / "o", None).run(look=look)
    assert (first.done, len(looked)) == (4, 1)

    def settle(*_):
        raise AssertionError("nothing is to be measured")

    runner = found.runner(tmp_path / "o", None)
    monkeypatch.setattr(runner._machines, "settle", settle)
    again = runner.run(look=look, when_busy=WhenBusy(wait_s=600, refuses=True))
    assert (again.done, again.kept, len(looked)) == (0, 4, 2)


def sent_until(monkeypatch, samples, steps):
    """Let the time be up once a worker has sent so many whole samples and steps of the next one."""
    whole = LocalLauncher.run

    def run(self, launch, on_line):
        seen = {"sample": 0, "step": 0}

        def take(line):
            kind = line["type"]
            if kind == "sample":
                seen["sample"], seen["step"] = seen["sample"] + 1, 0
            elif kind == "step":
                seen["step"] += 1
            if seen["sample"] <= samples or (seen["sample"] == samples + 1 and seen["step"] <= steps):
                on_line(line)

        outcome = whole(self, launch, take)
        return Outcome("timeout", "stopped after the time-out of 4 s") if seen["sample"] else outcome

    monkeypatch.setattr(LocalLauncher, "run", run)


@pytest.mark.parametrize(
    ("batch_size", "samples", "steps", "count"),
    at_night(
        [(1, 2, 0, 2), (1, 2, 3, 2), (1, 2, 4, 3), (2, 3, 2, 2), (2, 3, 4, 4), (2, 1, 1, 0), (1, 0, 0, 0)],
        but=[(1, 2, 3, 2), (2, 3, 2, 2)],
    ),
)
def test_samples_that_are_whole_when_the_time_is_up_count(
    plugins, tmp_path, monkeypatch, batch_size, samples, steps, count
):
    """A batch counts as a whole: its throughput is that of all its rows."""
    sent_until(monkeypatch, samples, steps)
    how = {**MATRIX, **TINY, "samples": 5, "batch_size": batch_size, "rounds": 1}
    experiment = decodebench.run(**how, output=tmp_path / "o")
    cut = [reason for _, _, reason in experiment.report.cut]
    assert cut == [f"stopped after the time-out of 4 s with {count} of 5 samples, which count"][: bool(count)]
    assert (experiment.report.done, len(experiment.report.failed)) == (int(count > 0), int(count == 0))
    (file,) = (tmp_path / "o" / "raw").glob("*/*.jsonl")
    log = raw_log.read(file)
    tokens = [sum(step.tokens for step in log.steps if step.sample == sample.index) for sample in log.samples]
    assert tokens == [4] * count and all(sample.score is not None for sample in log.samples)
    if count:
        assert experiment.comparison.rows[0].n == count


@pytest.mark.parametrize("looks", [[BUSY, BUSY], pytest.param([QUIET, BUSY], marks=pytest.mark.nightly)])
def test_an_experiment_in_two_stages_looks_at_the_machine_once(plugins, tmp_path, monkeypatch, looks):
    """It says once that it is busy, and is not refused once its first stage is measured."""
    seen, told = list(looks), []
    monkeypatch.setattr(machines, "look", lambda devices: seen.pop(0))
    found = planned(None, {**MATRIX, **TINY, "options": {"step_s": [0.0, 0.001]}, "rounds": 1, "interleave": "rounds"})
    stages = Stages([found.matrix.cells[0].id], 100.0, 200.0)
    how = {"when_busy": WhenBusy(refuses=looks[0] is QUIET), "progress": display(told.append)}
    experiment = run_in_stages(found, tmp_path / "o", stages, on_first=lambda comparison: None, **how)
    assert experiment.report.done == 2 and len(seen) == 1
    assert sum("machine is busy" in line for line in told) == (looks[0] is BUSY)
