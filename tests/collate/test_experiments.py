"""Experiments of a folder: what is done of each, the index behind that, and other names, or a bin, for them."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from decodebench import UsageError
from decodebench.collate.collate import collate
from decodebench.core.api.experiments import delete, rename, restore, status
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.output.folder import KeptPlan, keep_plan
from decodebench.core.measure.output.round_index import FILE_NAME, RoundIndex
from decodebench.core.records.store import Store

from ..refusals import refused


def plan(logs, cells="ab", rounds=3):
    keep_plan(logs.folder, "exp", KeptPlan(rounds=rounds, cells={f"cell-{name}": f"engine {name}" for name in cells}))


def test_status_counts_what_is_wanted_done_and_failed(logs):
    plan(logs)
    logs.write("a", 0)
    logs.write("a", 1, status="crashed")
    logs.write("a", 2, end=False)
    logs.write("b", 0)
    logs.write("c", 0)  # of an earlier plan
    (state,) = status(logs.folder)
    assert (state.name, state.cells, state.done, state.to_do) == ("exp", 2, 2, 4)
    assert [(f.cell, f.round, f.status) for f in state.failed] == [
        ("engine a", 2, "crashed"), ("engine a", 3, "incomplete"),
    ]  # fmt: skip
    assert state.seconds_left is None  # no log has the time of a round


def test_what_is_left_is_estimated_by_the_rounds_of_each_cell(logs):
    plan(logs, "abc")
    logs.write("a", 0).write_text(logs.write("a", 1).read_text())
    for name, seconds in (("a", 10.0), ("b", 2.0)):
        path = logs.write(name, 0, name=f"{name}_timed.jsonl")
        *lines, end = path.read_text().splitlines()
        path.write_text("\n".join([*lines, json.dumps(json.loads(end) | {"wall_s": seconds})]) + "\n")
    (state,) = status(logs.folder)
    # a: rounds 0 and 1 are there; b: 0; c: none, so that it is thought to take the mean of the others
    assert state.to_do == 6 and state.seconds_left == pytest.approx(10 + 2 * 2 + 3 * 6)


def test_without_a_plan_nothing_is_said_to_be_missing(logs):
    logs.write("a", 0)
    (state,) = status(logs.folder)
    assert (state.cells, state.done, state.to_do) == (1, 1, None)
    with refused("folder-missing"):
        status(logs.folder / "none")


def test_the_index_follows_the_logs(logs):
    logs.write("a", 0)
    changed = logs.write("b", 0)
    assert RoundIndex(logs.folder).finished("exp") == {("cell-a", 0), ("cell-b", 0)}
    changed.write_text(changed.read_text().replace('"status": "ok"', '"status": "crashed"'))
    logs.write("c", 1)
    assert RoundIndex(logs.folder).finished("exp") == {("cell-a", 0), ("cell-c", 1)}
    changed.unlink()
    for damaged in ("", "[1, 2]\nno JSON\n" + (logs.folder / FILE_NAME).read_text()[:-20]):
        (logs.folder / FILE_NAME).write_text(damaged)
        assert RoundIndex(logs.folder).finished("exp") == {("cell-a", 0), ("cell-c", 1)}


def test_a_log_that_is_damaged_within_is_no_finished_round(logs):
    path = logs.write("a", 0)
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:-5]
    path.write_text("\n".join(lines) + "\n")
    assert status(logs.folder)[0].done == 1  # its last line says so
    assert RoundIndex(logs.folder).finished("exp") == set()
    assert status(logs.folder)[0].done == 0


def names(logs):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return sorted({row["experiment"] for row in store.dicts("SELECT experiment FROM runs")})


def test_a_renamed_experiment_keeps_everything_but_its_name(logs):
    plan(logs, rounds=1)
    before = logs.write("a", 0).read_text()
    logs.write("b", 0, experiment="other")
    logs.parity({"experiment": "exp", "baseline_cell": "cell-a", "cell": "cell-b", "sample_id": "p0", "position": 1,
                 "baseline_token": 1, "token": 2})  # fmt: skip
    assert names(logs) == ["exp", "other"]
    assert rename(logs.folder, "exp", "new") == 2
    assert names(logs) == ["new", "other"]
    after = (logs.folder / "raw" / "a" / "a_0.jsonl").read_text()
    assert after == before.replace('"experiment": "exp"', '"experiment": "new"')
    assert {state.name: state.to_do for state in status(logs.folder)} == {"new": 1, "other": None}
    for old, new, words in (
        ("exp", "x", "unknown experiment"),
        ("new", "other", "already"),
        ("new", "a/b", "may have"),
    ):
        with pytest.raises(UsageError, match=words):
            rename(logs.folder, old, new)


def test_a_deleted_experiment_is_in_the_bin_and_comes_back(logs):
    plan(logs, rounds=1)
    path = logs.write("a", 0)
    path.with_name("a_0.engine.txt").write_text("hello")
    logs.write("b", 0, experiment="other")
    whole = {file.relative_to(logs.folder) for file in logs.folder.rglob("*") if file.is_file()} - {FILE_NAME}
    place = delete(logs.folder, "exp")
    assert names(logs) == ["other"] and (place / "raw" / "a" / "a_0.engine.txt").read_text() == "hello"
    with refused("unknown-name", kind="experiment", name="exp"):
        delete(logs.folder, "exp")
    restore(logs.folder, "exp")
    assert whole <= {file.relative_to(logs.folder) for file in logs.folder.rglob("*") if file.is_file()}
    assert names(logs) == ["exp", "other"] and not place.exists()


def test_the_commands_do_what_the_functions_do(logs, cli):
    plan(logs)
    logs.write("a", 0)
    assert cli("status", logs.folder, "--json").json[0]["to_do"] == 5
    assert cli("experiments", "rename", "exp", "new", logs.folder).code == 0
    assert cli("experiments", "delete", "new", logs.folder).code == 0
    assert cli("status", logs.folder, "--json").json == []
    assert cli("experiments", "restore", "new", logs.folder).code == 0
    assert "new" in cli("status", logs.folder).out


LAUNCH = """
import resource, sys, time
from pathlib import Path
from decodebench.core.api.experiment import display, measurement
from decodebench.core.measure.plan import build

