"""Result files of serving benchmarks: every figure by hand, from small files in the tools' own structure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake
from decodebench.collate.parsers.vllm_bench import VllmServe
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError

from .imported import read

DATA = Path(__file__).parents[1] / "data"
FIGURES = "ttft_s, tpot_s, itl_s, e2e_s, decode_tokens_per_s, e2e_tokens_per_s, batch_tokens_per_s"


def figures(run):
    return {name: run[name] for name in FIGURES.split(", ") if run[name] is not None}


def test_a_detailed_file_of_vllm_has_a_sample_per_request(tmp_path):
    (run,), samples, steps = read(tmp_path, DATA / "vllm" / "serve_detailed.json")
    assert (run["backend"], run["model"], run["quantisation"]) == ("openai", "Qwen/Qwen3-0.6B", "awq")
    assert run["started_at"] == "2026-02-14T10:11:12"
    expected = {"endpoint": "openai", "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 2, "tp": "1"}
    assert run["options"] == expected
    # three requests of 1.0, 0.75 and 1.0 s with 3, 4 and 3 tokens, first ones after 0.5, 0.25 and 0.5 s; 2.5 s in all
    assert figures(run) == pytest.approx(
        {
            "ttft_s": 1.25 / 3, "tpot_s": 1.5 / 7, "itl_s": 0.25, "e2e_s": 2.75 / 3, "decode_tokens_per_s": 7 / 1.5,
            "e2e_tokens_per_s": 10 / 2.75, "batch_tokens_per_s": 10 / 2.5,
        }
    )  # fmt: skip
    assert [sample["status"] for sample in samples] == ["ok", "ok", "failed", "ok"]
    assert samples[2]["reason"] == "Service Unavailable"
    assert [sample["start_s"] for sample in samples] == [0.0, 0.0, None, 1.0]
    assert [sample["sample_id"] for sample in samples] == [None] * 4  # nothing says which prompts they were
    assert {step["sample"] for step in steps} == {0, 3}  # four tokens came in two events: no steps
    assert [(step["t_s"], step["step_s"], step["tokens"]) for step in steps[:3]] == [
        (0.5, 0.5, 1), (0.75, 0.25, 1), (1.0, 0.25, 1),
    ]  # fmt: skip
    assert "1 of 3 streams have more or fewer events than tokens" in " ".join(run["notes"])
    assert run["settings"]["published_spec_decode_per_position_acceptance_rates"] == "[0.75, 0.25]"
    assert (run["tau"], run["acceptance_rate"]) == (2.0, 0.5)  # the server's counters, of all requests together


def test_both_files_of_one_vllm_benchmark_tell_the_same_output_throughput(tmp_path):
    printed = json.loads((DATA / "vllm" / "serve.json").read_text())["output_throughput"]
    for name in ("serve.json", "serve_detailed.json"):
        (run,), _, _ = read(tmp_path / name, DATA / "vllm" / name)
        assert run["batch_tokens_per_s"] == printed
    (run,), samples, _ = read(tmp_path / "serve.json", DATA / "vllm" / "serve.json")
    assert samples == [] and run["ttft_s"] is None
    assert run["totals"] == {
        "samples": 3, "output_tokens": 10, "wall_s": 2.5, "forwards": None, "tokens_per_s": 4.0, "accuracy": None,
        "cycles": 4, "drafted": 8, "accepted": 4, "prompt_tokens": 70, "mean_first_token_s": pytest.approx(1.25 / 3),
        "mean_duration_s": None, "mean_tpot_s": None,
    }  # fmt: skip
    assert "1 requests failed" in run["notes"]


def test_appended_results_are_a_run_each(tmp_path):
    row = json.loads((DATA / "vllm" / "serve_detailed.json").read_text())
    file = tmp_path / "appended.json"
    file.write_text("\n".join(json.dumps({**row, "request_rate": rate}) for rate in (1.0, 2.0)))
    runs, samples, _ = read(tmp_path / "o", file)
    assert [run["options"]["request_rate"] for run in runs] == [1.0, 2.0] and len(samples) == 8
    assert len({run["cell_id"] for run in runs}) == 2


def test_an_endpoint_that_does_not_stream_has_no_first_token(tmp_path):
    row = json.loads((DATA / "vllm" / "serve_detailed.json").read_text())
    row |= {"ttfts": [0.0] * 4, "itls": [[]] * 4, "latencies": [1.0, 0.75, 0.0, 1.0]}
    file = tmp_path / "whole.json"
    file.write_text(json.dumps(row, indent=4))
    (run,), _, steps = read(tmp_path / "o", file)
    assert steps == [] and figures(run) == pytest.approx(
        {"e2e_s": 2.75 / 3, "e2e_tokens_per_s": 10 / 2.75, "batch_tokens_per_s": 4.0}
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ttfts": [0.5]}, "'ttfts': 1 entries, but 4 in 'output_lens'"),
        ({"itls": [[0.25], [0.5], [], [-0.25]]}, "'itls[3]': -0.25 s"),
        ({"latencies": [0.25, 1, 1, 1]}, "'ttfts': 0.5 s to the first token, 0.25 s to the last"),
        ({"output_lens": [3, 4.5, 0, 3]}, "'output_lens': 4.5 must be an integer"),
        ({"duration": "long"}, "'duration': 'long'"),
    ],
)
def test_a_damaged_list_is_named(tmp_path, change, words):
    row = json.loads((DATA / "vllm" / "serve_detailed.json").read_text())
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps({**row, **change}))
    with pytest.raises(RawLogError) as error:
        list(VllmServe().read(file))
    assert words in str(error.value)


def test_vllm_latency_has_times_of_batches_and_throughput_no_speed(tmp_path):
    runs, samples, _ = read(tmp_path, DATA / "vllm" / "latency.json", DATA / "vllm" / "throughput.json")
    by_format = {run["source_format"]: run for run in runs}
    assert figures(by_format["vllm-bench-latency"]) == {"e2e_s": pytest.approx(0.5)}
    assert [(sample["duration_s"], sample["output_tokens"]) for sample in samples] == [
        (0.4, None), (0.5, None), (0.6, None),
    ]  # fmt: skip
    throughput = by_format["vllm-bench-throughput"]
    assert figures(throughput) == {}  # 400 tokens/s there count the prompts
    assert throughput["settings"]["published_tokens_per_second"] == "400.0"
    assert (throughput["totals"]["samples"], throughput["totals"]["wall_s"]) == (8, 4.0)


def test_files_that_name_no_model_are_never_rounds_of_one_cell(tmp_path):
    other = tmp_path / "latency.json"
    other.write_text(json.dumps({"avg_latency": 2.0, "latencies": [2.0], "percentiles": {}}))
    runs, _, _ = read(tmp_path / "o", DATA / "vllm" / "latency.json", other)
    assert len({run["cell_id"] for run in runs}) == 2


def test_guidellm_reports_a_run_per_benchmark(tmp_path):
    (concurrent, constant), samples, steps = read(tmp_path, DATA / "guidellm" / "benchmarks.json")
    assert concurrent["options"] == {"strategy": "concurrent", "streams": 2, "max_concurrency": 2}
    assert (concurrent["backend"], concurrent["model"]) == ("openai_http", "Qwen/Qwen3-0.6B")
    assert concurrent["started_at"] == "2026-01-01T00:00:00.000+00:00"
    # requests of 1.25 and 2.0 s with 5 and 7 tokens, 0.25 s apart, the first ones after 0.25 and 0.5 s; 4 s in all
    assert figures(concurrent) == pytest.approx(
        {
            "ttft_s": 0.375, "tpot_s": 0.25, "e2e_s": 1.625, "decode_tokens_per_s": 4.0, "e2e_tokens_per_s": 12 / 3.25,
            "batch_tokens_per_s": 3.0,
        }
    )  # fmt: skip
    assert [(sample["status"], sample["reason"]) for sample in samples] == [
        ("ok", None), ("ok", None), ("failed", "503 Service Unavailable"),
        ("failed", "incomplete: the benchmark ended before its answer"),
    ]  # fmt: skip
    assert steps == []  # a report tells no single token's time
    assert figures(constant) == {"e2e_tokens_per_s": 16.0, "batch_tokens_per_s": 16.0}  # 80 tokens in 5 s, no requests


def test_a_guidellm_report_that_keeps_some_requests_tells_no_speed_over_all(tmp_path):
    content = json.loads((DATA / "guidellm" / "benchmarks.json").read_text())
    content["benchmarks"] = content["benchmarks"][:1]
    content["benchmarks"][0]["metrics"]["request_totals"]["successful"] = 50
    content["benchmarks"][0]["config"]["sample_size"] = 2
    file = tmp_path / "benchmarks.json"
    file.write_text(json.dumps(content))
    (run,), _, _ = read(tmp_path / "o", file)
    assert run["batch_tokens_per_s"] is None and run["tpot_s"] == 0.25
    assert any("keeps 2 of 50 requests" in note for note in run["notes"])


def test_guidellm_requests_beside_its_measurement_are_warm_ups(tmp_path):
    content = json.loads((DATA / "guidellm" / "benchmarks.json").read_text())
    benchmark = content["benchmarks"][0]
    benchmark["scheduler_metrics"]["measure_start_time"] = 1767225602.0  # the first request ended at 1601.25
    content["benchmarks"] = [benchmark]
    file = tmp_path / "benchmarks.json"
    file.write_text(json.dumps(content))
    (run,), samples, _ = read(tmp_path / "o", file)
    assert [(sample["is_warmup"], sample["output_tokens"]) for sample in samples[:2]] == [(True, 5), (False, 7)]
    assert run["e2e_s"] == 2.0


def test_aiperf_records_are_samples_in_the_order_of_sending(tmp_path):
    (run,), samples, steps = read(tmp_path, DATA / "aiperf" / "profile_export.jsonl")
    # 1.5 s with 5 tokens and 1.0 s with 4, first ones after 0.5 and 0.25 s, from 0 to 2 s
    assert figures(run) == pytest.approx(
        {
            "ttft_s": 0.375, "tpot_s": 1.75 / 7, "itl_s": 0.25, "e2e_s": 1.25, "decode_tokens_per_s": 4.0,
            "e2e_tokens_per_s": 9 / 2.5, "batch_tokens_per_s": 4.5,
        }
    )  # fmt: skip
    assert [(s["is_warmup"], s["status"], s["output_tokens"]) for s in samples] == [
        (True, "ok", 2), (False, "ok", 5), (False, "failed", 0), (False, "ok", 4),
    ]  # fmt: skip
    assert samples[2]["reason"] == "RequestCancellationError: Request was cancelled after 0.000 seconds"
    assert {step["sample"] for step in steps} == {0, 3}
    assert (run["samples"], run["warmup"]) == (None, 1)  # how many were asked for is not in the records


def test_sums_of_aiperf_and_genai_perf(tmp_path):
    names = ("profile_export_aiperf.json", "profile_export_genai_perf.json")
    runs, samples, _ = read(tmp_path, *(DATA / "aiperf" / name for name in names))
    by_model = {run["model"]: run for run in runs}
    ours, theirs = by_model["Qwen/Qwen3-0.6B"], by_model["llama-3"]
    assert samples == []
    assert (ours["backend"], ours["options"]) == ("chat", {"concurrency": 2})
    assert (ours["batch_tokens_per_s"], ours["totals"]["output_tokens"], ours["totals"]["wall_s"]) == (4.5, 9, 2.0)
    assert (theirs["backend"], theirs["options"]) == ("tensorrtllm", {"concurrency": 1})
    # 20 requests of 50 tokens at 100 tokens/s
    assert (theirs["totals"]["output_tokens"], theirs["totals"]["wall_s"]) == (1000, 10.0)
    assert "wall time follows from tokens and throughput" in theirs["notes"]
    assert theirs["settings"]["published_time_to_first_token_avg"] == "50.0 ms"


def test_an_unknown_unit_is_refused(tmp_path):
    text = (DATA / "aiperf" / "profile_export.jsonl").read_text()
    (tmp_path / "x.jsonl").write_text(text.replace('"value": 1500.0, "unit": "ms"', '"value": 1500.0, "unit": "ticks"'))
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "x.jsonl"]))
    (problem,) = report.problems
    assert "x.jsonl:2: field 'request_latency.unit': 'ticks'" in problem.text.replace("metrics.", "")
