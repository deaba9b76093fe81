"""What a task sets where the user does not, several attempts at a problem, and code that needs to be allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from decodebench.core.host.registry import Registry
from decodebench.core.measure.plan import build
from decodebench.core.measure.prompts import Prompts

from ..refusals import refused

RUN = ["run", "-b", "faulty", "-m", "tiny:draft", "--samples", 3, "--rounds", 1]


def dry(cli, *arguments, **keywords):
    ended = cli(*RUN, "--dry-run", "--no-probe", "--json", *arguments, **keywords)
    assert ended.code == 0, ended.err
    return ended.json


def test_a_task_sets_what_nobody_set(cli):
    found = dry(cli, "--task", "own-settings")
    assert found["workload"]["stop"] == ["\n", "!"] and found["workload"]["max_new_tokens"] == 7
    assert found["workload"]["task_version"] == "1"
    shown = cli(*RUN, "--dry-run", "--no-probe", "--task", "own-settings").out
    assert "3 samples of own-settings 1, at most 7 new tokens, stop '\\n' '!'" in shown


def test_a_flag_the_plan_or_the_environment_beats_the_task(cli, tmp_path):
    own = dry(cli, "--task", "own-settings")
    for more in (["--max-new-tokens", 128], ["--stop", "?"]):
        assert dry(cli, "--task", "own-settings", *more)["cells"][0]["cell_id"] != own["cells"][0]["cell_id"]
    assert dry(cli, "--task", "own-settings", "--max-new-tokens", 128)["workload"]["max_new_tokens"] == 128
    variable = {"DECODEBENCH_MAX_NEW_TOKENS": "9"}
    assert dry(cli, "--task", "own-settings", env=variable)["workload"]["max_new_tokens"] == 9
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[workload]\nmodel = "tiny:draft"\ntask = "own-settings"\nstop = []\n[[cells]]\nbackend = "faulty"\n'
    )
    workload = cli("run", plan, "--dry-run", "--no-probe", "--json").json["workload"]
    assert workload["stop"] == [] and workload["max_new_tokens"] == 7


def test_what_the_task_set_is_the_same_cell_as_if_it_were_written_out(cli):
    own = dry(cli, "--task", "own-settings")["cells"][0]["cell_id"]
    written = dry(cli, "--task", "own-settings", "--max-new-tokens", 7, "--stop", "\n", "--stop", "!")
    assert written["cells"][0]["cell_id"] == own


def test_the_record_of_a_run_holds_what_the_task_set(cli, tmp_path):
    assert cli(*RUN, "--task", "own-settings", "-o", tmp_path).code == 0
    sql = "SELECT stop, max_new_tokens, attempts FROM runs"
    assert cli("query", sql, tmp_path, "--json").rows == [[["\n", "!"], 7, 1]]


@pytest.mark.nightly
def test_attempts_are_samples_of_their_own_at_the_same_problems(cli, tmp_path):
    run = [*RUN, "--task", "own-settings", "--attempts", 4, "--temperature", 0.7, "-o", tmp_path]
    ended = cli(*run, "--json")
    assert ended.code == 0, ended.err
    sql = (
        'SELECT sample_id, count(*), count(DISTINCT "index"), count(score) FROM samples WHERE NOT is_warmup GROUP BY 1'
    )
    rows = cli("query", f"{sql} ORDER BY 1", tmp_path, "--json").rows
    assert rows == [[f"own/{at}", 4, 4, 4] for at in range(3)]
    accuracy = ended.json["comparison"]["rows"][0]["accuracy"]
    assert set(accuracy["pass_at_k"]) == {"1", "2"} and accuracy["value"]["n"] == 3
    assert cli("query", "SELECT samples, attempts FROM runs", tmp_path, "--json").rows == [[12, 4]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "own-settings", "--attempts", 3], ["attempts = 3 at temperature 0", "temperature above 0"]),
        (["--prompt-tokens", 9, "--attempts", 2, "--temperature", 1], ["attempts", "prompt_tokens"]),
        (["--task", "runs-code"], ["'runs-code' runs code", "--allow-code-execution", "allow_code_execution = true"]),
        (["--task", "unscorable"], ["needs a scorer that nobody has"]),
        (["--task", "own-settings:7"], ["own-settings", "'7'"]),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(cli, tmp_path, arguments, words):
    ended = cli(*RUN, *arguments, "-o", tmp_path / "out")
    assert ended.code == 2 and not (tmp_path / "out").exists()
    assert all(word in ended.err for word in words), ended.err


def test_choices_are_not_attempted_twice(monkeypatch):
    monkeypatch.setenv("DECODEBENCH_DATA", str(Path(__file__).parents[1] / "data" / "tasks"))
    workload = {"model": "tiny:draft", "task": "mmlu", "samples": 2, "attempts": 2, "temperature": 1.0}
    plan = build({"workload": workload, "cells": [{"backend": "faulty"}]}, "test")
    with refused("not-supported", "'mmlu'"):
        Prompts.of(plan, Registry(only=["tasks"]))


@pytest.mark.nightly
def test_allowing_code_is_no_part_of_the_identity(cli, tmp_path):
    flag = dry(cli, "--task", "runs-code", "--allow-code-execution")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        "allow_code_execution = true\nrounds = 1\n[workload]\nmodel = 'tiny:draft'\ntask = 'runs-code'\nsamples = 3\n"
        "[[cells]]\nbackend = 'faulty'\n"
    )
    assert cli("run", plan, "--dry-run", "--no-probe", "--json").json["cells"] == flag["cells"]
    own = dry(cli, "--task", "own-settings", "--allow-code-execution")
    assert own["cells"] == dry(cli, "--task", "own-settings")["cells"]
