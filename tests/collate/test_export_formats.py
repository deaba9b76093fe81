"""Parquet, JSON and llm-d's Benchmark Report: what is written is what is in the store."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
import yaml

from decodebench.collate.collate import collate
from decodebench.collate.exporters.json_records import export_json
from decodebench.collate.exporters.llm_d import export_llm_d
from decodebench.collate.exporters.parquet import export_parquet
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.errors import UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.records.store import Store

from ..refusals import refused

DATA = Path(__file__).parents[1] / "data"
TABLES = ("runs", "samples", "steps")
VIEWS = {"runs": "run_metrics", "samples": "sample_metrics", "steps": "steps"}

STATISTICS = {
    "mode",
    "stddev",
    "min",
    "p0p1",
    "p1",
    "p5",
    "p10",
    "p25",
    "p50",
    "p75",
    "p90",
    "p95",
    "p99",
    "p99p9",
    "max",
}
UNITS = {
    "input_length": "count", "output_length": "count", "time_to_first_token": "s", "time_per_output_token": "s/token",
    "inter_token_latency": "s/token", "request_latency": "s", "input_token_rate": "tokens/s",
    "output_token_rate": "tokens/s", "request_rate": "queries/s",
}  # fmt: skip
FIELDS = {  # object: (required fields, others), of the published schema 0.2
    "": ({"version", "run", "results"}, {"scenario"}),
    "run": ({"uid"}, {"eid", "cid", "pid", "time", "user", "description", "keywords"}),
    "run.time": (set(), {"start", "end", "duration"}),
    "scenario": (set(), {"stack", "load"}),
    "scenario.load": ({"metadata", "standardized", "native"}, set()),
    "scenario.load.metadata": (set(), {"schema_version", "cfg_id", "description"}),
    "scenario.load.standardized": (
        {"tool", "tool_version", "source", "input_seq_len"},
        {"parallelism", "stage", "output_seq_len", "prefix", "multi_turn", "rate_qps", "concurrency"},
    ),
    "scenario.load.standardized.input_seq_len": ({"distribution", "value"}, {"std_dev", "min", "max"}),
    "scenario.load.native": (set(), {"args", "envars", "config"}),
    "results": (
        set(), {"request_performance", "session_performance", "observability", "profiling", "component_health"},
    ),
    "results.request_performance": (set(), {"aggregate", "time_series"}),
    "results.request_performance.aggregate": (set(), {"requests", "latency", "throughput"}),
    "results.request_performance.aggregate.requests": (
        {"total"}, {"failures", "incomplete", "input_length", "output_length"},
    ),
    "results.request_performance.aggregate.latency": (
        set(),
        {
            "time_to_first_token", "normalized_time_per_output_token", "time_per_output_token", "inter_token_latency",
            "request_latency",
        },
    ),
    "results.request_performance.aggregate.throughput": (
        set(), {"input_token_rate", "output_token_rate", "total_token_rate", "request_rate"},
    ),
}  # fmt: skip


def check_report(report, at=""):
    """Hold a report against the published fields: none missing, none that is forbidden, units as it wants them."""
    if at in FIELDS:
        required, others = FIELDS[at]
        assert required <= report.keys() <= required | others, at
        for name, value in report.items():
            if isinstance(value, dict):
                check_report(value, f"{at}.{name}".strip("."))
    elif (name := at.rsplit(".", 1)[-1]) in UNITS:
        assert report.keys() - STATISTICS == {"units", "mean"} and report["units"] == UNITS[name], at
        assert all(isinstance(report[key], float) for key in report.keys() - {"units"})


@pytest.fixture
def folder(logs, make_sample, make_steps):
    """Two experiments: rounds of our own with a warm-up and a failed sample, and what other tools wrote."""
    failed = {**make_sample(2, []), "status": "failed", "reason": "no memory", "duration_s": None, "output_tokens": 0}
    warm = make_sample(3, make_steps(gap=9.0), is_warmup=True, sample_id="w")
    content = [make_sample(i, make_steps(n=5, gap=0.1 * (i + 1))) for i in range(2)]
    logs.write("a", content=[*content, failed, warm], options={"n": [1, "x", None]}, samples=3, warmup=1, task="t")
    logs.write("b", status="failed", content=[])
    names = ("vllm/serve_detailed.json", "spec_bench/eagle2.jsonl", "hyperfine/two_commands.json")
    collate(logs.folder, all_plugins(), intake=Intake([DATA / name for name in names]))
    return logs.folder


def test_parquet_holds_every_column_and_figure(folder, tmp_path):
    with Store.open(folder) as store:
        paths = export_parquet(store, None, tmp_path / "it's")
        expected = {name: store.query(f"SELECT * FROM {view} ORDER BY ALL") for name, view in VIEWS.items()}
    assert [path.name for path in paths] == ["runs.parquet", "samples.parquet", "steps.parquet"]
    for path in paths:
        found = duckdb.execute("SELECT * FROM read_parquet($path) ORDER BY ALL", {"path": str(path)})
        assert ([column[0] for column in found.description], found.fetchall()) == expected[path.stem]
    metadata = duckdb.execute("SELECT key, value FROM parquet_kv_metadata($path)", {"path": str(paths[0])}).fetchall()
    assert (b"decodebench_schema", b"2") in metadata


def test_parquet_of_one_experiment_and_a_store_that_stays_closed(folder, tmp_path):
    with Store.open(folder) as store:
        paths = export_parquet(store, "exp", tmp_path / "p")
        counts = [duckdb.execute(f"SELECT count(*) FROM '{path}'").fetchone()[0] for path in paths]
        assert counts == [2, 4, 15]
        with refused("query-failed"):
            store.query(f"COPY runs TO '{tmp_path / 'x.parquet'}'")
        before = paths[0].read_bytes()
        with refused("write-failed"):
            store.write_parquet("SELECT nothing FROM runs", paths[0])
        assert paths[0].read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [f"{name}.parquet" for name in TABLES]


def test_the_json_document_makes_the_same_store(folder, tmp_path):
    with Store.open(folder) as store:
        (path,) = export_json(store, None, tmp_path / "j")
        tables = {name: store.query(f"SELECT * FROM {name} ORDER BY ALL")[1] for name in TABLES}
        figures = store.dicts("SELECT run_id, tau, decode_tokens_per_s FROM run_metrics")
    document = json.loads(path.read_text())
    assert (document["format"], document["schema_version"]) == ("decodebench", 2)
    metrics = {entry["run"]["run_id"]: entry["metrics"] for entry in document["runs"]}
    assert len(path.read_text().splitlines()) == len(metrics) + 2  # a run a line
    for figure in figures:
        for name in ("tau", "decode_tokens_per_s"):
            assert metrics[figure["run_id"]].get(name) == figure[name]
    with Store.open(tmp_path / "again", read_only=False) as store, store.transaction():
        for entry in document["runs"]:
            run, samples, steps = Run(**entry["run"]), entry["samples"], []
            for sample in samples:
                at = {"run_id": run.run_id, "sample": sample["index"]}
                steps += [RecordedStep(**at, **step) for step in sample.pop("steps")]
                del sample["metrics"]
            store.add(run, [Sample(run_id=run.run_id, **sample) for sample in samples], steps)
    with Store.open(tmp_path / "again") as store:
        assert {name: store.query(f"SELECT * FROM {name} ORDER BY ALL")[1] for name in TABLES} == tables


def test_a_benchmark_report_has_the_published_fields(folder, tmp_path):
    with Store.open(folder) as store:
        paths = export_llm_d(store, None, tmp_path / "y")
        finished = store.query("SELECT count(*) FROM runs WHERE status = 'ok'")[1]
    assert [(len(paths),)] == finished  # the failed rounds have none
    reports = [yaml.safe_load(path.read_text()) for path in paths]
    for report in reports:
        check_report(report)
        assert report["version"] == "0.2"
        (component,) = report["scenario"]["stack"]
        assert component.keys() == {"metadata", "standardized", "native"}
        assert {"kind", "tool", "tool_version"} <= component["standardized"].keys()
        assert component["standardized"]["kind"] == "generic" and {"label", "cfg_id"} <= component["metadata"].keys()
    with pytest.raises(UsageError, match="no finished run"), Store.open(folder) as store:
        export_llm_d(store, "other", tmp_path / "y")


def test_a_benchmark_report_of_our_own_round_by_hand(folder, tmp_path):
    with Store.open(folder) as store:
        (path,) = export_llm_d(store, "exp", tmp_path / "y")
    report = yaml.safe_load(path.read_text())
    found = report["results"]["request_performance"]["aggregate"]
    # two samples of 5 tokens after 0.5 s, then every 0.1 and 0.2 s: 0.9 and 1.3 s
    assert (found["requests"]["total"], found["requests"]["failures"]) == (3, 1)
    assert found["requests"]["output_length"] == {"units": "count", "mean": 5.0, "stddev": 0.0, "min": 5.0, "max": 5.0}
    assert found["latency"]["time_to_first_token"]["mean"] == 0.5
    assert found["latency"]["time_per_output_token"] == pytest.approx(
        {"units": "s/token", "mean": 0.15, "stddev": 0.1 / 2**0.5, "min": 0.1, "max": 0.2}
    )
    assert found["latency"]["request_latency"]["mean"] == pytest.approx(1.1)
    assert found["throughput"]["output_token_rate"]["mean"] == pytest.approx(10 / 2.2)
    assert found["throughput"]["request_rate"]["mean"] == pytest.approx(2 / 2.2)
    assert report["run"]["time"]["start"] == "2026-01-01T00:00:00+00:00"
    assert report["scenario"]["load"]["standardized"]["input_seq_len"] == {
        "distribution": "fixed", "value": 20.0, "min": 20, "max": 20,
    }  # fmt: skip
    assert report["results"]["profiling"]["decodebench"]["peak_rss_bytes"] == 5000.0


def test_percentiles_are_written_only_where_there_are_enough_samples(logs, make_sample, make_steps, tmp_path):
    logs.write("a", content=[make_sample(i, make_steps(ttft=0.01 * (i + 1))) for i in range(40)], samples=40)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        (path,) = export_llm_d(store, None, tmp_path / "y")
    found = yaml.safe_load(path.read_text())["results"]["request_performance"]["aggregate"]["latency"]
    assert found["time_to_first_token"]["p50"] == pytest.approx(0.205)
    assert "p90" in found["time_to_first_token"] and "p99" not in found["time_to_first_token"]


def test_the_command_writes_each_format(cli, folder, tmp_path):
    for name in ("parquet", "json", "llm-d"):
        ended = cli("export", folder, "--format", name, "--experiment", "exp", "--to", tmp_path / name, "--json")
        assert ended.code == 0, ended.err
        assert ended.json and all(Path(path).is_file() for path in ended.json)


def test_a_format_of_one_file_is_written_under_a_name_of_the_users(cli, folder, tmp_path):
    target = tmp_path / "deep" / "results.json"
    assert cli("export", folder, "--format", "json", "--to", target, "--json").json == [str(target)]
    assert json.loads(target.read_text())["runs"]
    for name, suffix in (("json", "csv"), ("json", "txt"), ("csv", "json"), ("parquet", "json"), ("llm-d", "json")):
        wrong = cli("export", folder, "--format", name, "--experiment", "exp", "--to", tmp_path / f"wrong.{suffix}")
        assert wrong.code == 2 and "[wrong-suffix]" in wrong.err and not (tmp_path / f"wrong.{suffix}").exists()
    for name in ("results-v1.2", "2026.01"):
        assert cli("export", folder, "--format", "json", "--to", tmp_path / name).code == 0
        assert (tmp_path / name).is_dir()
    several = cli("export", folder, "--format", "parquet", "--to", tmp_path / "all.parquet")
    assert several.code == 2 and "runs.parquet" in several.err and not (tmp_path / "all.parquet").exists()


def test_a_query_gives_records_or_csv(cli, folder):
    sql = "SELECT count(*) AS n, NULL AS nothing, '=1+1' AS formula FROM runs"
    (record,) = cli("query", sql, folder, "--json").json
    assert record == {"n": record["n"], "nothing": None, "formula": "=1+1"} and record["n"] > 0
    assert cli("query", sql, folder, "--csv").out == f"n,nothing,formula\n{record['n']},,'=1+1\n"
    twice = cli("query", "SELECT 1 AS a, 2 AS a", folder, "--json")
    assert twice.code == 2 and "'a'" in twice.err


def test_without_pyyaml_one_line_says_how_to_get_it(cli, folder, tmp_path):
    (tmp_path / "yaml.py").write_text("raise ModuleNotFoundError('No module named yaml')\n")
    ended = cli("export", folder, "--format", "llm-d", "--to", tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, ended.out) == (2, "")
    assert "pip install 'decodebench[llm-d]'" in ended.err and len(ended.err.splitlines()) == 1
