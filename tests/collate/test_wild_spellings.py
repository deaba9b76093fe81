"""Logs as strangers post them: other spellings of the same thing, several launches on a page, columns of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

DATA = Path(__file__).parents[1] / "data"
HEAD = "| model | size | params | backend | ngl | test | t/s |\n| --- | ---: | ---: | --- | --: | ---: | ---: |\n"
PP = "| llama 7B Q4_0 | 3.56 GiB | 6.74 B | CUDA | 99 | pp512 | 7979.85 ± 114.18 |\n"
TG = "| llama 7B Q4_0 | 3.56 GiB | 6.74 B | CUDA | 99 | tg128 | 131.42 ± 0.59 |\n"
TABLE = f"{HEAD}{PP}{TG}\nbuild: 4b0c638b (5912)\n"


def imported(folder, text, name="log.txt"):
    """Import one text; returns its runs in the file's order."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    report = collate(folder / "o", all_plugins(), intake=Intake([path]))
    assert not report.problems, [problem.text for problem in report.problems]
    with Store.open(folder / "o") as store:
        runs = store.dicts("SELECT * FROM run_metrics ORDER BY source_line, run_id")
    for run in runs:
        for part in ("options", "conditions", "settings", "environment"):
            run[part] = json.loads(run[part] or "{}")
    return runs


def figures(runs, *names):
    return [tuple(run[name] for name in names) for run in runs]


def near(*expected):
    return [pytest.approx(figure, rel=1e-6) for figure in expected]


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace("t/s |\n", "t/s | notes |\n", 1).replace("±  |", "").replace("114.18 |", "114.18 | a |"),
        TABLE.replace("t/s |\n", "t/s | vs. b5900 |\n", 1).replace("0.59 |", "0.59 | +3.1% |"),
        TABLE.replace("| model", "| GPU | model").replace("| ---", "| - | ---", 1).replace("| llama", "| 4090 | llama"),
        TABLE.replace("± 114.18", "(± 114.18)").replace("± 0.59", "(± 0.59)"),
        TABLE.replace("114.18 |", "114.18 t/s |").replace("0.59 |", "0.59 t/s |"),
        TABLE.replace("± 0.59", "± 0.45%"),
        "".join(f"+{line}\n" for line in TABLE.split("\n")),
        "".join(f"bench.txt:{at}:{line}\n" for at, line in enumerate(TABLE.split("\n"), start=1)),
    ],
    ids=["notes", "comparison", "own first column", "in brackets", "with units", "percent", "of a diff", "of grep"],
)
def test_a_table_with_additions_is_the_table(tmp_path, text):
    prefill, decode = imported(tmp_path, text)
    assert (prefill["prefill_tokens_per_s"], decode["decode_tokens_per_s"]) == tuple(near(7979.85, 131.42))


def test_columns_of_peoples_own_tell_rows_apart_unless_they_are_results(tmp_path):
    head = HEAD.replace("| model", "| GPU | model").replace("t/s |\n", "t/s | gain |\n", 1)
    rows = "".join(
        f"| {gpu} {TG.rstrip()} {gain} |\n" for gpu, gain in (("3090", "1.0"), ("4090", "1.1"), ("4090", "1.2x"))
    )
    first, second, third = imported(tmp_path, head + rows)
    assert [run["options"]["GPU"] for run in (first, second, third)] == [3090, 4090, 4090]
    assert first["cell_id"] != second["cell_id"] == third["cell_id"]
    assert third["settings"]["published_gain"] == "1.2x"


def test_tests_on_a_page_have_the_gpu_and_the_heading_of_their_own_launch(tmp_path):
    gpu = "ggml_cuda_init: found 1 CUDA devices:\n  Device 0: {}, compute capability 8.9, VMM: yes\n"
    page = f"## A\n{gpu.format('RTX 4090')}{TABLE}## B\n{gpu.format('RTX 3090')}{TABLE.replace('131.42', '90.00')}"
    runs = imported(tmp_path, page)
    assert [run["environment"]["gpu"] for run in runs] == [["RTX 4090"]] * 2 + [["RTX 3090"]] * 2
    assert [run["conditions"]["heading"] for run in runs] == ["A", "A", "B", "B"]
    files = f"==> rocm6.log <==\n{TABLE}\n==> rocm7.log <==\n{TABLE.replace('131.42', '150.00')}"
    (tmp_path / "tail").mkdir()
    assert len({run["cell_id"] for run in imported(tmp_path / "tail", files)}) == 4


