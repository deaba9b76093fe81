"""Files of optimum-benchmark, Spec-Bench, hyperfine and lm-eval's samples: every figure by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.parsers.foreign import Intake
from decodebench.collate.speculation import analyse
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

from .imported import read

DATA = Path(__file__).parents[1] / "data"


def test_optimum_benchmark_rows_of_a_batch_have_its_times(tmp_path):
    (run,), samples, _ = read(tmp_path, DATA / "optimum_benchmark" / "benchmark.json")
    assert (run["backend"], run["backend_version"], run["model"], run["quantisation"], run["device"]) == (
        "pytorch", "2.8.0", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "float16", "cuda",
    )  # fmt: skip
    # two generations of 2 x 6 tokens in 1.25 and 1.5 s; prefill of 2 x 16 tokens 0.25 s each
    assert [(s["batch"], s["duration_s"], s["first_token_s"], s["decode_s"]) for s in samples] == [
        (0, 1.25, 0.25, 1.0), (0, 1.25, 0.25, 1.0), (1, 1.5, 0.25, 1.25), (1, 1.5, 0.25, 1.25),
    ]  # fmt: skip
    expected = {
        "ttft_s": 0.25, "tpot_s": 4.5 / 20, "prefill_tokens_per_s": 16 / 0.25, "e2e_tokens_per_s": 24 / 5.5,
        "batch_tokens_per_s": 24 / 2.75, "load_s": 3.5, "peak_rss_bytes": 1e9, "peak_device_bytes": 2e9,
    }  # fmt: skip
    assert {name: run[name] for name in expected} == pytest.approx(expected)
    assert run["environment"]["gpu"] == ["NVIDIA A10G"] and run["environment"]["cpu_model"] == "AMD EPYC 7R32"
    assert run["environment"]["packages"] == {"optimum_benchmark": "0.7.0.dev0", "transformers": "4.56.1"}
    assert run["options"] == {
        "no_weights": False, "torch_dtype": "float16", "eval_mode": True, "attn_implementation": "sdpa",
        "torch_compile": False,
    }  # fmt: skip
    assert run["settings"] == {"published_energy_kwh_generate": "6.1e-06"} and run["energy_j"] is None


def test_a_report_without_configuration_tells_batch_and_tokens_by_its_throughputs(tmp_path):
    (run,), samples, _ = read(tmp_path, DATA / "optimum_benchmark" / "benchmark_report.json")
    assert (run["model"], run["batch_size"], len(samples)) == ("unknown", 2, 4)
    assert run["tpot_s"] == pytest.approx(4.5 / 20) and run["batch_tokens_per_s"] == pytest.approx(24 / 2.75)
    assert run["prefill_tokens_per_s"] is None  # nothing tells the prompt's length


def test_a_report_beside_its_benchmark_counts_once(tmp_path):
    files = [DATA / "optimum_benchmark" / name for name in ("benchmark_report.json", "benchmark.json")]
    (problem,) = collate(tmp_path, all_plugins(), intake=Intake(files)).problems
    assert "is also in raw/imported/imported/optimum-benchmark/" in problem.text
    with Store.open(tmp_path) as store:
        assert store.query("SELECT source_format, model FROM runs")[1] == [
            ("optimum-benchmark", "TinyLlama/TinyLlama-1.1B-Chat-v1.0")
        ]


def test_prefills_that_were_timed_apart_are_no_first_tokens(tmp_path):
    (run,), samples, _ = read(tmp_path, DATA / "optimum_benchmark" / "vllm" / "benchmark.json")
    assert [(s["duration_s"], s["decode_s"], s["decode_tokens"]) for s in samples] == [(2.0, 1.5, 100), (2.5, 2.0, 100)]
    assert run["ttft_s"] is None and run["tpot_s"] == pytest.approx(0.0175)
    assert any("prefills were timed apart" in note for note in run["notes"])


def test_spec_bench_cycles_become_steps(tmp_path):
    runs, samples, steps = read(tmp_path, *(DATA / "spec_bench" / f"{name}.jsonl" for name in ("eagle2", "vanilla")))
    by_method = {run["backend"]: run for run in runs}
    eagle, vanilla = by_method["eagle2"], by_method["vanilla"]
    assert (eagle["model"], eagle["quantisation"], eagle["kind"]) == ("vicuna-7b-v1.3", "float16", "speculative")
    assert eagle["options"] == {"variant": "float16-temp-0.0"} and vanilla["kind"] == "autoregressive"
    # turns of (4, 3, 2), (3, 2) and (3, 2) tokens a cycle; the last two have one token more, of the prefill
    assert eagle["tau"] == pytest.approx(19 / 7) and eagle["acceptance_rate"] is None and vanilla["tau"] is None
    # 9, 5, 6 and 3 tokens in 0.5, 0.25, 0.25 and 0.5 s
    assert eagle["e2e_tokens_per_s"] == pytest.approx(23 / 1.5) and vanilla["e2e_tokens_per_s"] == 10.0
    assert eagle["ttft_s"] is None and eagle["decode_tokens_per_s"] is None
    ours = [sample for sample in samples if sample["run_id"] == eagle["run_id"]]
    assert [sample["sample_id"] for sample in ours][:2] == ["writing/81/turn 0", "writing/81/turn 1"]
    assert [sample["status"] for sample in ours] == ["ok", "ok", "ok", "failed", "ok"]
    assert [(step["sample"], step["tokens"], step["accepted"]) for step in steps] == [
        (0, 0, None), (0, 4, 3), (0, 3, 2), (0, 2, 1), (1, 0, None), (1, 3, 2), (1, 2, 1), (2, 1, None), (2, 3, 2),
        (2, 2, 1),
    ]  # fmt: skip
    assert "1 turns have cycles that do not add up to new_tokens: they have no steps" in eagle["notes"]
    with Store.open(tmp_path) as store:
        cells = {cell.cell.label: cell for cell in analyse(store).cells}
    found = cells["eagle2 float16"]
    assert found.acceptance.tau.value == pytest.approx(19 / 7) and found.acceptance.tau_counts == (0, 0, 3, 3, 1)
    assert found.blocks is found.acceptance.below_half_share is None and found.acceptance.positions == ()
    assert cells["vanilla float16"].acceptance is None


def test_a_failed_turn_of_spec_bench_keeps_neither_time_nor_tokens(tmp_path):
    (run,), samples, _ = read(tmp_path, DATA / "spec_bench" / "eagle2.jsonl")
    failed = next(sample for sample in samples if sample["status"] == "failed")
    assert (failed["output_tokens"], failed["duration_s"], failed["sample_id"]) == (0, None, "coding/121/turn 0")
    assert any("with time and tokens of the turn before" in note for note in run["notes"])


def test_each_time_of_hyperfine_is_a_round(tmp_path):
    runs, samples, _ = read(tmp_path, DATA / "hyperfine" / "two_commands.json")
    assert [(run["round"], run["status"], run["e2e_s"]) for run in runs] == [
        (0, "ok", 2.0), (1, "ok", 2.1), (2, "ok", 1.9), (3, "ok", 2.0),
        (0, "ok", 1.0), (1, "ok", 1.05), (2, "failed", None), (3, "ok", 1.0),
    ]  # fmt: skip
    assert runs[6]["reason"] == "exit code 1" and runs[1]["peak_rss_bytes"] == 1_100_000
    assert all(run["e2e_tokens_per_s"] is None for run in runs) and len(samples) == 7
    assert runs[4]["options"] == {"command": "llama-cli -t 2 -n 64", "threads": "2"}
    with Store.open(tmp_path) as store:
        compared = compare(store)
    assert compared.metric == "e2e_s"
    assert [(row.rounds, row.verdict) for row in compared.rows] == [(4, "baseline"), (3, "faster")]
    assert compared.rows[1].ratio.value == pytest.approx(
        (2.0 * 2.1 * 1.9 * 2.0) ** 0.25 / (1.0 * 1.05 * 1.0) ** (1 / 3)
    )


def test_documents_of_lm_eval_are_scored_under_the_filter_that_counts(tmp_path):
    name = "samples_gsm8k_2026-08-21T10-11-12.123456.jsonl"
    (run,), samples, _ = read(tmp_path, DATA / "lm_eval" / name)
    assert (run["task"], run["started_at"]) == ("gsm8k", "2026-08-21T10:11:12.123456")
    assert run["settings"] == {"published_metric": "exact_match,flexible-extract"}
    assert [(s["sample_id"], s["reference"], s["extracted"], s["score"]) for s in samples] == [
        ("doc 0", "18", "18", 1.0), ("doc 1", "3", "4", 0.0), ("doc 2", "70", "70", 1.0),
    ]  # fmt: skip
    assert samples[0]["prompt"] == "Question: Q0?\nAnswer:" and samples[0]["text"] == "It is 18."
    assert run["accuracy"] == pytest.approx(2 / 3) and run["output_tokens"] is None
    assert all(sample["output_tokens"] is None for sample in samples)


def test_results_of_a_current_lm_eval(tmp_path):
    (run,), _, _ = read(tmp_path, DATA / "lm_eval" / "results_2026-08-21T10-11-12.123456.json")
    assert (run["accuracy"], run["model"], run["quantisation"]) == (0.75, "Qwen/Qwen3-0.6B", "bfloat16")
    assert run["started_at"].startswith("2026-08-21T")


def test_a_count_is_never_taken_for_an_accuracy(tmp_path):
    content = json.loads((DATA / "lm_eval" / "results_2026-08-21T10-11-12.123456.json").read_text())
    content["results"]["arc_easy"] = {"name": "arc_easy", "alias": "arc_easy", "sample_len": 1, "word_perplexity": 9.5}
    (tmp_path / "results.json").write_text(json.dumps(content))
    (problem,) = collate(tmp_path / "o", all_plugins(), intake=Intake([tmp_path / "results.json"])).problems
    assert "no metric with a share" in problem.text
