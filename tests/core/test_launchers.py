"""Launchers: what plugins provide runs the workers, and records say of a machine elsewhere what its launcher knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.core.records.store import Store

PLUGIN = """
from decodebench import Availability, Launcher, Outcome, Place, hookimpl, run_here
from decodebench.core.records.schema import Environment


class Far(Launcher):
    name = "far"
    summary = "as another machine would be"

    def environment(self):
        return Environment(hostname="far-away", cores_used=1)

    def run(self, launch, on_line):
        assert launch.threads == 1 and launch.need.device == "cpu"
        return run_here(launch, on_line)


class Lossy(Far):
    name = "lossy"
    left = {"cells": 0, "rounds": 1}

    def choose(self, needs):
        assert {(need.device, need.backend) for need in needs} == {("cpu", "faulty")}
        self.left = dict(self.left)

    def run(self, launch, on_line):
        outcome = run_here(launch, on_line)
        kind = "cells" if launch.is_preparation else "rounds"
        self.left[kind] -= 1
        return outcome if self.left[kind] < 0 else Outcome("crashed", "lost for good", is_lost=True)


class Hopeless(Lossy):
    name = "hopeless"
    left = {"cells": 1, "rounds": 9}


class Cluster(Far):
    name = "cluster"
    lost = []

    def choose(self, needs):
        raise AssertionError("an experiment across hosts has no one host")

    def places(self, needs):
        return [Place(host, host, "cpu", frozenset({"faulty"})) for host in ("one", "two") if host not in self.lost]

    def environment_of(self, place):
        return Environment(hostname=place.host, cores_used=1)

    def run(self, launch, on_line):
        outcome = run_here(launch, on_line)
        if launch.place is None or launch.place.host == "one" or self.lost:
            return outcome
        self.lost.append("two")
        return Outcome("crashed", "lost for good", is_lost=True)


class Broken(Launcher):
    name = "broken"
    summary = "never there"

    @classmethod
    def probe(cls):
        return Availability(False, reason="no cluster answers", fix="start-cluster")

    def run(self, launch, on_line):
        raise AssertionError


@hookimpl
def decodebench_launchers():
    return [Far, Lossy, Hopeless, Cluster, Broken]
"""
SMALL = ["-b", "faulty", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 1, "--rounds", 1, "--max-new-tokens", 4]


@pytest.fixture
def plugin(tmp_path):
    file = Path(tmp_path, "far.py")
    file.write_text(PLUGIN)
    return ["--plugin", file]


def test_a_launcher_of_a_plugin_runs_every_worker_and_says_what_is_known_of_its_machine(cli, plugin, tmp_path):
    for name in ("local", "far"):
        result = cli(*plugin, "run", *SMALL, "--launcher", name, "--name", name, "-o", tmp_path / "out")
        assert result.code == 0, result.err
    with Store.open(tmp_path / "out") as store:
        columns = "launcher, environment->>'hostname' = 'far-away', environment->>'default_threads'"
        unknown = "backend_version IS NULL, other_cpus IS NULL, environment->>'load_average' IS NULL"
        rows = store.query(f"SELECT {columns}, {unknown} FROM runs ORDER BY launcher")[1]
        texts = store.query("SELECT DISTINCT text FROM samples WHERE NOT is_warmup")[1]
    assert rows[0] == ("far", True, "1", True, True, True)
    assert rows[1][0] == "local" and rows[1][1] is False and rows[1][3:] == (False, False, False)
    assert len(texts) == 1


@pytest.mark.parametrize(("name", "said"), [("locl", "did you mean 'local'?"), ("broken", "answers: start-cluster")])
def test_a_launcher_that_cannot_be_used_is_refused_before_anything_runs(cli, plugin, tmp_path, name, said):
    result = cli(*plugin, "run", *SMALL, "--launcher", name, "-o", tmp_path / "out")
    assert result.code == 2 and said in result.err and not (tmp_path / "out").exists()


@pytest.mark.nightly
def test_a_round_whose_machine_is_lost_begins_again_and_leaves_one_log(cli, plugin, tmp_path):
    again = cli(*plugin, "run", *SMALL, "--launcher", "lossy", "-o", tmp_path / "again")
    assert again.code == 0 and "lost for good" in again.err
    never = cli(*plugin, "run", *SMALL, "--launcher", "hopeless", "-o", tmp_path / "never")
    assert never.code == 1
    for folder, status in (("again", "ok"), ("never", "crashed")):
        (log,) = tmp_path.glob(f"{folder}/raw/*/*.jsonl*")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert lines[-1]["status"] == status and sum(line["type"] == "run" for line in lines) == 1


@pytest.mark.nightly
def test_cells_of_a_round_are_measured_on_several_hosts_where_that_is_asked_for(cli, plugin, tmp_path):
    two = [*SMALL, "-b", "llama-cpp", "--set", "faulty.step_s=0.0,0.001", "--placement-timeout", 1, "--rounds", 2]
    result = cli(*plugin, "run", *two, "--across-hosts", "--launcher", "cluster", "-o", tmp_path / "out", "--json")
    assert result.code == 1 and "lost for good" in result.err
    with Store.open(tmp_path / "out") as store:
        sql = "SELECT backend, status, environment->>'hostname', count(*), any_value(reason) FROM runs GROUP BY ALL"
        found = {row[:4]: row[4] for row in store.query(sql)[1]}
    assert set(found) == {("faulty", "ok", "one", 4), ("llama-cpp", "failed", "one", 2)}
    assert "device cpu and backend llama-cpp" in found["llama-cpp", "failed", "one", 2]
    here = cli("run", *SMALL, "--across-hosts", "-o", tmp_path / "here")
    assert here.code == 2 and "--across-hosts" in here.err