def test_a_page_with_several_forms_of_llama_bench_has_the_tests_of_each_once(tmp_path):
    tests = json.loads((DATA / "llama_cpp" / "llama_bench.json").read_text())[:1]
    again = f"{HEAD}| qwen3 ?B Q8_0 | 3.33 MiB | 3.28 M | CPU | 1 | pp64 | {tests[0]['avg_ts']:.2f} ± 2121.06 |\n"
    csv = (DATA / "llama_cpp" / "llama_bench.csv").read_text()
    runs = imported(tmp_path, f"```\n{json.dumps(tests, indent=2)}\n```\n{again}\n{TABLE}\n```\n{csv}```\n")
    assert len(runs) == 1 + 2 + csv.count("\n") - 1
    assert sum(run["decode_tokens_per_s"] == pytest.approx(131.42) for run in runs) == 1


def test_tables_of_two_builds_in_one_csv_are_read_by_their_own_columns(tmp_path):
    csv = (DATA / "llama_cpp" / "llama_bench.csv").read_text()
    head, *rows = [line.split(",") for line in csv.splitlines()]
    fewer = "\n".join(",".join([*cells[:5], *cells[6:]]) for cells in (head, *rows)).replace("0c1e570", "abcdef1")
    runs = imported(tmp_path, f"{csv}{fewer}\n", "all.csv")
    speeds = figures(runs, "prefill_tokens_per_s", "decode_tokens_per_s", "e2e_tokens_per_s")
    assert len(runs) == 2 * len(rows) and speeds[: len(rows)] == speeds[len(rows) :]
    assert {run["status"] for run in runs} == {"ok"}


def timings(eval_ms, load_ms="500.00", name="llama_print_timings"):
    return (
        f"{name}:        load time =     {load_ms} ms\n"
        f"{name}: prompt eval time =     100.00 ms /    10 tokens (   10.00 ms per token,   100.00 tokens per second)\n"
        f"{name}:        eval time =    {eval_ms} ms /   100 runs   (   20.00 ms per token, 50.00 tokens per second)\n"
    )


@pytest.mark.parametrize(
    ("text", "launches"),
    [
        (timings("2000.00") + timings("10000.00", "600.00"), 2),
        (timings("2000.00") + timings("10000.00"), 1),  # one process: it was loaded once
        ("\n".join(line for line in (timings("2000.00") + timings("10000.00")).split("\n") if "load" not in line), 2),
        (f"# 7B\n{timings('2000.00')}# 13B\n{timings('10000.00', '600.00')}", 2),
    ],
    ids=["of two programs", "of one program", "without loading", "below headings"],
)
def test_timings_without_what_was_loaded_are_a_run_for_each_launch(tmp_path, text, launches):
    runs = imported(tmp_path, text)
    assert len({run["cell_id"] for run in runs}) == len(runs) == launches
    speeds = [run["decode_tokens_per_s"] for run in runs]
    assert speeds == near(*((50.0, 10.0) if launches == 2 else (200 / 12,)))


def test_launches_are_of_the_model_that_they_or_their_commands_name(tmp_path):
    loaded = (
        "llama.cpp: loading model from ../open-llama/3B-v2/ggml-model-{0}.bin\n"
        "llama_model_load_internal: ftype      = {1}\nllama_model_load_internal: model size = 3B\n"
    )
    first = loaded.format("f16", "1 (mostly F16)") + timings("2000.00")
    runs = imported(tmp_path, first + loaded.format("q4_0", "2 (mostly Q4_0)") + timings("1000.00", "90.00"))
    assert figures(runs, "model", "size", "quantisation") == [("3B-v2", "3B", "f16"), ("3B-v2", "3B", "q4_0")]
    (tmp_path / "named").mkdir()
    commands = f"$ ./main -m a.gguf\n{timings('2000.00')}$ ./main -m b.gguf\n{timings('2000.00')}"
    assert figures(imported(tmp_path / "named", commands), "model") == [("a",), ("b",)]


def test_a_speculative_program_is_one_answer_and_not_its_contexts(tmp_path):
    text = (
        "encoded   11 tokens in    0.100 seconds, speed:  110.000 t/s\n"
        "decoded  130 tokens in    2.600 seconds, speed:   50.000 t/s\n\n"
        "n_draft   = 16\nn_predict = 130\nn_drafted = 144\nn_accept  = 90\naccept    = 62.500%\n\n"
        f"draft:\n\n{timings('300.00')}\ntarget:\n\n{timings('1900.00', '700.00')}"
    )
    (run,) = imported(tmp_path, text)
    assert figures([run], "kind", "output_tokens") == [("speculative", 130)]
    speeds = [run[name] for name in ("decode_tokens_per_s", "prefill_tokens_per_s", "acceptance_rate")]
    assert speeds == near(50.0, 110.0, 0.625)


def test_the_servers_of_2023_count_tokens_as_runs(tmp_path):
    (run,) = imported(tmp_path, timings("1980.00", name="print_timings"))
    assert [run["decode_tokens_per_s"], run["ttft_s"]] == near(50.0, 0.1)


