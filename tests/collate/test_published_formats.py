"""Formats that are tables of fields: figures of real files and posted texts, read by every way a user has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake, recognise
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.schema import Run, Sample
from decodebench.core.records.store import Store
from decodebench.core.sdk.logs.figures import Figure, form, gather

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers
FILES = (
    *(file for folder in ("serving", "mlx", "dflash_tools") for file in sorted((DATA / folder).iterdir())),
    DATA / "llama_cpp" / "batched.log", DATA / "llama_cpp" / "batched.jsonl", DATA / "llama_cpp" / "sweep.md",
    DATA / "llama_cpp" / "llama-cli.txt", DATA / "lm_eval" / "tables.md", DATA / "lm_eval" / "results_0.3.json",
    DATA / "optimum_benchmark" / "benchmark_0.5.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All runs of all files: figures by the name of their file, in the file's order."""
    folder = tmp_path_factory.mktemp("published")
    report = collate(folder, all_plugins(), intake=Intake(FILES))
    assert not report.problems
    found: dict[str, list] = {}
    with Store.open(folder) as store:
        for run in store.dicts("SELECT * FROM run_metrics ORDER BY source_file, run_id"):
            for name in ("options", "settings", "conditions", "extra", "totals"):
                run[name] = json.loads(run[name] or "{}")
            found.setdefault(Path(run["source_file"]).name, []).append(run)
    return found


FIGURES = [
    ("sglang.txt", 0, {"batch_tokens_per_s": 218257 / 264.25, "decode_tokens_per_s": None, "ttft_s": None}),
    ("vllm_speculative.md", 0, {"batch_tokens_per_s": 20480 / 309.41, "tau": (14090 + 6393) / 6393}),
    ("vllm_speculative.md", 0, {"acceptance_rate": 14090 / 19179}),
    ("vllm_speculative.md", 1, {"batch_tokens_per_s": 20480 / 19.15, "tau": None}),
    ("sglang.jsonl", 0, {"batch_tokens_per_s": 4.0, "ttft_s": None}),
    ("sglang.jsonl", 1, {"batch_tokens_per_s": 7 / 2.5, "ttft_s": 0.375, "decode_tokens_per_s": 5 / 1.0}),
    ("stage_1_lifecycle_metrics.json", 0, {"batch_tokens_per_s": 1129.0895197601756, "ttft_s": None}),
    ("per_request_lifecycle_metrics.json", 0, {"ttft_s": 0.375, "decode_tokens_per_s": 5 / 1.25, "itl_s": 0.25}),
    ("per_request_lifecycle_metrics.json", 0, {"e2e_s": 1.0, "batch_tokens_per_s": 7 / 1.75}),
    ("batch.txt", 0, {"batch_tokens_per_s": 400 / 3.0, "decode_tokens_per_s": None}),
    ("llmperf_summary.json", 0, {"batch_tokens_per_s": 335.40081105324157}),
    ("llmperf_individual_responses.json", 0, {"ttft_s": 0.5, "decode_tokens_per_s": 2 / 0.5, "e2e_s": 1.0}),
    ("benchy.json", 0, {"prefill_tokens_per_s": 2 * 2048 / (2048 / 986.0233386029112 + 2048 / 988.1741643321216)}),
    ("benchy.json", 0, {"ttft_s": (2.0783033748157322 + 2.073782583232969) / 2}),
    ("benchy.md", 0, {"prefill_tokens_per_s": 463.80, "ttft_s": 21.24513}),
    ("benchy.md", 1, {"decode_tokens_per_s": 3.85}),
    ("ollama.txt", 0, {"decode_tokens_per_s": 411 / 583.589092592, "prefill_tokens_per_s": 409 / 164.614770215}),
    ("ollama.json", 0, {"decode_tokens_per_s": 290 / 4.709213, "prefill_tokens_per_s": 26 / 0.325953}),
    ("batched.log", 0, {"prefill_tokens_per_s": 512 / 0.337, "decode_tokens_per_s": 32 / 0.405}),
    ("batched.log", 2, {"batch_tokens_per_s": 4 * 32 / 0.570, "decode_tokens_per_s": 32 / 0.570}),
    ("batched.jsonl", 0, {"batch_tokens_per_s": 4 * 256 / 8.0}),
    ("sweep.md", 1, {"prefill_tokens_per_s": 512 / 20.930, "decode_tokens_per_s": 128 / 31.639}),
    ("llama-cli.txt", 0, {"prefill_tokens_per_s": None, "decode_tokens_per_s": None}),
    ("generate.md", 0, {"ttft_s": 15 / 35.977, "decode_tokens_per_s": 14 / (15 / 105.010)}),
    ("benchmark.txt", 0, {"peak_device_bytes": 3_503_000_000, "decode_tokens_per_s": 38.203556003927034}),
    ("client_console.md", 0, {"batch_tokens_per_s": 102679 / 1013.2, "tau": 102679 / 17227}),
    ("mlx_results.json", 0, {"tau": None, "decode_tokens_per_s": 54.179233143554}),
    ("mlx_results.json", 1, {"tau": 1024 / 116, "decode_tokens_per_s": 217.03818715531912}),
    ("tables.md", 0, {"accuracy": 0.9007}), ("tables.md", 2, {"accuracy": 0.4352}),
    ("results_0.3.json", 0, {"accuracy": 0.4352}),
    ("benchmark_0.5.json", 0, {"ttft_s": 0.0265726, "decode_tokens_per_s": 39.0355, "e2e_tokens_per_s": 39.013}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "at", "expected"), FIGURES, ids=[f"{name}-{at}" for name, at, _ in FIGURES])
