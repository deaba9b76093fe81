"""What stands before every line of a log changes nothing that is read of it, and what is no prefix stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decodebench.collate.parsers.foreign import recognise
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.sdk.logs.json_values import parts_of
from decodebench.core.sdk.logs.prefixes import unprefixed

from ..at_night import a_few

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers
PREFIXES = [
    "> > ", ">", "bench  | ", "\x1b[36mbench-1  | \x1b[0m", "[pod/bench-0/main] ", "bench-0 › main ",
    "2026-11-30T12:00:00+0000 box bench[77]: ", "2026-11-30T12:00:00.123456+00:00 box bench[77]: ",
    "[ 1234.567890] box bench[77]: ", "Nov 30 12:00:00 box bench: ", "<13>Nov 30 12:00:00 box bench[77]: ",
    "<34>1 2026-11-30T12:00:00.003Z box bench 77 ID47 - ",
    '<165>1 2026-11-30T12:00:00.003Z box bench 77 ID47 [ex@32473 iut="3" a="b"] ',
    "2026-11-30 12:00:00,123 - bench - INFO - ", "2026-11-30 12:00:00.123 | INFO     | bench:main:12 - ", "INFO:bench:",
    "[1,0]<stdout>:", "[default0]:", "[rank0]: ", "[12:00:00 INF] ", "[12:00:00] ",
    "(RayWorker pid=1234) ", "(pid=77, ip=10.0.0.1) ",
    "[2026-11-30T10:00:00.123Z] ", "2026-11-30T10:00:00.1234567Z stderr F ", "12:00:00.123 [main] INFO  c.x.Y - ",
]  # fmt: skip
PAGES = (
    "llama_cpp/llama_bench.md", "llama_cpp/server.log", "llama_cpp/completion.log", "llama_cpp/sweep.md",
    "serving/sglang.txt", "serving/vllm_speculative.md", "serving/ollama.txt", "serving/inferencex_golden.yaml",
    "mlx/generate.md", "lm_eval/tables.md", "published/qwen38_mtp.md", "fast_dllm/console/v2.log",
)  # fmt: skip
ROWS = (
    "llama_cpp/llama_bench.jsonl", "llama_cpp/server_answers.jsonl", "serving/ollama.json", "serving/sglang.jsonl",
    "spec_bench/eagle2.jsonl", "aiperf/profile_export.jsonl", "llama_cpp/batched.jsonl",
)  # fmt: skip
_PLACE = {"run_id", "source_line"}


def content(path):
    return [
        (name, type(record).__name__, record.model_dump(exclude=_PLACE))
        for name in recognise(path, PARSERS)
        for record in PARSERS[name]().read(path)
    ]


def before(prefix, text):
    return "\n".join(
        prefix.replace("12:00:00", f"12:{at // 60 % 60:02}:{at % 60:02}") + line
        for at, line in enumerate(text.split("\n"))
    )


@pytest.mark.parametrize("prefix", a_few(4, PREFIXES))
def test_a_page_behind_a_prefix_is_the_page(tmp_path, prefix):
    for name in PAGES:
        file = tmp_path / Path(name).name
        file.write_text(before(prefix, (DATA / name).read_text()))
        assert content(file) == content(DATA / name), name


@pytest.mark.parametrize("prefix", a_few(4, PREFIXES))
def test_json_behind_a_prefix_is_the_json(tmp_path, prefix):
    for name in ROWS:
        objects = [part.content for part in parts_of((DATA / name).read_text()) if part.content]
        file = tmp_path / Path(name).name
        for indent in (None, 2):
            file.write_text(before(prefix, "\n".join(json.dumps(one, indent=indent) for one in objects)))
            assert content(file) == content(DATA / name), (name, indent)


def test_times_and_levels_may_differ_and_an_indentation_stays():
    lines = [f"2026-11-30T12:0{at}:00Z {level} bench[7]: \t{at}" for at, level in enumerate(("INFO", "WARN", "ERROR"))]
    assert unprefixed("\n".join(lines)) == "\t0\n\t1\n\t2"
    assert unprefixed("[default0]:a\n[default0]:\tb\n[default0]:") == "a\n\tb\n"
    assert unprefixed(">a\n> b\n>") == "a\n b\n"


def test_a_line_of_the_collectors_own_keeps_none_of_the_others():
    lines = ["Attaching to bench-1", *(f"bench-1  | {at}" for at in range(30))]
    assert unprefixed("\n".join(lines)) == "\n".join(["Attaching to bench-1", *map(str, range(30))])


@pytest.mark.parametrize(
    "text",
    [
        "| model | t/s |\n| --- | --- |\n" + "| a | 1 |\n" * 40,
        "model | t/s\n--- | ---\n" + "a | 1\n" * 40,
        "time,engine,tokens\n" + "2026-11-30 12:00:00,a,1\n" * 40,
        "2026-11-30T12:00:00Z, a, 1\n2026-11-30T12:00:01Z, a, 2\n",
        "[bs=8] Baseline TTFT: 0.1\n[bs=8] Baseline TPOT: 0.2\n",
        "[4001] a\n[4002] b\n[4001] c\n",
        "a-1  | x\nb-1  | y\n",
        '{"a": 1}\n{"a": 2}\n',
        "12.5 ms, 80 tok/s\n13.5 ms, 74 tok/s\n",
        "[pod/a/b] one line\n",
        "",
    ],
)
def test_what_is_no_prefix_of_every_line_stays(text):
    assert unprefixed(text) == text


@pytest.mark.parametrize(
    "way",
    [
        "result = {0}", "<pre>{0}</pre>", "[pod/a-0/b] {0}", "const data = [{0}];", "// a comment\n{0}\n# another",
        "- a list:\n\n  ~~~\n  [{0},]\n  ~~~\n\n[1]: https://example.org", "{0};",
    ],
)  # fmt: skip
def test_words_around_an_object_cost_nothing(tmp_path, way):
    for name in (
        "llama_cpp/server_answer.json",
        "serving/ollama.json",
        "serving/benchy.json",
        "hyperfine/two_commands.json",
    ):
        file = tmp_path / Path(name).name
        file.write_text(way.replace("{0}", json.dumps(json.loads((DATA / name).read_text()))))
        assert content(file) == content(DATA / name), name


@pytest.mark.parametrize("key", ["log", "message", "textPayload", "body"])
def test_objects_that_a_collector_kept_as_texts_are_the_objects(tmp_path, key):
    for name in ROWS:
        objects = [part.content for part in parts_of((DATA / name).read_text()) if part.content]
        kept = [{key: f"{json.dumps(one)}\n", "stream": "stdout"} for one in objects]
        file = tmp_path / Path(name).name
        file.write_text("".join(f"{json.dumps(one)}\n" for one in kept))
        assert content(file) == content(DATA / name), name


def test_the_journal_keeps_colours_as_bytes(tmp_path):
    lines = (DATA / "llama_cpp" / "llama_bench.md").read_text().split("\n")
    file = tmp_path / "llama_bench.md"
    entries = [{"_PID": "7", "MESSAGE": list(f"\x1b[1m{line}\x1b[0m".encode())} for line in lines]
    file.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert content(file) == content(DATA / "llama_cpp" / "llama_bench.md")