class Ends(Exception): pass

plan = build({"name": "exp", "rounds": 1, "workload": {"model": "tiny:draft", "prompt_tokens": 8, "output_tokens": 4},
              "cells": [{"backend": "llama-cpp", "quantisation": "f32",
                         "options": {"n_threads": {"from": 1, "to": 100}, "n_ctx": {"from": 600, "to": 699}}}]}, "test")
found = measurement(plan)
if sys.argv[2] == "ids":
    print("\\n".join(cell.id for cell in found.matrix.cells))
    sys.exit()
runner = found.runner(Path(sys.argv[1]), None)
def stop(self, *_): raise Ends
type(runner).prepared = stop
try:
    runner.run()
except Ends:
    print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_status_and_launch_of_ten_thousand_cells_take_three_seconds(logs, cache, monkeypatch):
    """All but ten cells are done, and no index is older than the logs but the one that the first look makes."""
    monkeypatch.setenv("DECODEBENCH_CACHE", str(cache))

    def launch(what):
        call = [sys.executable, "-c", LAUNCH, str(logs.folder), what]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout

    ids = launch("ids").split()
    assert len(ids) == 10_000
    for at, cell_id in enumerate(ids[10:]):
        logs.write("a", 0, cell_id=cell_id, run_id=f"{at:032x}", name=f"{at}.jsonl", content=[])
    keep_plan(logs.folder, "exp", KeptPlan(rounds=1, cells=dict.fromkeys(ids, "c")))
    RoundIndex(logs.folder).finished("exp")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    shown = subprocess.run(
        [sys.executable, "-m", "decodebench", "status", str(logs.folder), "--json"], capture_output=True, check=True
    )
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 3
    (state,) = json.loads(shown.stdout)
    assert (state["done"], state["to_do"]) == (9_990, 10)
    launch("run")  # measures the machine, once for all
    cpu_s, memory_mb = map(float, launch("run").split())
    assert cpu_s < 3 and memory_mb < 300, (cpu_s, memory_mb)