def test_figures_are_those_of_the_file(runs, name, at, expected):
    found = runs[name][at]
    assert {key for key, value in expected.items() if value is None} == {key for key in expected if found[key] is None}
    known = {key: value for key, value in expected.items() if value is not None}
    assert {key: found[key] for key in known} == pytest.approx(known, rel=1e-5)


def test_runs_are_named_as_far_as_the_file_names_them(runs):
    def named(name):
        return [(run["backend"], run["model"], run["quantisation"], run["kind"]) for run in runs[name]]

    assert named("sglang.txt") == [("sglang", "unknown", "unknown", None)]
    assert named("sglang.jsonl")[0] == ("sglang", "Qwen/Qwen3-0.6B", "bfloat16", "speculative")
    assert named("sweep.md")[0] == ("llama-cpp", "THUDM_GLM-Z1-32B-0414", "iq4_xs", "autoregressive")
    assert named("sweep.md")[2] == ("llama-cpp", "unknown", "unknown", "autoregressive")  # of another command
    assert named("generate.md")[0][:2] == ("mlx", "HuggingFaceTB/SmolLM-135M-Instruct")
    assert [run[0] for run in named("mlx_results.json")] == ["mlx", "mlx"]
    assert named("tables.md")[0][:3] == ("vllm-vlm", "/mnt/disk8/Llama-4-Scout-FP8", "bfloat16")
    assert named("tables.md")[1][:2] == ("lm-eval", "unknown")  # the line of the model is above another table
    assert named("results_0.3.json")[0][:2] == ("hf-causal", "EleutherAI/pythia-70m")


def test_what_no_field_is_for_is_kept_and_what_is_no_value_makes_no_figure(runs):
    (run,) = runs["sglang.txt"]
    assert run["extra"]["Median TPOT (ms)"] == "-0.00" and "published_median_tpot_ms" not in run["settings"]
    assert run["settings"]["published_mean_tpot_ms"] == "1.76"
    assert runs["sglang.jsonl"][0]["options"]["request_rate"] == "inf"
    assert "published_mean_tpot_ms" not in runs["sglang.jsonl"][0]["settings"]
    (run,) = runs["llama-cli.txt"]
    assert run["settings"] == {"published_prompt_tokens_per_s": "62.6", "published_tokens_per_s": "4.7"}
    speculative = [run["settings"].get("published_acceptance_length") for run in runs["spec_forge.json"]]
    assert speculative == ["1.0", "3.271389121751566", "3.46806357521281"]
    golden = runs["inferencex_golden.yaml"]
    assert len(golden) == 16 and {run["task"] for run in golden} == {"coding"}
    lengths = {(run["options"]["thinking"], run["options"]["num_draft_tokens"]): run["settings"] for run in golden}
    assert lengths["thinking_off", 6] == {"published_acceptance_length": "3.57"}
    assert [run["task"] for run in runs["spec_forge.json"]] == ["gsm8k", "gsm8k", "math500"]


