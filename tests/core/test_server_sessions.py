"""Servers: one answers all rounds that follow each other, or a fresh one each; nothing false of a remote one."""

from __future__ import annotations

from pathlib import Path

import pytest

import decodebench
from decodebench.collate.comparison.reproduce import plan_toml
from decodebench.core.api.plugins import installed_plugins
from decodebench.core.measure.machine.process_tree import processes

PLUGIN = Path(__file__).parents[1] / "conformance_plugin"
WORK = dict(
    model="tiny:draft", prompt_tokens=8, output_tokens=12, ignore_eos=True, samples=5, warmup=1, rounds=2,
    slo="ttft=10s,tpot=1s",
)  # fmt: skip


@pytest.fixture
def measured(cache, tmp_path, monkeypatch):
    """Return what measures with the twins and gives the runs, the comparison and the samples."""
    monkeypatch.setenv("DECODEBENCH_CACHE", str(cache))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.syspath_prepend(str(PLUGIN))
    installed_plugins.cache_clear()

    def measure(**settings):
        done = decodebench.run(output=tmp_path, **{**WORK, **settings})
        assert done.report.failed == []
        with decodebench.open(tmp_path) as results:
            (tmp_path / "again.toml").write_text(plan_toml(results.store, done.report.experiment))
            sql = "SELECT * FROM run_metrics ORDER BY round, options->>'concurrency'"
            return results.store.dicts(sql), done.comparison, results.store.dicts("SELECT * FROM samples")

    yield measure
    installed_plugins.cache_clear()


def sessions_of(runs):
    import json

    return [json.loads(run["sessions"])[0] for run in runs]


@pytest.mark.nightly
def test_one_server_answers_rounds_that_differ_in_their_load_alone(measured, tmp_path):
    runs, comparison, samples = measured(backends=["twin-served"], concurrency=[1, 2])
    sessions = sessions_of(runs)
    assert len(runs) == 4 and len({one["id"] for one in sessions}) == 1
    assert all(one["started_s"] < one["ready_s"] < 0 and one["peak_rss_bytes"] > 2**20 for one in sessions)
    assert sorted(run["load_s"] is None for run in runs) == [
        False,
        True,
        True,
        True,
    ]  # the start of a server counts once
    assert {run["residence"] for run in runs} == {"owned-server"} and not processes(sessions[0]["pid"])
    assert all(run["peak_rss_bytes"] == one["peak_rss_bytes"] for run, one in zip(runs, sessions, strict=True))
    assert all(row.is_one_server for row in comparison.rows)
    assert {run["good_share"] for run in runs} == {1.0}
    sent = [sample for sample in samples if not sample["is_warmup"]]
    assert all(one["due_s"] <= one["start_s"] < one["end_s"] for one in sent)
    assert {(one["admitted_s"], one["session"]) for one in sent} == {(None, 0)}
    again = decodebench.run(tmp_path / "again.toml", output=tmp_path)
    assert (again.report.kept, again.report.done) == (4, 0), "the plan on the page measures the same cells"


@pytest.mark.nightly
def test_prompts_with_unique_prefixes_are_the_same_in_a_round_and_no_others(measured):
    runs, comparison, samples = measured(
        backends=["twin-served", "twin-streaming"], concurrency=[1, 2], unique_prefix=True
    )
    hashes = {}
    for sample in samples:
        hashes.setdefault(sample["run_id"], []).append(sample["prompt_hash"])
    of_runs = {}
    for run in runs:
        of_runs.setdefault((run["round"], run["options"]), []).append(hashes[run["run_id"]])
    assert len(of_runs) == 4 and all(one == other for one, other in of_runs.values())
    assert len({digest for both in of_runs.values() for digest in both[0]}) == 4 * 6
    assert {row.parity.verdict for row in comparison.rows[1:]} <= {"identical", "not comparable"}
    assert not [found for found in comparison.findings if found.check == "unsteady-outputs"]


@pytest.mark.nightly
def test_a_fresh_server_answers_each_round_where_that_is_asked_for(measured):
    runs, comparison, _ = measured(backends=["twin-served"], request_rate=[200], restart_server=True)
    sessions = sessions_of(runs)
    assert len({one["id"] for one in sessions}) == 2 and all(run["load_s"] > 0 for run in runs)
    assert not any(row.is_one_server for row in comparison.rows)


@pytest.mark.nightly
def test_of_a_remote_server_nothing_is_said_that_only_its_host_knows(measured):
    import twin_server

    from decodebench.core.sdk.models import resolve

    plugins = decodebench.core.isolation.plugins.all_plugins()
    process, port = twin_server.start(resolve("tiny:draft", plugins.models, decodebench.ModelCache(None)).path, 0.5)
    try:
        runs, comparison, _ = measured(backends=["twin-remote"], options={"port": port}, concurrency=[2])
    finally:
        twin_server.end(process)
    unknown = ("load_s", "peak_rss_bytes", "peak_device_bytes", "weight_bytes", "parameters", "bits_per_weight")
    assert {runs[0][name] for name in unknown} == {None}
    assert (runs[0]["device"], runs[0]["residence"]) == ("unknown", "remote")
    (session,) = sessions_of(runs[:1])
    assert (session["id"], session["pid"], session["started_s"]) == (None, None, None)
    assert session["url"] == f"127.0.0.1:{port}" and comparison.rows[0].is_one_server
