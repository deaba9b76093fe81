"""Experiments of a folder: what is done of each, the index behind that, and other names, or a bin, for them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench import UsageError
from decodebench.collate.collate import collate
from decodebench.core.api.experiments import delete, rename, restore, status
from decodebench.core.api.gathering import gather
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.output.folder import KeptPlan, keep_plan, locked
from decodebench.core.measure.output.round_index import FILE_NAME, RoundIndex
from decodebench.core.records.raw_log import RawLogError, read
from decodebench.core.records.store import Store

from ..at_night import examples
from ..damage import mutated, mutations
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


def torn(at, cut):
    """Tear a line in two, as a lost block of a disk does."""
    return lambda lines: [*lines[:at], lines[at][:cut], lines[at][cut:], *lines[at + 1 :]]


DAMAGES = {
    "the end of a line is missing": lambda lines: [*lines[:3], lines[3][:-5], *lines[4:]],
    "two lines run together": lambda lines: [*lines[:3], lines[3] + lines[4], *lines[5:]],
    "a line is torn at a comma": lambda lines: torn(3, lines[3].index(",") + 1)(lines),
    "a line is torn before a comma, which is lost": lambda lines: [
        *lines[:3], lines[3][: lines[3].index(",")], lines[3][lines[3].index(",") + 1 :], *lines[4:],
    ],
    "a line is empty": lambda lines: [*lines[:3], "", *lines[3:]],
    "a step is missing": lambda lines: [*lines[:3], *lines[4:]],
    "a step is there twice": lambda lines: [*lines[:4], lines[3], *lines[4:]],
    "a sample is there twice": lambda lines: [*lines[:-1], lines[2], lines[-1]],
    "a field has no number": lambda lines: [*lines[:3], lines[3].replace('"tokens": 1', '"tokens": "one"'), *lines[4:]],
    "a line is of no type": lambda lines: [*lines[:3], '{"type": "stop"}', *lines[3:]],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_log_that_is_damaged_within_is_a_finished_round_for_nobody(logs, cli, damage):
    plan(logs, "a", rounds=1)
    path = logs.write("a", 0)
    lines = path.read_text().splitlines()
    changed = DAMAGES[damage](lines)
    assert changed != lines and changed[-1] == lines[-1]
    path.write_text("\n".join(changed) + "\n")
    (state,) = cli("status", logs.folder, "--json").json
    assert (state["done"], state["to_do"]) == (0, 1)
    assert [(one["round"], one["status"], one["log"]) for one in state["failed"]] == [
        (1, "unreadable", "raw/a/a_0.jsonl"),
    ]  # fmt: skip
    assert RoundIndex(logs.folder).finished("exp") == set()  # which `run` asks for
    path.write_text("\n".join(lines) + "\n")
    assert status(logs.folder)[0].done == 1


@settings(deadline=None, max_examples=examples(400), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations(st.sampled_from([b"1", b"\n", b"{", b"}", b",", b"}\n{", b"},{", b'"', b"\xff"])))
def test_whatever_is_damaged_a_finished_round_is_one_that_is_read_whole(logs, make_logs, mutation):
    path = make_logs(logs.folder).write("a", 0, name=f"{uuid4()}.jsonl", scores=(1.0, 0.0))
    whole = path.read_bytes()
    assert RoundIndex(logs.folder).finished("exp")
    path.write_bytes(mutated(whole, *mutation))
    is_finished = RoundIndex(logs.folder).finished("exp") == {("cell-a", 0)}
    try:
        log = read(path)
    except RawLogError:
        log = None
    path.unlink()
    assert not is_finished or (log is not None and log.problem is None and log.run.status == "ok")


def test_logs_that_were_put_together_are_not_read_again(logs, make_logs, tmp_path):
    shards = [make_logs(tmp_path / name) for name in "12"]
    for cell, shard in zip("ab", shards, strict=True):
        shard.write(cell, 0)
    gather(logs.folder, [shard.folder for shard in shards])
    for log in (logs.folder / "raw").glob("*/*.jsonl"):  # as long and as old as it was
        stat = log.stat()
        log.write_bytes(b"x" * stat.st_size)
        os.utime(log, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert status(logs.folder)[0].done == 2 and len(RoundIndex(logs.folder).finished("exp")) == 2
    (logs.folder / FILE_NAME).unlink()
    assert [state.name for state in status(logs.folder)] == [""]


def test_an_experiment_that_was_planned_is_listed_before_its_first_log(logs, cli):
    plan(logs)
    (state,) = status(logs.folder)
    assert (state.name, state.cells, state.done, state.to_do) == ("exp", 2, 0, 6)
    assert "exp" in cli("status", logs.folder).out
    assert rename(logs.folder, "exp", "new") == 0 and status(logs.folder)[0].name == "new"
    delete(logs.folder, "new")
    assert status(logs.folder) == []
    restore(logs.folder, "new")
    assert status(logs.folder)[0].to_do == 6


@pytest.mark.parametrize("first", ["", '{"type": "run", "sche\n', "{}\n", '{"type": "run", "schema": 1}\n', "\0" * 99])
def test_a_log_that_does_not_say_of_which_round_it_is_is_listed(logs, cli, first):
    logs.write("a", 0)
    logs.parity({"experiment": "exp", "baseline_cell": "a", "cell": "b", "sample_id": "p", "position": 1,
                 "baseline_token": 1, "token": 2})  # fmt: skip
    path = logs.write("b", 0)
    path.write_text(first + "\n".join(path.read_text().splitlines()[1:]) if first else "")
    states = {state.name: state for state in status(logs.folder)}
    assert states["exp"].done == 1 and states[""].unreadable == ("raw/b/b_0.jsonl",)
    shown = cli("status", logs.folder)
    assert shown.code == 0 and "raw/b/b_0.jsonl: unreadable" in shown.out


def test_a_round_that_is_being_measured_runs_and_one_left_behind_has_failed(logs, cli):
    plan(logs, "abc", rounds=1)
    logs.write("a", 0, end=False)
    time.sleep(0.05)  # files have the time of the system's last tick
    with locked(logs.folder):
        logs.write("b", 0, end=False)
        logs.write("c", 0)
        (logs.folder / "raw" / "d.d").mkdir()
        (logs.folder / "raw" / "d.d" / "begins.jsonl.part").touch()
        (state,) = cli("status", logs.folder, "--json").json
        assert "engine b, round 1: running" in cli("status", logs.folder).out
        assert (state["done"], state["to_do"]) == (1, 2)
        assert [one["cell"] for one in state["running"]] == ["engine b"]
        assert [(one["cell"], one["status"]) for one in state["failed"]] == [("engine a", "incomplete")]
    with locked(logs.folder):
        (state, nameless) = status(logs.folder)
        assert [one.cell for one in state.failed] == ["engine a", "engine b"] and not state.running
        assert nameless.unreadable == ("raw/d.d/begins.jsonl.part",)


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
def test_status_and_launch_of_ten_thousand_cells_take_three_seconds(logs, make_logs, tmp_path, cache, monkeypatch):
    """All but ten cells are done, by two shards that were put together."""
    monkeypatch.setenv("DECODEBENCH_CACHE", str(cache))

    def launch(what):
        call = [sys.executable, "-c", LAUNCH, str(logs.folder), what]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout

    ids = launch("ids").split()
    assert len(ids) == 10_000
    shards = [make_logs(tmp_path / f"shard-{at}") for at in range(2)]
    for at, cell_id in enumerate(ids[10:]):
        shards[at % 2].write("a", 0, cell_id=cell_id, run_id=f"{at:032x}", name=f"{at}.jsonl", content=[])
    keep_plan(shards[0].folder, "exp", KeptPlan(rounds=1, cells=dict.fromkeys(ids, "c")))
    gather(logs.folder, [shard.folder for shard in shards])
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