def test_blocks_of_one_page_are_cells_of_their_own(runs):
    for name in ("vllm_speculative.md", "sweep.md", "tables.md"):
        assert len({run["cell_id"] for run in runs[name]}) == len(runs[name])
    assert [run["conditions"]["heading"] for run in runs["vllm_speculative.md"]] == [
        "BF16", "FP8 Quantization Benchmark Results",
    ]  # fmt: skip
    assert [run["depth"] for run in runs["sweep.md"]] == [0, 512, 0]
    assert "2 requests failed" in runs["vllm_speculative.md"][1]["notes"]


def test_a_page_with_two_formats_gives_both(tmp_path):
    page = tmp_path / "page.md"
    page.write_text((DATA / "serving" / "ollama.txt").read_text() + (DATA / "llama_cpp" / "batched.log").read_text())
    assert recognise(page, PARSERS) == ["llama-batched-bench", "ollama-verbose"]
    report = collate(tmp_path / "o", all_plugins(), intake=Intake([page]))
    assert len(report.added) == 2 and not report.problems
    with Store.open(tmp_path / "o") as store:
        assert store.dicts("SELECT count(*) AS n FROM runs") == [{"n": 4}]


def test_what_comes_late_in_a_long_file_is_found(tmp_path):
    """Behind 200 kB of other output, and in a first row of 200 kB whose last field is what tells it."""
    page = tmp_path / "server.log"
    page.write_text("INFO: 127.0.0.1 GET /metrics\n" * 7000 + (DATA / "serving" / "sglang.txt").read_text())
    assert recognise(page, PARSERS) == ["serving-console"]
    row = json.loads((DATA / "aiperf" / "profile_export.jsonl").read_text().split("\n", 1)[0])
    row["metrics"]["inter_chunk_latency"]["value"] = [0.001] * 40_000
    rows = tmp_path / "profile_export.jsonl"
    rows.write_text(json.dumps({"metrics": row["metrics"], "error": None, "metadata": row["metadata"]}) + "\n")
    assert recognise(rows, PARSERS) == ["aiperf-records"]


def test_a_stream_that_is_longer_than_its_request_has_no_steps(tmp_path):
    row = json.loads((DATA / "aiperf" / "profile_export.jsonl").read_text().split("\n", 1)[0])
    row["metrics"]["inter_chunk_latency"]["value"] = [250.0, 250.0, 400.0]
    file = tmp_path / "profile_export.jsonl"
    file.write_text(json.dumps(row) + "\n")
    run, sample = PARSERS["aiperf-records"]().read(file)
    assert (sample.decode_tokens, sample.decode_s) == (3, pytest.approx(0.75))
    assert any("longer than their requests" in note for note in run.notes)


def test_acceptance_of_each_request_is_read_from_aiperf(tmp_path):
    """By hand: 3 cycles drafted 9 tokens and took 4 of them."""
    row = json.loads((DATA / "aiperf" / "profile_export.jsonl").read_text().split("\n", 1)[0])
    told = {"spec_decode_steps": 3, "spec_decode_draft_tokens": 9, "spec_decode_accepted_draft_tokens": 4}
    row["metrics"] |= {name: {"value": value, "unit": "tokens"} for name, value in told.items()}
    row["metrics"]["spec_decode_acceptance_length"] = {"value": 7 / 3, "unit": "ratio"}
    file = tmp_path / "profile_export.jsonl"
    file.write_text(json.dumps(row) + "\n")
    run, sample, *_ = PARSERS["aiperf-records"]().read(file)
    assert run.kind == "speculative"
    assert (run.totals.cycles, run.totals.drafted, run.totals.accepted) == (3, 9, 4)
    assert sample.engine == {"speculation_rounds": 3, "draft_tokens": 9, "accepted_draft_tokens": 4}


