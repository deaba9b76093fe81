"""What other programs print into a page costs nothing that is on it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from decodebench.collate.parsers.foreign import recognise
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.sdk.logs.json_values import parts_of
from decodebench.core.sdk.logs.kept import printed_lines

from ..at_night import a_few

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers


def content(path):
    """Return what is read of a file, places apart."""
    return [
        (name, record.model_dump(exclude={"run_id", "source_line"}))
        for name in recognise(path, PARSERS)
        for record in PARSERS[name]().read(path)
    ]


@pytest.mark.parametrize("name", ["qwen38_mtp.md", "spec_bench_board.md"])
@pytest.mark.parametrize(
    "line",
    [
        "llama_context: n_batch = 2048",
        "slot print_timing: id  0 | task 7 | n_decoded = 100",
        "srv  log_server_r: request: POST /v1/chat/completions 127.0.0.1 200",
        "warning | the | cache | is | cold | again | now | and | then",
        "",
    ],
)
def test_rows_between_lines_of_other_programs_are_rows(tmp_path, name, line):
    text = (DATA / "published" / name).read_text()
    file = tmp_path / name
    file.write_text(re.sub(r"(?<=\|)\n(?=\| *[A-Z0-9n*\[][^-])", f"\n{line}\n", text))
    assert file.read_text().count(line) > text.count(line)
    assert content(file) == content(DATA / "published" / name)


def test_a_table_whose_rule_is_lost_is_not_read_by_the_columns_of_the_one_above(tmp_path):
    text = (DATA / "published" / "qwen38_mtp.md").read_text()
    file = tmp_path / "page.md"
    head = "| Card | Baseline | With flag | n-max | Acceptance | Contributor |\n" + "|---" * 6 + "|\n"
    row = "| RTX 3090 24GB | 31.0 | 41.3 | 2 | 0.78 | a |\n"
    lost = "By position:\n\n| way | first | second | third | fourth | by |\n| RTX 1 | 0.9 | 2 | 3 | 4 | me |\n"
    file.write_text(f"{text}\n{head}{row}{lost}")
    assert len(content(file)) == len(content(DATA / "published" / "qwen38_mtp.md")) + 2


CONSOLES = (
    "dflash/sweep_aime25_bs16.log", "dflash/multiround.log", "tinygrad/softmacs_1B_float16_seed42_uuid3cffbfe6.txt",
    "mlc_logs/mlc_mac_1B_q4f16_1_seed42_uuid0a1b2c3d.txt", "llama_cpp/server.log", "serving/sglang.txt",
    "llama_cpp/llama_bench.md", "workflow_csv/llamacpp.csv", "mlc_logs/mlc_benchmark.csv",
    "exchanges/curl_v_stream.txt",
)  # fmt: skip
KEPT = {
    "docker": lambda lines: "".join(
        json.dumps({"log": f"{line}\n", "stream": "stdout", "time": "2026-11-30T12:00:00.1Z"}) + "\n" for line in lines
    ),
    "pino": lambda lines: "\n".join(json.dumps({"level": 30, "time": 1764504, "msg": line}) for line in lines),
    "CloudWatch": lambda lines: json.dumps(
        {"events": [{"timestamp": 1764504000000, "message": line, "ingestionTime": 1} for line in lines], "next": "f/1"}
    ),
    "an array": lambda lines: json.dumps(
        [{"textPayload": line, "resource": {"labels": {"project_id": "a"}}} for line in lines], indent=1
    ),
}


@pytest.mark.parametrize("way", KEPT)
@pytest.mark.parametrize("name", a_few(4, CONSOLES))
def test_lines_that_a_collector_keeps_in_objects_are_the_lines(tmp_path, name, way):
    file = tmp_path / Path(name).name
    file.write_text(KEPT[way]((DATA / name).read_text().removesuffix("\n").split("\n")))
    assert content(file) == content(DATA / name)


def test_an_entry_that_was_cut_is_said(tmp_path):
    file = tmp_path / "tinygrad.txt"
    whole = KEPT["docker"]((DATA / CONSOLES[2]).read_text().removesuffix("\n").split("\n"))
    file.write_text(whole[: len(whole) - 40])
    ((_, run), *_) = content(file)
    assert run["status"] == "incomplete" and "it was cut" in run["reason"]


def test_rows_of_measurements_are_no_entries_of_a_collector():
    for text in ('{"message": "a", "eval_count": 3}\n', '[{"line": "a", "wall_s": 1.5}]', '{"log": {"a": "b"}}', "[{"):
        assert printed_lines(text) == text


@pytest.mark.parametrize("name", CONSOLES[:4])
@pytest.mark.parametrize("escape", ["\x1b", "^[", ""])
def test_consoles_in_colour_are_the_consoles(tmp_path, name, escape):
    file = tmp_path / Path(name).name
    lines = (DATA / name).read_text().split("\n")
    file.write_text("\n".join(f"{escape}[32m{line}{escape}[0m" if line.strip() else line for line in lines))
    assert content(file) == content(DATA / name)


WRAPPED = (
    "serving/sglang.jsonl", "spec_bench/eagle2.jsonl", "vllm/latency.json", "serving/llmperf_summary.json",
    "serving/llmperf_individual_responses.json", "llama_cpp/llama_bench.json",
    "aiperf/profile_export.jsonl", "verifiers/sweep_gsm8k_1B_20251130_161218.json",
)  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_objects_in_a_wrapper_are_the_objects(tmp_path, name):
    text = (DATA / name).read_text()
    rows = [part.content for part in parts_of(text) if part.content]
    file = tmp_path / Path(name).with_suffix(".json").name
    file.write_text(json.dumps({"results": rows}))
    assert content(file) == content(DATA / name)


@pytest.mark.parametrize(
    "prefixes", [("a-1  | ", "web-1  | "), ("[4001] ", "[4002] "), ("12:00 a[7]: ", "12:00 b[8]: ")]
)
@pytest.mark.parametrize("name", ["serving/vllm_speculative.md", "mlx/generate.md", "lm_eval/tables.md"])
def test_what_stands_above_figures_of_one_service_is_its_own(tmp_path, name, prefixes):
    own, other = prefixes
    between = f"{other}# Another service\n{other}$ serve --model other/model\n"
    file = tmp_path / Path(name).name
    lines = (DATA / name).read_text().split("\n")
    file.write_text("".join(f"{own}{line}\n{between if line.startswith('#') else ''}" for line in lines))
    assert content(file) == content(DATA / name)
