"""Bytes read per token and the share of the machine's bandwidth, by hand."""

from __future__ import annotations

import json
import math

import pytest

from decodebench.core.records.raw_log import RawLogError, read
from decodebench.core.records.schema import SCHEMA_VERSION, Environment, RecordedStep, Run, Sample
from decodebench.core.records.store import Store

# On logarithmic axes 4000 lies half way between the rungs, and so does its bandwidth: 4000 bytes/s, and 2000 of one.
LADDER = {"1000": 8000.0, "16000": 2000.0}
ONE_THREAD = {"1000": 4000.0, "16000": 1000.0}
MACHINE = Environment(
    hostname="h", username="u", platform="Linux", release="6", machine="x86_64", cores_used=2, memory_bytes=2**30,
    python="3.11", memory_bandwidth=LADDER, memory_bandwidth_1_thread=ONE_THREAD,
)  # fmt: skip
RUN = dict(
    run_id="r", experiment="e", cell_id="c", round=0, started_at="2026-01-01T00:00:00+00:00", backend="b", model="m",
    quantisation="f16", device="cpu", samples=1, warmup=0, max_new_tokens=64, batch_size=1, environment=MACHINE,
    read_weight_bytes=3005, kv_bytes_per_token=10,
)  # fmt: skip


def steps_of(n=5, step_s=2.0, **fields):
    return [{"t_s": (i + 1) * step_s, "step_s": step_s, "tokens": 1, "forwards": 1} | fields for i in range(n)]


def facts(folder, *steps_by_sample, prompt_tokens=97, **run):
    """Store one run and return a dict per sample, figures included, and the row of the round."""
    samples, steps = [], []
    for i, many in enumerate(steps_by_sample):
        output = sum(step["tokens"] for step in many)
        samples.append(Sample(run_id="r", index=i, output_tokens=output, prompt_tokens=prompt_tokens))
        steps += [RecordedStep(run_id="r", sample=i, index=j, **step) for j, step in enumerate(many)]
    with Store.open(folder, read_only=False) as store:
        with store.transaction():
            store.add(Run(**{**RUN, **run}), samples, steps)
        sql = (
            'SELECT f.*, m.bandwidth_utilisation FROM sample_facts f JOIN sample_metrics m ON m."index" = f.sample '
            "ORDER BY f.sample"
        )
        return store.dicts(sql), store.dicts("SELECT * FROM run_metrics")[0]


def test_bytes_are_computed_from_weights_and_context(tmp_path):
    (row,), total = facts(tmp_path, steps_of())
    contexts = [98, 99, 100, 101]  # the prompt and the tokens before each step
    assert row["bytes_source"] == "computed"
    assert row["decode_bytes"] == 4 * 3005 + 10 * sum(contexts) == 16_000
    assert row["working_set_bytes"] == 4000
    assert row["bandwidth_bytes_per_s"] == pytest.approx(4000.0)
    assert row["bandwidth_utilisation"] == pytest.approx(16_000 / 8.0 / 4000.0)
    assert total["bandwidth_utilisation"] == pytest.approx(0.5)
    assert total["memory_throughput_bytes_per_s"] is None, "what is computed is no engine's figure"


def test_what_the_engine_says_comes_first(tmp_path):
    (row,), _ = facts(tmp_path, steps_of(bytes_read=2000))
    assert (row["bytes_source"], row["decode_bytes"], row["working_set_bytes"]) == ("engine", 8000, 2000)
    bandwidth = 8000.0 * (2000 / 1000) ** (math.log(2000 / 8000) / math.log(16))
    assert row["bandwidth_bytes_per_s"] == pytest.approx(bandwidth)
    assert row["bandwidth_utilisation"] == pytest.approx(2000 / 2.0 / bandwidth)


@pytest.mark.parametrize(("bytes_read", "bandwidth"), [(1, 8000), (1000, 8000), (16_000, 2000), (10**9, 2000)])
def test_beyond_the_ladder_its_ends_hold(tmp_path, bytes_read, bandwidth):
    (row,), _ = facts(tmp_path, steps_of(bytes_read=bytes_read))
    assert row["bandwidth_bytes_per_s"] == pytest.approx(bandwidth)