@pytest.mark.parametrize("name", ["vicuna-7b-v1.3-eagle-float32-temp-0.7", "vicuna-7b-v1.3-eagle, T=0.7"])
def test_spec_bench_keeps_a_temperature_in_the_file_name(tmp_path, name):
    turns = {"turns": ["a"], "decoding_steps": [1], "new_tokens": [2], "wall_time": [0.5], "accept_lengths": [2]}
    row = {"question_id": 1, "model_id": "vicuna-7b-v1.3-eagle-float32", "choices": [{"index": 0, **turns}]}
    file = tmp_path / f"{name}.jsonl"
    file.write_text(json.dumps(row) + "\n")
    assert next(iter(PARSERS["spec-bench"]().read(file))).sampling.temperature == 0.7


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        ("s", "1013.2s", 1013.2), ("number", "1,234.56 tok/s", 1234.56),
        ("number", "1.234,56 tok/s", 1234.56), ("count", "409 token(s)", 409),
        ("go", "12m56.225656006s", 776.225656006), ("go", "1h0m3.5s", 3603.5), ("go", "139.4804ms", 0.1394804),
        ("ms", "12.5", 0.0125), ("GB", "15.047 GB", 15.047e9), ("s", "12 ms", None), ("count", "2.5", None),
        ("number", "nan", None), ("number", "-0.00", None), ("number", "1,23", 1.23), ("ms", "1,234", None),
        ("count", "218,257", 218_257), ("s", float("inf"), None),
        ("ns", 4709213000, 4.709213), ("go", "soon", None), ("text", " ", None),
    ],
)  # fmt: skip
def test_a_printed_value_is_of_its_unit_or_none(unit, text, value):
    gathered = gather(form(Figure("it", "sample.it", unit)), {"it": text})
    assert gathered.sample.get("it") == (None if value is None else pytest.approx(value))
    assert bool(gathered.extra) == (value is None)


PREFIX = st.sampled_from(["", "  ", "\t", "> ", "# ", "bench-1  | ", "Nov 30 01:00:00 host bench[17]: ", "│ ", "- "])
BETWEEN = st.lists(
    st.sampled_from(["", "```", "some words", "100%|####| 32/32 [02:30<00:00]", "time: 12:00"]), max_size=4
)


PAGES = [
    ("serving-console", "serving/sglang.txt"), ("serving-console", "serving/vllm_speculative.md"),
    ("ollama-verbose", "serving/ollama.txt"), ("mlx-lm", "mlx/generate.md"), ("mlx-lm-benchmark", "mlx/benchmark.txt"),
    ("dflash-client-console", "dflash_tools/client_console.md"), ("llama-batched-bench", "llama_cpp/sweep.md"),
    ("lm-eval-table", "lm_eval/tables.md"), ("llama-cli", "llama_cpp/llama-cli.txt"),
]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PREFIX, BETWEEN, BETWEEN, st.booleans())
def test_whatever_stands_around_a_block_does_not_change_it(tmp_path, prefix, before, after, has_bold):
    for parser, name in PAGES:
        clean = list(PARSERS[parser]().read(DATA / name))
        lines = (DATA / name).read_text().split("\n")
        if has_bold:
            lines = [re.sub(r"^([A-Z][^:]*):", "\x1b[1m\\1\x1b[0m:", line) for line in lines]
        text = "\n".join([*before, *(prefix + line for line in lines), *after])
        file = tmp_path / "around.log"
        file.write_text(text)
        assert parser in recognise(file, PARSERS)
        found = list(PARSERS[parser]().read(file))
        assert [figures(record) for record in found] == [figures(record) for record in clean]


