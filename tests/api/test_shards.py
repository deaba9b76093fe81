"""Parts of a plan on machines of their own, put together into what one run would have stored."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import decodebench
from decodebench import UsageError
from decodebench.core.api.experiment import planned
from decodebench.core.api.experiments import status
from decodebench.core.api.gathering import gather
from decodebench.core.measure.output.shard import shard_of
from decodebench.core.measure.plan import build

from ..refusals import refused

PLAN = """
name = "x"
rounds = 2
[workload]
model = "tiny:draft"
task = "tiny-gsm"
samples = 1
max_new_tokens = 4
[[cells]]
backend = "faulty"
quantisation = "f32"
options = { step_s = [0.0, 0.001] }
"""

WHOLE = 'SELECT cell_id, cell_index, round, "order", status, count(*) OVER () FROM runs ORDER BY ALL'
OUTPUTS = (
    "SELECT cell_id, round, s.index, sample_id, prompt_hash, output_tokens, output_ids, score FROM samples s "
    "JOIN runs USING (run_id) ORDER BY ALL"
)


@pytest.mark.parametrize("across_hosts", [False, True])
def test_shards_divide_all_rounds_and_keep_theirs_when_the_plan_grows(across_hosts):
    content = {"rounds": 7, "across_hosts": across_hosts, "workload": {"model": "m"}, "cells": [{"backend": "b"}]}
    plan = build(content, "test")
    cells = [f"cell {at}" for at in range(9)]
    parts = [shard_of(f"{at}/3", plan) for at in (1, 2, 3)]
    found = [part.rounds(cells, 7) for part in parts]
    assert set.union(*found) == {(cell, index) for cell in cells for index in range(7)}
    assert sum(map(len, found)) == 9 * 7
    for part, rounds in zip(parts, found, strict=True):
        assert rounds <= part.rounds([*cells, "later"], 9)
        together = {index: {cell for cell, at in rounds if at == index} for _, index in rounds}
        assert across_hosts or all(len(each) == 9 for each in together.values())


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("0/2", {}, "I/N"),
        ("3/2", {}, "I/N"),
        ("half", {}, "I/N"),
        ("1/4", {}, "--across-hosts"),
        ("1/2", {"until": "verdict"}, "until"),
        ("1/2", {"rounds": 3, "across_hosts": True, "interleave": "samples"}, "by sample"),
        ("1/2", {"until": "verdict", "across_hosts": True}, "give rounds"),
    ],
)
def test_what_is_no_shard_is_refused(text, settings, words):
    content = {**(settings or {"rounds": 3}), "workload": {"model": "m"}, "cells": [{"backend": "b"}]}
    with pytest.raises(UsageError, match=words):
        shard_of(text, build(content, "test"))


@pytest.mark.nightly
def test_the_slurm_script_measures_shards_whose_folders_give_the_store_of_one_run(plugins, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "scaling.md"
    (script,) = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "shards.sh").write_text(script)
    (tmp_path / "plan.toml").write_text(PLAN)
    whole = planned(tmp_path / "plan.toml", {})
    whole.run(tmp_path / "whole")
    folders = [tmp_path / f"shard-{at}" for at in (1, 2)]
    for at, folder in enumerate(folders, start=1):
        task = {"SLURM_ARRAY_TASK_ID": str(at), "SLURM_ARRAY_TASK_COUNT": "2", "DECODEBENCH_WAIT_LIMIT": "0"}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        subprocess.run(
            ["bash", "shards.sh", "plan.toml"], cwd=tmp_path, env={**os.environ, **task, "PATH": path}, check=True
        )
        state = status(folder)[0]
        assert (state.shard, state.to_do, state.done) == (f"{at}/2", 0, 2)
        assert whole.run(folder, shard=shard_of(f"{at}/2", whole.plan)).report.kept == 2
    together = tmp_path / "together"
    assert gather(together, folders).kept == 0
    assert gather(together, folders).copied == []
    with decodebench.open(tmp_path / "whole") as one, decodebench.open(together) as other:
        for sql in (WHOLE, OUTPUTS):
            assert one.query(sql).rows == other.query(sql).rows
        assert len(one.query(WHOLE).rows) == 4
        assert [row.rounds for row in other.compare().rows] == [2, 2]
    assert (status(together)[0].shard, status(together)[0].to_do) == (None, 0)
    assert whole.run(together).report.kept == 4

    twice = tmp_path / "twice"
    shutil.copytree(folders[0], twice)
    copied = next((twice / "raw").rglob("*.jsonl"))
    copied.rename(copied.with_stem("another"))
    with refused("logs-conflict"):
        gather(tmp_path / "new", [*folders, twice])
    assert not list((tmp_path / "new" / "raw").rglob("*.jsonl"))
    log = next((folders[0] / "raw").rglob("*.jsonl"))
    log.write_bytes(log.read_bytes().replace(b'"order": 0', b'"order": 9').replace(b'"seed"', b'"seed" '))
    with refused("logs-conflict"):
        gather(together, folders)
