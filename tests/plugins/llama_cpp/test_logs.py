"""Logs of llama.cpp's own programs: what they become, whichever form they have."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run, Sample
from decodebench.core.records.store import Store
from decodebench.core.sdk.gguf.names import format_of, model_of
from decodebench.plugins.llama_cpp.logs import LOG_PARSERS

DATA = Path(__file__).parents[2] / "data" / "llama_cpp"
FORMS = ("json", "jsonl", "csv", "sql", "md")
TESTS = [(64, 0, 0), (0, 16, 0), (32, 8, 0), (64, 0, 32), (0, 16, 32), (32, 8, 32)] * 2
WRAPPED = DATA / "llamacpp_bench_host_1B_int8_seed42_uuid6f9e9998.txt"
DEAD = DATA / "llamacpp_bench_host_1B_float16_seed42_uuid00c0ffee.txt"


def read(path):
    (parser,) = [parser for parser in LOG_PARSERS if parser().matches(path, path.read_bytes()[:HEAD_BYTES])]
    records = list(parser().read(path))
    runs = [record for record in records if isinstance(record, Run)]
    return [(run, [s for s in records if isinstance(s, Sample) and s.run_id == run.run_id]) for run in runs]


def figures(folder, *paths):
    report = collate(folder, all_plugins(), intake=Intake(paths))
    with Store.open(folder) as store:
        return store.dicts("SELECT * FROM run_metrics ORDER BY run_id"), report.problems


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_yields_the_tests_with_model_and_options(form):
    found = read(DATA / f"llama_bench.{form}")
    tests = [(run.options["n_prompt"], run.options["n_gen"], run.depth) for run, _ in found]
    assert tests == TESTS
    for at, (run, samples) in enumerate(found):
        size = (3492864, 1888256)[at >= 6]
        assert (run.backend, run.backend_version, run.device) == ("llama-cpp", "b1 0c1e570", "cpu")
        assert (run.status, run.ignore_eos, run.options["n_threads"]) == ("ok", True, 1)
        assert run.quantisation == ("q8_0", "q4_0")[at >= 6]
        assert run.model == ("qwen3 ?B" if form == "md" else "tiny-target")
        assert run.weight_bytes == pytest.approx(size, rel=0.003 if form == "md" else 1e-9)
        assert run.bits_per_weight == pytest.approx(8 * size / 3279616, rel=0.003 if form == "md" else 1e-9)
        assert run.parameters == (3_280_000 if form == "md" else 3_279_616)
        assert (len(samples), run.samples) == ((3, 3) if form.startswith("json") else (1, None))
        assert (run.seed, run.sampling.temperature, run.warmup, run.batch_size, run.order) == (None,) * 5
        assert ("averages only" in " ".join(run.notes)) == (not form.startswith("json"))
        assert run.started_at.startswith("2026-11-26T0") or form == "md"


def test_the_speeds_are_those_of_the_printed_times(tmp_path):
    rows = json.loads((DATA / "llama_bench.json").read_text())
    for (run, samples), row in zip(read(DATA / "llama_bench.json"), rows, strict=True):
        seconds = [ns / 1e9 for ns in row["samples_ns"]]
        if row["n_prompt"] and row["n_gen"]:
            assert [(s.duration_s, s.output_tokens, s.prompt_tokens) for s in samples] == [(t, 8, 32) for t in seconds]
            assert {(s.decode_s, s.prefill_s) for s in samples} == {(None, None)}
        elif row["n_gen"]:
            assert [(s.decode_s, s.decode_tokens, s.decode_forwards) for s in samples] == [(t, 16, 16) for t in seconds]
            assert {(s.duration_s, s.prefill_s, s.first_token_s) for s in samples} == {(None, None, None)}
        else:
            assert [(s.prefill_s, s.prompt_tokens, s.output_tokens) for s in samples] == [(t, 64, 0) for t in seconds]
        assert run.max_new_tokens == (row["n_gen"] or None)
    found, problems = figures(tmp_path, DATA / "llama_bench.json")
    assert not problems
    by_test = {(r["quantisation"], json.loads(r["options"])["n_gen"], r["depth"]): r for r in found}
    tg = rows[1]
    assert by_test["q8_0", 16, 0]["decode_tokens_per_s"] == pytest.approx(3 * 16 / (sum(tg["samples_ns"]) / 1e9))
    assert by_test["q8_0", 0, 0]["prefill_tokens_per_s"] == pytest.approx(3 * 64 / (sum(rows[0]["samples_ns"]) / 1e9))
    assert by_test["q8_0", 8, 0]["e2e_tokens_per_s"] == pytest.approx(3 * 8 / (sum(rows[2]["samples_ns"]) / 1e9))
    assert by_test["q8_0", 16, 0]["param_throughput_bytes_per_s"] == pytest.approx(
        3492864 * by_test["q8_0", 16, 0]["decode_tokens_per_s"]
    )
    assert by_test["q8_0", 8, 0]["decode_tokens_per_s"] is None and by_test["q8_0", 16, 0]["e2e_tokens_per_s"] is None


def test_averages_give_the_speed_of_the_mean_time_and_a_table_that_of_its_rate(tmp_path):
    with (DATA / "llama_bench.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for (_, (sample,)), row in zip(read(DATA / "llama_bench.csv"), rows, strict=True):
        seconds = [s for s in (sample.decode_s, sample.prefill_s, sample.duration_s) if s is not None]
        assert seconds == [int(row["avg_ns"]) / 1e9]
    printed = re.findall(r"\|\s+(\d+\.\d\d) ± ", (DATA / "llama_bench.md").read_text())
    for (run, (sample,)), rate in zip(read(DATA / "llama_bench.md"), printed, strict=True):
        (seconds,) = [s for s in (sample.decode_s, sample.prefill_s, sample.duration_s) if s is not None]
        assert (sample.prompt_tokens + sample.output_tokens) / seconds == pytest.approx(float(rate))
        assert "two decimals" in " ".join(run.notes)


def test_files_in_two_forms_are_rounds_of_the_same_cells(tmp_path):
    found, _ = figures(tmp_path, DATA / "llama_bench.json", DATA / "llama_bench.jsonl")
    cells = {row["cell_id"]: [] for row in found}
    for row in found:
        cells[row["cell_id"]].append(row["round"])
    assert len(cells) == 12 and all(sorted(rounds) == [0, 1] for rounds in cells.values())


def test_the_first_test_that_has_the_figure_is_the_baseline(tmp_path):
    figures(tmp_path, DATA / "llama_bench.json")
    with Store.open(tmp_path) as store:
        decode = compare(store)
        prefill = compare(store, metric="prefill_tokens_per_s")
    assert decode.baseline == "llama-cpp q8_0 n_prompt=0 n_gen=16 n_depth=0"
    assert prefill.baseline == "llama-cpp q8_0 n_prompt=64 n_gen=0 n_depth=0"
    comparable = [row.cell.options["n_gen"] for row in decode.rows if row.verdict != "not comparable"]
    assert len(decode.rows) == 12 and comparable == ["16"] * 4


def test_a_wrapped_log_keeps_its_host_and_never_takes_the_error_output_for_metadata():
    ((run, samples),) = read(WRAPPED)
    assert (run.run_id, run.environment.hostname, run.environment.cpu_model) == (
        "uuid6f9e9998", "bench_host", "AMD EPYC",
    )  # fmt: skip
    assert (run.quantisation, run.device, run.settings["published_quantize"]) == ("q8_0", "cpu", "int8")
    assert len(samples) == 3


def test_a_wrapper_whose_tool_died_is_a_failed_run():
    ((run, samples),) = read(DEAD)
    assert (run.status, run.run_id, run.quantisation, samples) == ("failed", "uuid00c0ffee", "float16", [])
    assert "died before its first one" in run.reason and "failed to load model './models" in run.reason


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "sql"])
def test_a_file_cut_anywhere_keeps_its_whole_tests_and_says_that_it_is_cut(tmp_path, form):
    text = (DATA / f"llama_bench.{form}").read_text()
    whole = read(DATA / f"llama_bench.{form}")
    for share in (0.3, 0.47, 0.77, 0.88, 0.999):
        path = write(tmp_path, f"cut.{form}", text[: int(share * len(text))])
        found = read(path)
        *ok, (last, samples) = found
        assert (last.status, samples) == ("incomplete", []) and "cut" in last.reason
        assert all(run.status == "ok" for run, _ in ok) and 0 < len(ok) <= 12
        assert [[s.decode_s for s in samples] for _, samples in ok] == [
            [s.decode_s for s in samples] for _, samples in whole[: len(ok)]
        ]


def test_an_unclosed_or_empty_list_is_said(tmp_path):
    text = (DATA / "llama_bench.json").read_text()
    path = write(tmp_path, "open.json", text.rstrip().removesuffix("]"))
    assert [run.status for run, _ in read(path)] == ["ok"] * 12 + ["incomplete"]
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([path]))
    assert "the list is not closed" in report.problems[0].text and report.failed_imports


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"samples_ns": [ 29528380', '"samples_ns": [ 39528380', "field 'samples_ts[0]'"),
        ('"samples_ts": [ 2167.41, ', '"samples_ts": [ ', "field 'samples_ts': 2 rates for 3 times"),
        ('"n_prompt": 64,', '"n_prompt": -64,', "field 'n_prompt'"),
        ('"n_prompt": 64,', '"n_prompt": 0,', "a test of no token"),
        ('"model_size": 3492864', '"model_size": 1e999', "finite number"),
        ('"samples_ns": [ 29528380', '"samples_ns": [ 0', "field 'samples_ns'"),
        ('"n_batch": 2048,', '"n_batch": 2048', "no JSON"),
    ],
)
def test_a_damaged_test_costs_itself_alone_and_its_line_and_field_are_said(tmp_path, old, new, words):
    path = write(tmp_path, "damaged.json", (DATA / "llama_bench.json").read_text().replace(old, new, 1))
    *others, (lost, samples) = read(path)
    assert [run.status for run, _ in others] == ["ok"] * 11 and (lost.status, samples) == ("incomplete", [])
    assert re.match(r"left out: line \d+: field '", lost.reason) and words in lost.reason
    assert all(lost.reason in run.notes for run, _ in others)
    alone = write(tmp_path, "alone.json", f"[{path.read_text().strip()[1:].split('},')[0]}}}]")
    with pytest.raises(RawLogError, match=re.escape(words)) as refused:
        read(alone)
    assert str(refused.value).startswith(f"{alone}:")


GPU = {
    "build_commit": "8cf427ff", "build_number": 5163, "cpu_info": "AMD Ryzen 7", "gpu_info": "NVIDIA GeForce RTX 4080",
    "backends": "CUDA", "model_filename": "models/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    "model_type": "qwen2 7B Q4_K - Medium", "model_size": 4677120000, "model_n_params": 7615616512, "n_gpu_layers": 99,
    "n_prompt": 0, "n_gen": 128, "n_depth": 0, "test_time": "2025-04-24T11:58:51Z", "avg_ns": 1075361300,
    "samples_ns": [1075361300], "samples_ts": [119.03],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "device"),
    [
        ({}, "cuda:0"),
        ({"n_gpu_layers": 0}, "cpu"),
        ({"gpu_info": "A, B"}, "cuda"),
        ({"devices": "CUDA1"}, "cuda:1"),
        ({"devices": "none"}, "cpu"),
        ({"backends": "Metal,BLAS", "gpu_info": "Apple M3"}, "metal"),
        ({"backends": "BLAS", "gpu_info": ""}, "cpu"),
        ({"backends": "", "cuda": True}, "cuda:0"),
    ],
)
def test_the_device_is_named_as_backends_here_name_it(tmp_path, changed, device):
    ((run, _),) = read(write(tmp_path, "gpu.jsonl", json.dumps(GPU | changed) + "\n"))
    assert run.device == device
    assert (run.model, run.quantisation, run.size) == ("Qwen2.5-7B-Instruct", "q4_k_m", "7B")
    assert run.started_at == "2025-04-24T11:58:51Z" and run.backend_version == "b5163 8cf427ff"


@pytest.mark.parametrize(
    ("type_name", "file_name", "expected"),
    [
        ("llama 1B Q4_0", "", ("q4_0", "llama 1B")),
        ("llama 7B mostly Q4_0", "", ("q4_0", "llama 7B")),
        ("qwen2 7B Q4_K - Medium", "m/Qwen2.5-7B-Q4_K_M.gguf", ("q4_k_m", "Qwen2.5-7B")),
        ("llama 8B Q2_K - Medium", "", ("q2_k", "llama 8B")),
        ("llama 8B IQ3_S mix - 3.66 bpw", "", ("iq3_m", "llama 8B")),
        ("llama 8B IQ2_XXS - 2.0625 bpw", "", ("iq2_xxs", "llama 8B")),
        ("llama 13B all F32 (guessed)", "", ("f32", "llama 13B")),
        ("gpt-oss 20B MXFP4 MoE", "gpt-oss-20b-mxfp4-00001-of-00002.gguf", ("mxfp4", "gpt-oss-20b")),
        ("llama ?B unknown, may not work", "C:\\m\\x.Q5_K_S.gguf", ("q5_k_s", "x")),
        ("", "", (None, None)),
    ],
)
def test_names_of_model_and_format(type_name, file_name, expected):
    assert (format_of(type_name, file_name), model_of(type_name, file_name)) == expected


def test_tables_in_a_text_are_read_with_their_own_columns_and_build(tmp_path):
    table = """
