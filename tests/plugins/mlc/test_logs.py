"""Logs of MLC-LLM: answers, engine sums, its benchmark's table and dump, and the text log of a workflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run, Sample
from decodebench.core.records.store import Store
from decodebench.plugins.mlc.logs import LOG_PARSERS
from decodebench.plugins.mlc.logs.model_names import split_name

DATA = Path(__file__).parents[2] / "data" / "mlc_logs"
TEXT = DATA / "mlc_mac_1B_q4f16_1_seed42_uuid0a1b2c3d.txt"


def read(path):
    (parser,) = [parser for parser in LOG_PARSERS if parser().matches(path, path.read_bytes()[:HEAD_BYTES])]
    records = list(parser().read(path))
    runs = [record for record in records if isinstance(record, Run)]
    return [(run, [s for s in records if isinstance(s, Sample) and s.run_id == run.run_id]) for run in runs]


def figures(folder, path):
    collate(folder, all_plugins(), intake=Intake([path]))
    with Store.open(folder) as store:
        return store.dicts("SELECT * FROM run_metrics ORDER BY run_id")


def test_answers_give_prefill_decode_and_first_token_by_the_engines_clock(tmp_path):
    ((run, samples),) = read(DATA / "answers.jsonl")
    assert (run.model, run.quantisation, run.backend) == ("Llama-3.2-1B-Instruct", "q4f16_1", "mlc")
    assert [(s.output_tokens, s.decode_tokens, s.decode_forwards) for s in samples] == [
        (65, 64, 64), (128, 127, 127), (33, 32, 32),
    ]  # fmt: skip
    assert [s.engine for s in samples] == [{}, {}, {"cached_prompt_tokens": 16}]
    assert samples[1].finish == "length" and samples[0].text == "Paris is the capital of France."
    (row,) = figures(tmp_path, DATA / "answers.jsonl")
    assert row["decode_tokens_per_s"] == pytest.approx((64 + 127 + 32) / (0.8 + 1.6 + 0.4))
    assert row["prefill_tokens_per_s"] == pytest.approx((24 + 31 + 8) / 0.13)
    assert row["ttft_s"] == pytest.approx(0.13 / 3)


@pytest.mark.parametrize(
    ("name", "text"), [("answer.json", "Paris is the capital of France."), ("stream.txt", "Paris.")]
)
def test_one_answer_and_a_stream_are_read_alike(name, text):
    ((run, (sample,)),) = read(DATA / name)
    assert (run.status, run.samples, sample.text) == ("ok", None, text)
    assert (run.max_new_tokens, run.seed, run.sampling.temperature, run.warmup, run.batch_size) == (None,) * 5
    assert sample.first_token_s == 0.05


def test_more_decode_work_than_tokens_is_no_forward_per_token(tmp_path):
    answer = json.loads((DATA / "answer.json").read_text())
    answer["usage"]["extra"]["decode_tokens"] = 150
    path = tmp_path / "a.json"
    path.write_text(json.dumps(answer))
    ((run, (sample,)),) = read(path)
    assert (sample.decode_tokens, sample.decode_forwards) == (64, None) and "speculation" in run.notes[-1]


def test_engine_sums_are_a_speed_only_where_sequences_came_one_by_one(tmp_path):
    (row,) = figures(tmp_path / "single", DATA / "engine_metrics.json")
    assert row["decode_tokens_per_s"] == pytest.approx(100) and row["prefill_tokens_per_s"] == pytest.approx(500)
    (row,) = figures(tmp_path / "batched", DATA / "engine_metrics_batched.json")
    assert (row["decode_tokens_per_s"], row["batch_size"]) == (None, 8)
    assert row["e2e_tokens_per_s"] == pytest.approx(405 / 4.25)
    (row,) = figures(tmp_path / "drafts", DATA / "engine_metrics_speculative.json")
    assert row["acceptance_rate"] == pytest.approx(180 / 300) and row["decode_tokens_per_s"] is None
    assert row["tau"] == pytest.approx(2.85) and row["kind"] == "speculative"


def test_the_benchmarks_table_has_throughput_and_its_dump_every_request(tmp_path):
    one, four = figures(tmp_path / "table", DATA / "mlc_benchmark.csv")
    with (DATA / "mlc_benchmark.csv").open() as file:
        names, *rows = (line.strip().split(",") for line in file)
    told = [float(row[names.index("output_token_throughput")]) for row in rows]
    assert [one["e2e_tokens_per_s"], four["e2e_tokens_per_s"]] == pytest.approx(told)
    assert json.loads(four["options"])["num_concurrent_requests"] == "4"
    assert any("1 of 4 requests did not end" in note for note in json.loads(json.dumps(four["notes"])))
    (alone, samples), (together, others) = read(DATA / "mlc_benchmark_debug_dump.log")
    assert (alone.options, together.options) == ({"num_concurrent_requests": 1}, {"num_concurrent_requests": 4})
    assert [s.first_token_s for s in samples] == [0.05] * 4 and samples[0].decode_tokens == 64
    assert [s.status for s in others] == ["ok", "ok", "ok", "failed"] and others[3].reason == "TimeoutError"
    assert (alone.max_new_tokens, alone.sampling.temperature) == (65, 1.0)


def test_the_workflows_text_log_tells_whole_calls(tmp_path):
    (row,) = figures(tmp_path, TEXT)
    assert (row["run_id"], row["hostname"], row["device"], row["quantisation"]) == (
        "uuid0a1b2c3d", "mac", "metal", "q4f16_1",
    )  # fmt: skip
    assert row["e2e_tokens_per_s"] == pytest.approx(99 / 2.08) and row["decode_tokens_per_s"] is None


def test_a_cut_or_empty_text_log_is_no_finished_run(tmp_path):
    text = TEXT.read_text()
    for name, content, status, samples in (
        ("a.txt", text[: text.index('{"run": 4')], "incomplete", 3),
        ("b.txt", text[: text.index('"tok_per_sec": 50.0')], "incomplete", 1),
        ("c.txt", text[: text.index("=== Results")], "failed", 0),
    ):
        path = tmp_path / name
        path.write_text(content)
        ((run, found),) = read(path)
        assert (run.status, len(found)) == (status, samples)
    path.write_text(text.replace('"tok_per_sec": 40.0', '"tok_per_sec": 44.0', 1))
    with pytest.raises(RawLogError, match="field 'tok_per_sec': 44 tokens/s is not 20 tokens in 0.5 s"):
        read(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HF://mlc-ai/Llama-3.2-1B-Instruct-q4f16_1-MLC", ("Llama-3.2-1B-Instruct", "q4f16_1")),
        ("dist/Qwen3-8B-q0f16/", ("Qwen3-8B", "q0f16")),
        ("dist/libs/plain", ("plain", "unknown")),
        ("", ("unknown", "unknown")),
    ],
)
def test_names_of_model_folders(name, expected):
    assert split_name(name) == expected
