"""How many rounds there are, from Python: counted ahead, ended by a budget or an answer, counted once afterwards."""

from __future__ import annotations

import re

import pytest

import decodebench
from decodebench import WhenBusy
from decodebench.core.api.experiment import planned
from decodebench.core.measure.rounds import arrangement
from decodebench.core.measure.rounds.report import BudgetEnd

from .conftest import MATRIX

TINY = {"samples": 1, "warmup": 0, "max_new_tokens": 4}
THREE = {"step_s": [0.0, 0.001, 0.002]}


@pytest.fixture
def room_for_two(monkeypatch):
    """Let two workers fit into memory together, and no third one."""
    monkeypatch.setattr(arrangement, "free_memory", lambda devices: {"cpu": 3 * 2**29})


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