@pytest.mark.parametrize("way", ["build      : b7358-c6b2c9310\nmodel      : {}\n", "$ llama-cli -m {} -p hi\n"])
def test_answers_of_llama_cli_are_of_the_model_that_their_launch_names(tmp_path, way):
    footer = "> hi\n[ Prompt: 62,6 t/s | Generation: 4,7 t/s ]\n"
    runs = imported(tmp_path, f"{way.format('A-Q4_K_M.gguf')}{footer}{footer}{way.format('B-Q8_0.gguf')}{footer}")
    assert figures(runs, "model", "quantisation") == [("A", "q4_k_m"), ("B", "q8_0")]
    assert [run["settings"]["published_tokens_per_s"] for run in runs] == ["4.7, 4.7", "4.7"]


def test_a_table_with_decimal_commas_loses_no_row_and_an_odd_one_is_noted(tmp_path):
    text = (DATA / "llama_cpp" / "batched.log").read_text()
    plain = imported(tmp_path, text)
    (tmp_path / "comma").mkdir()
    comma = imported(tmp_path / "comma", text.replace(".", ","))
    assert len(plain) == 3 and figures(comma, "batch_tokens_per_s") == figures(plain, "batch_tokens_per_s")
    (tmp_path / "odd").mkdir()
    odd = imported(tmp_path / "odd", text.replace("0.469", "-----"))
    assert len(odd) == 2 and all("left out" in " ".join(run["notes"]) for run in odd)


def test_the_serving_benchmark_of_early_2024_had_its_units_behind_the_values(tmp_path):
    block = (
        "Successful requests: 100\nBenchmark duration: 29.521190 s\nTotal input tokens: 25900\n"
        "Total generated tokens: 22632\nRequest throughput: 3.39 requests/s\nInput token throughput: 877.34 tokens/s\n"
        "Output token throughput: 766.64 tokens/s\nMean TTFT: 119.86 ms\n"
    )
    runs = imported(tmp_path, f"8 GPUs:\n{block}\n4 GPUs:\n{block.replace('29.521190', '59.042380')}")
    assert [run["batch_tokens_per_s"] for run in runs] == near(22632 / 29.52119, 22632 / 59.04238)
    assert runs[0]["settings"]["published_mean_ttft_ms"] == "119.86" and runs[0]["cell_id"] != runs[1]["cell_id"]


def test_blocks_of_ollama_are_of_the_model_that_was_run(tmp_path):
    block = (DATA / "serving" / "ollama.txt").read_text()
    runs = imported(tmp_path, f"$ ollama run llama3:8b --verbose hi\n{block}$ ollama run --verbose qwen3:4b\n{block}")
    assert figures(runs, "model") == [("llama3:8b",), ("qwen3:4b",)]


@pytest.mark.parametrize("place", ["spec", "args"])
def test_a_report_of_guidellm_names_the_model_once_for_all_benchmarks(tmp_path, place):
    report = json.loads((DATA / "guidellm" / "benchmarks.json").read_text())
    for benchmark in report["benchmarks"]:
        del benchmark["config"]["backend"]
    if place == "args":
        report["args"] = {"model": report.pop("config")["spec"]["backend"]["model"], "backend": "openai_http"}
    runs = imported(tmp_path, json.dumps(report), "benchmarks.json")
    assert set(figures(runs, "model", "backend")) == {("Qwen/Qwen3-0.6B", "openai_http")}


BENCHY = (
    "| model | test | t/s | peak t/s | ttfr (ms) | est_ppt (ms) | e2e_ttft (ms) |\n|:--|--:|--:|--:|--:|--:|--:|\n"
    "| a/b | pp2048 @ d4096 | 2019.02 ± 34.98 | | 1054.64 ± 17.57 | 1014.66 ± 17.57 | 1115.41 ± 18.70 |\n"
    "| a/b | tg32 | 52.94 ± 0.01 | 54.00 ± 0.00 | | | |\n"
)


def test_the_table_of_llama_benchy_is_not_llama_benchs(tmp_path):
    prefill, decode = imported(tmp_path, BENCHY)
    assert figures([prefill, decode], "backend", "model", "depth") == [
        ("llama-benchy", "a/b", 4096),
        ("llama-benchy", "a/b", 0),
    ]
    assert [prefill["prefill_tokens_per_s"], prefill["ttft_s"]] == near(2019.02, 1.11541)
    assert [decode["decode_tokens_per_s"], decode["tpot_s"]] == near(52.94, 1 / 52.94)