Results on my machine:

| model                          |       size |     params | backend    | ngl | fa | test       |              t/s |
| ------------------------------ | ---------: | ---------: | ---------- | --: | -: | ---------- | ---------------: |
| llama 7B mostly Q4_0           |   3.56 GiB |     6.74 B | CUDA       |  99 |  1 | pp 512     |  2368.80 ± 93.24 |
| llama 7B mostly Q4_0           |   3.56 GiB |     6.74 B | CUDA       |  99 |  1 | tg 128     |    131.42 ± 0.59 |

build: 8cf427ff (5163)

| model         | backend    | ngl |          test |              t/s |
| ------------- | ---------- | --: | ------------: | ---------------: |
| llama 7B Q4_0 | Metal      |  99 |  tg128 @ d512 |     40.00 ± 0.59 |
"""
    (prompt, generation, other) = read(write(tmp_path, "README.md", table))
    assert prompt[1][0].prefill_s == pytest.approx(512 / 2368.80)
    assert generation[1][0].decode_s == pytest.approx(128 / 131.42)
    assert generation[0].options == {
        "n_gpu_layers": 99, "flash_attn": 1, "n_prompt": 0, "n_gen": 128, "n_depth": 0,
    }  # fmt: skip
    assert (generation[0].device, generation[0].backend_version) == ("cuda", "b5163 8cf427ff")
    assert (other[0].device, other[0].backend_version, other[0].depth) == ("metal", None, 512)
    assert other[0].weight_bytes is None and other[0].bits_per_weight is None


def test_the_answers_of_a_server_become_samples_by_its_own_clock(tmp_path):
    answers = [json.loads(line) for line in (DATA / "server_answers.jsonl").read_text().splitlines()]
    ((run, samples),) = read(DATA / "server_answers.jsonl")
    assert (run.model, run.quantisation, run.max_new_tokens) == ("tiny-target", "q8_0", 24)
    assert (run.sampling.temperature, run.sampling.top_k) == (0.0, 40)
    for sample, answer in zip(samples, answers, strict=True):
        timings = answer["timings"]
        assert sample.text == answer["content"] and sample.finish == "length"
        assert (sample.prompt_tokens, sample.output_tokens) == (timings["prompt_n"], timings["predicted_n"])
        assert sample.first_token_s == sample.prefill_s == timings["prompt_ms"] / 1e3
        assert sample.decode_tokens / sample.decode_s == pytest.approx(timings["predicted_per_second"])
    assert len({sample.sample_id for sample in samples}) == 2


def test_a_stream_is_one_answer_and_says_what_the_cache_held():
    ((run, (sample,)),) = read(DATA / "server_stream.txt")
    assert (sample.output_tokens, sample.prompt_tokens, sample.finish) == (13, 1, "stop")
    assert sample.engine == {"cached_prompt_tokens": 7} and "server's cache" in " ".join(run.notes)
    assert run.backend_version == "b1 0c1e570" and run.started_at.startswith("2026-11-26T")


def test_drafts_of_a_server_give_its_acceptance_and_a_refused_request_fails_alone(tmp_path):
    (row,), problems = figures(tmp_path, DATA / "server_drafts.jsonl")
    assert not problems and row["kind"] == "speculative"
    assert row["acceptance_rate"] == pytest.approx(96 / 180)
    assert row["decode_tokens_per_s"] == pytest.approx(150 / 0.75) and row["ttft_s"] == pytest.approx(0.06)
    assert row["tokens_per_forward"] is None
    ((_, samples),) = read(DATA / "server_drafts.jsonl")
    assert samples[2].reason == "error: the request exceeds the available context size"


def test_console_timings_with_what_the_program_printed_of_the_model(tmp_path):
    ((run, (sample,)),) = read(DATA / "completion.log")
    assert (run.model, run.quantisation, run.bits_per_weight) == ("tiny-target", "q8_0", 8.52)
    assert (run.load_s, run.parameters) == (pytest.approx(0.04233), 3_280_000)
    assert (sample.prompt_tokens, sample.prefill_s) == (20, pytest.approx(0.02513))
    assert (sample.decode_tokens, sample.decode_s, sample.decode_forwards) == (25, pytest.approx(0.04373), 25)
    assert (sample.output_tokens, sample.duration_s) == (26, None)  # one token came from the prompt
    ((run, (sample,)),) = read(DATA / "older.log")
    assert (run.model, run.quantisation, run.backend_version, run.device) == (
        "llama-2-7b", "q4_k_m", "b1500 0123abc", "cpu",
    )  # fmt: skip
    assert (sample.output_tokens, sample.decode_tokens / sample.decode_s) == (64, pytest.approx(10))


def test_a_servers_console_tells_what_its_answers_tell():
    ((_, printed),) = read(DATA / "server.log")
    ((_, answered),) = read(DATA / "server_answers.jsonl")
    assert len(printed) == 4
    for console, answer in zip(printed, answered, strict=False):
        assert (console.prompt_tokens, console.decode_tokens) == (answer.prompt_tokens, answer.decode_tokens)
        assert console.decode_s == pytest.approx(answer.decode_s, abs=1e-5)
        assert console.first_token_s == pytest.approx(answer.first_token_s, abs=1e-5)


def test_times_of_zero_that_a_program_prints_with_a_count_of_one_are_no_figures(tmp_path):
    text = (DATA / "completion.log").read_text()
    text = re.sub(r"(common_perf_print:        eval time =) .*", r"\1       0.00 ms /     1 runs   (0.00 ms)", text)
    ((_, (sample,)),) = read(write(tmp_path, "embedding.log", text))
    assert (sample.output_tokens, sample.decode_tokens, sample.decode_s) == (1, None, None)
    assert sample.prefill_s == pytest.approx(0.02513)


def test_what_a_program_prints_of_how_it_runs_is_read():
    ((run, _),) = read(DATA / "completion.log")
    assert (run.max_new_tokens, run.sampling.temperature, run.sampling.top_k, run.sampling.seed) == (32, 0.0, 40, None)
    assert run.conditions["n_batch"] == "2048" and run.conditions["n_threads"] == "1"
    assert run.extra == {"sampler_seeds": [4221880890]} and (run.samples, run.warmup, run.batch_size) == (None,) * 3


@pytest.mark.parametrize(
    ("old", "new", "cells"),
    [
        ("temp = 0.000", "temp = 0.800", 2), ("n_predict = 32", "n_predict = 64", 2),
        ("n_threads = 1", "n_threads = 2", 2), ("n_ubatch              = 512", "n_ubatch              = 256", 2),
        ("sampler seed: 4221880890", "sampler seed: 7", 1), ("temp = 0.000", "temp = hot", 2),
    ],
)  # fmt: skip
def test_two_logs_are_rounds_unless_a_printed_setting_differs(tmp_path, old, new, cells):
    text = (DATA / "completion.log").read_text()
    assert old in text
    paths = [write(tmp_path, "a.log", text), write(tmp_path, "b.log", text.replace(old, new).replace("76 ms", "77 ms"))]
    found, problems = figures(tmp_path / "o", *paths)
    assert (len({row["cell_id"] for row in found}), len(found), problems) == (cells, 2, ())


def test_a_server_whose_requests_were_sampled_in_two_ways_has_no_single_temperature(tmp_path):
    text = (DATA / "server.log").read_text().replace("temp = 0.000", "temp = 0.700", 1)
    ((run, _),) = read(write(tmp_path, "server.log", text))
    assert run.sampling.temperature is None and len(run.conditions["samplers"]) == 2