LABEL = re.compile(r"^([A-Za-z][^:|\n]*):(?=[ \t])", re.MULTILINE)
SPELLINGS = {
    "a list with bold labels": lambda text: LABEL.sub(r"- **\1**:", text),
    "code and line breaks of HTML": lambda text: LABEL.sub(r"`\1`:", text).replace("\n", "<br>\n"),
    "a space before the colon": lambda text: LABEL.sub(r"\1 :", text),
    "tabs": lambda text: LABEL.sub("\\1:\t", text),
    "a box": lambda text: text.replace("|", "│"),
    "kept by a collector": lambda text: "".join(
        f"{json.dumps({'line': line, 'ts': 1})}\n" for line in text.split("\n")
    ),
}


WRAPPED = {  # by what kept the lines, or by where they were copied from
    "padded by a terminal": lambda text: text.replace("\n", "   \n"),
    "no-break spaces of a web page": lambda text: text.replace("  ", " \u00a0").replace(" | ", " \u200b| "),
    "entities and line breaks of HTML": lambda text: text.replace("±", "&plusmn;").replace("\n", "<br>\n"),
    "underscores that Markdown escapes": lambda text: text.replace("_", "\\_"),
    "gh run view": lambda text: "".join(f"bench\tRun\t2026-11-30T10:00:00.1Z {line}\n" for line in text.split("\n")),
    "JSON of a logger": lambda text: "".join(f"{json.dumps({'ts': 1, 'msg': line})}\n" for line in text.split("\n")),
    "JSON of a collector": lambda text: "".join(
        f"{json.dumps({'labels': {'app': 'x'}, 'message': line, 'ts': 1})}\n" for line in text.split("\n")
    ),
    "logfmt": lambda text: "".join(f"time=1 level=info msg={json.dumps(line)}\n" for line in text.split("\n")),
}
TABLES = [
    ("llama-bench", "llama_cpp/llama_bench.md"), ("llama-bench", "public/bench-table-repacked-row.md"),
    ("llama-cpp-console", "llama_cpp/completion.log"),
    ("llama-cpp-console", "public/console-two-models-in-one-file.log"),
    ("speculation-table", "published/qwen38_mtp.md"), ("spec-bench-board", "published/spec_bench_board.md"),
]  # fmt: skip


@pytest.mark.parametrize("kept", WRAPPED)
def test_what_kept_a_page_does_not_change_it(tmp_path, kept):
    for parser, name in [*PAGES, *TABLES]:
        clean = list(PARSERS[parser]().read(DATA / name))
        file = tmp_path / Path(name).name
        file.write_text(WRAPPED[kept]((DATA / name).read_text()))
        assert parser in recognise(file, PARSERS), name
        assert [figures(one) for one in PARSERS[parser]().read(file)] == [figures(one) for one in clean], name


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_other_spellings_of_a_page_have_the_same_figures(tmp_path, spelling):
    for parser, name in PAGES:
        if parser in ("mlx-lm-benchmark", "llama-cli"):  # neither labels nor a table
            continue
        clean = list(PARSERS[parser]().read(DATA / name))
        file = tmp_path / "page.log"
        file.write_text(SPELLINGS[spelling]((DATA / name).read_text()))
        assert parser in recognise(file, PARSERS), name
        assert [figures(one) for one in PARSERS[parser]().read(file)] == [figures(one) for one in clean], name


def test_a_decimal_comma_is_one_in_every_page(tmp_path):
    (clean,) = PARSERS["serving-console"]().read(DATA / "serving" / "sglang.txt")
    file = tmp_path / "page.log"
    file.write_text(re.sub(r"(\d)\.(\d)", r"\1,\2", (DATA / "serving" / "sglang.txt").read_text()))
    (found,) = PARSERS["serving-console"]().read(file)
    assert (found.totals, found.backend) == (clean.totals, clean.backend)


def figures(record):
    """What a record says, without what depends on where it stands."""
    if isinstance(record, Run):
        return record.totals, record.options, record.settings, record.extra, record.backend
    assert isinstance(record, Sample)
    return record.model_dump(exclude={"run_id", "source_line"})