def test_with_several_requests_a_sample_of_llama_benchy_is_one_of_them(tmp_path):
    text = BENCHY.replace("| t/s |", "| t/s (total) | t/s (req) |").replace("|--:|", "|--:|--:|", 1)
    text = text.replace("2019.02 ± 34.98", "2019.02 ± 34.98 | 500.50 ± 90.10").replace("@ d4096", "(c5)")
    prefill, *_ = imported(tmp_path, text.replace("52.94 ± 0.01", "52.94 ± 0.01 | 11.25 ± 0.10"))
    assert prefill["prefill_tokens_per_s"] == pytest.approx(500.5) and prefill["options"]["concurrency"] == 5


def test_tables_of_two_models_with_one_task_are_both_read(tmp_path):
    head = "|Tasks|Version|Filter|n-shot|Metric|   |Value|   |Stderr|\n|---|--:|---|--:|---|---|--:|---|--:|\n"
    page = "".join(
        f"hf (pretrained={model}), gen_kwargs: (None), limit: None, num_fewshot: None, batch_size: 8\n"
        f"{head}|boolq|2|none|0|acc|↑|{share}|±|0.0073|\n\n"
        for model, share in (("a/b", "0,778"), ("c/d", "0,500"))
    )
    assert figures(imported(tmp_path, page), "model", "accuracy") == [("a/b", 0.778), ("c/d", 0.5)]


def test_a_launch_that_died_before_its_timings_has_not_those_of_the_next(tmp_path):
    loaded = (
        "llama_model_loader: loaded meta data with 29 key-value pairs and 291 tensors from /m/{} (version GGUF V3)\n"
    )
    text = f"{loaded.format('A-Q4_K_M.gguf')}Segmentation fault (core dumped)\n{loaded.format('B-Q8_0.gguf')}"
    runs = imported(tmp_path, text + timings("2000.00"))
    expected = {("A", "q4_k_m", "failed", None), ("B", "q8_0", "ok", 50.0)}
    assert set(figures(runs, "model", "quantisation", "status", "decode_tokens_per_s")) == expected


@pytest.mark.parametrize("order", [0, 1])
def test_a_page_with_json_and_a_console_gives_both(tmp_path, order):
    answer = json.dumps(json.loads((DATA / "serving" / "ollama.json").read_text()))
    parts = [f"```json\n{answer}\n```\n", (DATA / "serving" / "ollama.txt").read_text()]
    runs = imported(tmp_path, "\n".join(parts[order:] + parts[:order]), "page.md")
    assert sorted(run["output_tokens"] for run in runs) == [290, 411]
    (tmp_path / "alone").mkdir()
    quoting = json.dumps(json.loads(answer) | {"response": parts[1].replace("\n", "; ")})
    assert len(imported(tmp_path / "alone", quoting, "answer.json")) == 1


def test_an_answer_that_speaks_of_figures_has_none(tmp_path):
    block = (DATA / "serving" / "ollama.txt").read_text()
    slow = block.replace("9m43.589092592s", "19m27.178185184s").replace("2m44.614770215s", "1m22.3073851075s")
    first, second = imported(tmp_path, f"The eval count: is 3\n{block}\n>>> more\neval count: 4\n{slow}")
    assert second["decode_tokens_per_s"] == pytest.approx(first["decode_tokens_per_s"] / 2)
    assert second["prefill_tokens_per_s"] == pytest.approx(2 * first["prefill_tokens_per_s"])


def test_no_other_backend_is_taken_for_the_benchmarks(tmp_path):
    block = (DATA / "serving" / "sglang.txt").read_text().partition("\n")[2].partition("\n")[2]
    (run,) = imported(tmp_path, f"INFO Using Attention Backend: FLASH_ATTN\n{block}")
    assert run["backend"] == "unknown"


def test_micro_signs_may_have_been_misread(tmp_path):
    block = (DATA / "serving" / "ollama.txt").read_text()
    for at, sign in enumerate(("µs", "\u03bcs", "us", "Âµs", "┬╡s")):
        (tmp_path / str(at)).mkdir()
        (run,) = imported(tmp_path / str(at), block.replace("2m44.614770215s", f"4090{sign}"))
        assert run["prefill_tokens_per_s"] == pytest.approx(1e5)


@pytest.mark.parametrize("way", ["{0}\n{1}\n", '{{"answers": [{0}, {1}]}}', "got {0}\ngot {1}\n"])
def test_answers_that_a_proxy_gave_one_id_are_two(tmp_path, way):
    answer = json.loads((DATA / "llama_cpp" / "server_answer.json").read_text())
    timed = [
        json.dumps(answer | {"id": "1", "timings": answer["timings"] | {"predicted_n": tokens, "predicted_ms": ms}})
        for tokens, ms in ((11, 500.0), (21, 1000.0))
    ]
    (run,) = imported(tmp_path, way.format(*timed), "answers.json")
    assert run["output_tokens"] == 32 and run["decode_tokens_per_s"] == pytest.approx(20.0)