@pytest.mark.parametrize("how", [{"options": {"n_threads": 1}}, {"settings": {"n_threads": "1"}}])
def test_one_thread_is_held_against_one_thread(tmp_path, how):
    (row,), _ = facts(tmp_path, steps_of(), **how)
    assert row["bandwidth_bytes_per_s"] == pytest.approx(2000.0)
    assert row["bandwidth_utilisation"] == pytest.approx(1.0)


def test_options_that_leave_the_threads_open_mean_all(tmp_path):
    (row,), _ = facts(tmp_path, steps_of(), options={"n_threads": None}, settings={"n_threads": "2"})
    assert row["bandwidth_bytes_per_s"] == pytest.approx(4000.0)


def test_steps_of_several_tokens_count_a_forward_and_a_context_each(tmp_path):
    sizes = [2, 3, 1, 4]
    steps = [{"t_s": i + 1.0, "step_s": 1.0, "tokens": n, "forwards": n} for i, n in enumerate(sizes)]
    (row,), _ = facts(tmp_path, steps)
    assert row["decode_bytes"] == sum(3005 + 10 * (97 + place) for place in range(2, sum(sizes)))
    assert row["decode_bytes_tokens"] == 8


def test_a_round_pools_bytes_and_time(tmp_path):
    (short, long), total = facts(tmp_path, steps_of(3), steps_of(9, step_s=1.0))
    possible = sum(row["decode_bytes_s"] * row["bandwidth_bytes_per_s"] for row in (short, long))
    assert total["bandwidth_utilisation"] == pytest.approx((short["decode_bytes"] + long["decode_bytes"]) / possible)
    assert short["bandwidth_utilisation"] < total["bandwidth_utilisation"] < long["bandwidth_utilisation"]


@pytest.mark.parametrize(
    ("step", "run"),
    [
        ({"drafted": 3, "accepted": 1}, {"kind": "speculative"}),
        ({"block_size": 4}, {}),
        ({"positions": (7,)}, {"kind": "diffusion"}),
        ({"forwards": 2}, {}),
        ({"forwards": None}, {}),
        ({}, {"batch_size": 2}),
        ({}, {"read_weight_bytes": None}),
        ({}, {"kv_bytes_per_token": None}),
        ({}, {"prompt_tokens": None}),
    ],
)
def test_where_sizes_do_not_tell_the_bytes_there_are_none(tmp_path, step, run):
    (row,), total = facts(tmp_path, steps_of(**step), **run)
    assert row["decode_bytes"] is None and row["bytes_source"] is None
    assert row["bandwidth_utilisation"] is None and total["bandwidth_utilisation"] is None


def test_speculation_counts_where_the_engine_counts(tmp_path):
    (row,), _ = facts(tmp_path, steps_of(bytes_read=4000, drafted=3, accepted=1), kind="speculative")
    assert row["bytes_source"] == "engine"
    assert row["bandwidth_utilisation"] == pytest.approx(0.5)


OLD = MACHINE.model_copy(update={"memory_bandwidth_1_thread": {}})  # a ladder of another kind under the same name


@pytest.mark.parametrize("run", [{"device": "cuda:0"}, {"environment": OLD}, {"environment": None}], ids=str)
def test_bytes_without_a_bandwidth_to_hold_them_against(tmp_path, run):
    (row,), _ = facts(tmp_path, steps_of(), **run)
    assert row["decode_bytes"] == 16_000
    assert row["bandwidth_bytes_per_s"] is None and row["bandwidth_utilisation"] is None


@pytest.mark.parametrize("ladder", [{"many": 1.0}, {"0": 5.0}, {"1e3": 5.0}, {"1000": 0.0}, {"1000": -1.0}], ids=str)
def test_a_ladder_that_makes_no_sense_is_refused_with_the_place(tmp_path, ladder):
    run = Run(**RUN).model_dump(mode="json")
    run["environment"]["memory_bandwidth"] = ladder
    log = tmp_path / "r.jsonl"
    log.write_text(json.dumps({"type": "run", "schema": SCHEMA_VERSION, **run}) + "\n")
    with pytest.raises(RawLogError, match=r"r.jsonl:1: field 'environment.memory_bandwidth"):
        read(log)


def test_steps_that_read_nothing_use_nothing(tmp_path):
    (row,), _ = facts(tmp_path, steps_of(bytes_read=0))
    assert row["decode_bytes"] == 0
    assert row["bandwidth_utilisation"] == 0.0
