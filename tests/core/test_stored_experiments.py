"""Experiments that decodebench stored under schema 1: read for ever, and completed instead of measured again."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from pydantic import Field
from rich.console import Console

from decodebench import ModelCache
from decodebench.collate.collate import collate
from decodebench.core.contract.options import BackendOptions
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.cells import expand
from decodebench.core.measure.plan import build, load_toml
from decodebench.core.measure.progress import Progress
from decodebench.core.measure.runner import Runner
from decodebench.core.records import raw_log as rawlog
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import SCHEMA_VERSION, RecordedSampling, Run, Sample
from decodebench.core.records.server_session import ServerSession
from decodebench.core.records.store import Store
from decodebench.core.records.workload import LATER

STORED = Path(__file__).parents[1] / "data" / "own_logs"
LOGS = sorted(STORED.glob("raw/*/*.jsonl"))
MINIMAL = {
    "run_id": "r", "experiment": "e", "cell_id": "c", "round": 0, "started_at": "", "backend": "b", "model": "m",
    "quantisation": "q", "device": "d",
}  # fmt: skip


@pytest.fixture(scope="module")
def registry():
    return all_plugins()


def heads(experiment):
    found = (json.loads(log.read_text(encoding="utf-8").split("\n", 1)[0]) for log in LOGS)
    return [head for head in found if head["experiment"] == experiment]


@pytest.mark.parametrize("name", ["own", "sampled", "fixed"])
def test_cells_of_stored_experiments_keep_their_ids_and_resume_finds_them(name, registry, cache, tmp_path):
    plan = build(load_toml(STORED / f"{name}.toml"), name)
    matrix = expand(plan, registry, ModelCache(cache))
    assert {cell.id for cell in matrix.cells} == {head["cell_id"] for head in heads(name)}
    shutil.copytree(STORED / "raw", tmp_path / "raw")
    report = Runner(plan, matrix, registry, ModelCache(cache), tmp_path, Progress(Console(file=io.StringIO()))).run()
    assert (report.experiment, report.kept, report.done) == (name, len(matrix.cells) * plan.rounds, 0)


def test_logs_of_schema_1_are_read_with_what_they_say(tmp_path):
    assert {json.loads(log.read_text().split("\n", 1)[0])["schema"] for log in LOGS} == {1} != {SCHEMA_VERSION}
    shutil.copytree(STORED / "raw", tmp_path / "raw")
    assert collate(tmp_path, all_plugins()).problems == ()
    with Store.open(tmp_path) as store:
        runs = store.dicts("SELECT * FROM runs WHERE experiment = 'sampled'")
        cells = store.query("SELECT cell_id, count(DISTINCT conditions_hash), count(*) FROM runs GROUP BY 1")[1]
    assert [(run["seed"], run["attempts"], run["depth"], run["max_new_tokens"]) for run in runs] == [(7, 2, 0, 6)]
    assert json.loads(runs[0]["sampling"]) == {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "seed": 7}
    assert [hashes for _, hashes, _ in cells] == [1] * 4 and sum(rounds for *_, rounds in cells) == 6


def test_what_schema_1_left_out_had_its_default_and_what_schema_2_leaves_out_is_unknown(tmp_path):
    def run_of(version):
        path = tmp_path / f"{version}.jsonl"
        head = {"type": "run", "schema": version, **MINIMAL, "samples": 2, "warmup": 1, "max_new_tokens": 8}
        path.write_text(json.dumps(head) + '\n{"type": "end", "status": "ok"}\n', encoding="utf-8")
        return rawlog.read(path).run

    names = ("seed", "attempts", "batch_size", "depth", "ignore_eos", "chat", "stop", "first_step_is_prefill")
    assert [getattr(run_of(1), name) for name in names] == [0, 1, 1, 0, False, False, (), False]
    assert run_of(1).sampling == RecordedSampling(temperature=0.0, top_p=1.0, top_k=0, seed=0)
    assert [getattr(run_of(2), name) for name in names] == [None] * 8
    assert run_of(2).sampling == RecordedSampling()
    with pytest.raises(RawLogError, match="3"):
        run_of(3)


def test_a_setting_that_comes_later_changes_no_identity_at_its_default(registry, cache, monkeypatch):
    plan = build(load_toml(STORED / "own.toml"), "own")
    before = [cell.id for cell in expand(plan, registry, ModelCache(cache)).cells]
    backend = registry.backend("transformers")
    options: type[BackendOptions] = backend.Options

    class Later(options):
        window: int | None = Field(None, json_schema_extra=LATER)

    monkeypatch.setattr(backend, "Options", Later)
    assert [cell.id for cell in expand(plan, registry, ModelCache(cache)).cells] == before
    changed = build(
        {**plan.model_dump(exclude_unset=True), "cells": [{"backend": "transformers", "options": {"window": 8}}]}, "own"
    )
    assert not {cell.id for cell in expand(changed, registry, ModelCache(cache)).cells} & set(before)


def test_everything_of_a_record_comes_back_out_of_the_store(tmp_path):
    run = Run(
        **MINIMAL,
        conditions={"stack": "rocm6", "num_fewshot": 5},
        extra={"job_id": "j", "groups": {"stem": 0.5}},
        sessions=(ServerSession(url="http://127.0.0.1:1", command=("serve", "m"), ready_s=2.0, exit_code=-9),),
    )
    sample = Sample(
        run_id="r", index=0, output_tokens=3, due_s=1.0, start_s=1.5, admitted_s=1.75, end_s=4.0, session=0,
        first_token_s=0.5, duration_s=2.5, extra={"router": "a"},
    )  # fmt: skip
    with Store.open(tmp_path, read_only=False) as store, store.transaction():
        store.add(run, [sample], [])
    with Store.open(tmp_path) as store:
        row, found = store.dicts("SELECT * FROM runs")[0], store.dicts("SELECT * FROM sample_metrics")[0]
    empty = [name for name in ("seed", "samples", "warmup", "max_new_tokens", "chat", "stop") if row[name] is not None]
    assert empty == []
    for name in ("conditions", "extra", "sessions"):
        assert json.loads(row[name]) == run.model_dump(mode="json")[name]
    assert [found[name] for name in ("due_s", "admitted_s", "end_s", "session")] == [1.0, 1.75, 4.0, 0]
    assert (found["ttft_s"], found["e2e_s"], found["e2e_tokens_per_s"]) == (1.0, 3.0, 3 / 2.5)
