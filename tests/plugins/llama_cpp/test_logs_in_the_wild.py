"""llama.cpp's output as people have it: posted, wrapped by other programs, appended, mixed, cut; the figures stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decodebench.core.contract.log_parser import HEAD_BYTES
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run
from decodebench.plugins.llama_cpp.logs import LOG_PARSERS

DATA = Path(__file__).parents[2] / "data"
PUBLIC, OURS = DATA / "public", DATA / "llama_cpp"
TIME_DEPENDENT = {"run_id", "source_line", "cell_index", "notes"}


def read(path):
    """Return the records of the one format of llama.cpp that claims a file."""
    (parser,) = [parser for parser in LOG_PARSERS if parser().matches(path, path.read_bytes()[:HEAD_BYTES])]
    return list(parser().read(path))


def runs_of(path):
    return [record for record in read(path) if isinstance(record, Run)]


def content(path):
    return [record.model_dump(exclude=TIME_DEPENDENT) for record in read(path)]


def figures(path):
    """Return of each run its status, and prompt tokens and decoded tokens of all its samples by their time."""
    records = read(path)
    found = []
    for run in (record for record in records if isinstance(record, Run)):
        samples = [s for s in records if not isinstance(s, Run) and s.run_id == run.run_id]
        rates = []
        for tokens, seconds in (("prompt_tokens", "prefill_s"), ("decode_tokens", "decode_s")):
            timed = [(getattr(s, tokens), getattr(s, seconds)) for s in samples if getattr(s, seconds)]
            rates.append(round(sum(t for t, _ in timed) / sum(s for _, s in timed), 2) if timed else None)
        found.append((run.status, *rates))
    return found


RIGHT = {
    "bench-json-appended.json": [("ok", 1668.05, None), ("ok", None, 35.79), ("ok", 1668.05, None), ("ok", None, 17.9)],
    "bench-json-nan-deviation.json": [("ok", 1668.05, None), ("ok", None, 35.79)],
    "bench-table-indented.md": [("ok", 7979.85, None), ("ok", None, 131.42)],
    "bench-table-padded-rate.md": [("ok", 1428.79, None), ("ok", 1844.95, None)],
    "bench-table-pipe-in-cell.md": [("ok", 3812.25, None), ("ok", None, 121.48)],
    "bench-table-repacked-row.md": [("ok", 31.47, None), ("ok", 42.14, None)],
    "console-decimal-comma.log": [("ok", 204.53, 23.92)],
    "console-two-models-in-one-file.log": [("ok", 100.0, 50.0), ("ok", 100.0, 10.0)],
    "powershell-mojibake-utf16.txt": [("ok", 7979.85, None), ("ok", None, 131.42)],
    "server-answers-appended-by-jq.json": [("ok", 200.0, 20.0)],
    "server-log-print-timings-2024.log": [("ok", 138.41, 41.94)],
    "server-log-router-prefix.log": [("ok", 33.33, 13.33)],
    "server-log-timings-before-slot-line.log": [("ok", 33.06, 20.22)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_public_file_has_its_figures(name):
    assert figures(PUBLIC / name) == RIGHT[name]


def test_what_the_files_name_is_read():
    pipes = runs_of(PUBLIC / "bench-table-pipe-in-cell.md")
    assert pipes[0].options["tensor_buft_overrides"].count("|") == 4 and pipes[0].device == "cuda"
    assert pipes[0].backend_version == "b4120 8a5c0410"
    two = runs_of(PUBLIC / "console-two-models-in-one-file.log")
    assert [(run.model, run.quantisation) for run in two] == [("Llama-2-7B", "q4_k_m"), ("Llama-2-13B", "q8_0")]
    appended = runs_of(PUBLIC / "bench-json-appended.json")
    assert [run.quantisation for run in appended] == ["iq4_xs", "iq4_xs", "q8_0", "q8_0"]
    (left_out,) = [n for n in runs_of(PUBLIC / "bench-table-repacked-row.md")[0].notes if n.startswith("left out")]
    assert "line 3" in left_out and "'test'" in left_out
    drafts = [s.engine for s in read(PUBLIC / "server-log-router-prefix.log") if not isinstance(s, Run)]
    assert drafts == [{"accepted_draft_tokens": 118, "draft_tokens": 144}]


HEAD = "| model | size | params | backend | ngl | test | t/s |\n| --- | ---: | ---: | --- | --: | --: | --: |\n"
ROW = "| llama 7B Q4_0 | 3.56 GiB | 6.74 B | CUDA | 99 | {test} | {rate} |\n"


@pytest.mark.parametrize(
    "rate",
    [
        "131.42 ± 0.59", "**131.42 ± 0.59**", "**131.42** ± 0.59",
        "131.42 ±   9", "131.42 ± -nan", "131.42 ± -nan(ind)", "131,42 ± 0,59",
        "131.42 +/- 0.59", "131.42 Â± 0.59", "131.42 卤 0.59", "131.42 ﾂｱ 0.59", "131.42 ? 0.59", "`131.42`",
        "131.42 \ufffd 0.59", "131.42±0.59", "131.42 &plusmn; 0.59",
    ],
)  # fmt: skip
def test_a_rate_is_read_in_every_spelling(tmp_path, rate):
    path = tmp_path / "t.md"
    path.write_text(HEAD + ROW.format(test="tg128", rate=rate), encoding="utf-8")
    assert figures(path) == [("ok", None, 131.42)]


@pytest.mark.parametrize(
    "page",
    ["cp1252", "cp437", "cp850", "utf-16", "utf-16-be", "utf-16-le", "utf-8-sig", "utf-32", "utf-32-be", "utf-32-le"],
)
def test_a_table_is_read_in_every_encoding(tmp_path, page):
    path = tmp_path / "t.md"
    path.write_bytes((HEAD + ROW.format(test="tg128", rate="131.42 ± 0.59")).encode(page, errors="replace"))
    assert figures(path) == [("ok", None, 131.42)]


def test_a_tool_that_crashed_is_a_failed_run_and_behind_tests_a_lost_one(tmp_path):
    (run,) = runs_of(OURS / "crashed.log")
    assert run.status == "failed" and "ErrorDeviceLost" in run.reason
    path = tmp_path / "t.md"
    path.write_text(HEAD + ROW.format(test="tg128", rate="1.0 ± 0.1") + (OURS / "crashed.log").read_text())
    assert [(run.status, "died" in (run.reason or "")) for run in runs_of(path)] == [
        ("ok", False),
        ("incomplete", True),
    ]


@pytest.mark.parametrize("rate", ["1.131,42 ± 0,59", "1,131.42 ± 0.59", "1131,42 ± 1.000,59"])
def test_thousands_beside_decimals_are_read(tmp_path, rate):
    path = tmp_path / "t.md"
    path.write_text(HEAD + ROW.format(test="tg128", rate=rate), encoding="utf-8")
    assert figures(path) == [("ok", None, 1131.42)]


@pytest.mark.parametrize("rate", ["131.", "1,206 ± 3", "1.206.333", "fast", "", "131.42 ± 0.59 ± 1", "1.2 ± 0.1.2"])
def test_a_rate_that_is_none_costs_its_row_alone(tmp_path, rate):
    path = tmp_path / "t.md"
    path.write_text(HEAD + ROW.format(test="tg128", rate=rate) + ROW.format(test="pp512", rate="10.00 ± 1.00"))
    assert figures(path) == [("ok", 10.0, None)]
    assert any("line 3: field 't/s'" in note for note in runs_of(path)[0].notes)
    path.write_text(HEAD + ROW.format(test="tg128", rate=rate))
    with pytest.raises(RawLogError, match="3: field 't/s'"):
        read(path)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tg64@pp512", (0, 64, 512)), ("tg64 @ d512", (0, 64, 512)), ("pp512+tg64", (512, 64, 0)),
        ("**pp512@d64**", (512, 0, 64)), ("tg 64", (0, 64, 0)),
    ],
)  # fmt: skip
def test_a_test_is_read_in_every_spelling(tmp_path, test, expected):
    path = tmp_path / "t.md"
    path.write_text(HEAD + ROW.format(test=test, rate="10.00 ± 1.00"))
    (run,) = runs_of(path)
    assert (run.options["n_prompt"], run.options["n_gen"], run.depth) == expected


def test_a_table_of_something_else_and_a_row_that_is_cut_are_no_tests(tmp_path):
    path = tmp_path / "page.md"
    other = "| name | a | b | c | d | e | f |\n| --- | - | - | - | - | - | - |\n| x | 1 | 2 | 3 | 4 | 5 | 6 |\n"
    table = HEAD + ROW.format(test="tg128", rate="131.42 ± 0.59")
    path.write_text(f"Before\n{table}\nBetween\n\n{other}\nAfter\n{table}")
    assert figures(path) == [("ok", None, 131.42)] * 2
    assert not [note for run in runs_of(path) for note in run.notes if note.startswith("left out")]
    path.write_text(table + ROW.format(test="tg128", rate="131.42 ± 0.59").split("31.42")[0])
    assert [run.status for run in runs_of(path)] == ["ok", "incomplete"]


@pytest.mark.parametrize("between", ["\n\n", "\r\n\r\n", "\n \n"])
@pytest.mark.parametrize("name", ["completion.log", "server.log", "llama_bench.md"])
def test_a_page_that_was_pasted_double_spaced_has_all_its_settings(tmp_path, name, between):
    path = tmp_path / name
    path.write_bytes((OURS / name).read_text().replace("\n", between).encode())
    assert content(path) == content(OURS / name)


def test_lines_of_others_cost_neither_a_table_nor_a_sampler(tmp_path):
    for name, every in (("llama_bench.md", 1), ("completion.log", 5)):
        lines = (OURS / name).read_text().split("\n")
        path = tmp_path / name
        path.write_text(
            "".join(f"bench-1  | {line}\n" + "db-1     | noise\n" * (at % every == 0) for at, line in enumerate(lines))
        )
        assert content(path) == content(OURS / name), name


def test_two_servers_in_one_journal_are_two_runs(tmp_path):
    lines = (OURS / "server.log").read_text().split("\n")
    for first, second in (
        ("[4001] ", "[4002] "),
        ("a-1  | ", "b-1  | "),
        ("Nov 1 1:00:00 h a[1]: ", "Nov 1 1:00:00 h a[2]: "),
    ):
        path = tmp_path / "both.log"
        path.write_text("router: two servers\n" + "\n".join(f"{first}{line}\n{second}{line}" for line in lines))
        alone = content(OURS / "server.log")
        assert content(path) == alone + alone


def test_a_launch_that_printed_no_timings_is_a_failed_run(tmp_path):
    text = (PUBLIC / "console-two-models-in-one-file.log").read_text()
    path = tmp_path / "runs.log"
    path.write_text(text[: text.rindex("llama_perf_context_print: prompt")])
    first, second = runs_of(path)
    assert (first.status, first.model, second.status, second.model) == ("ok", "Llama-2-7B", "failed", "Llama-2-13B")


def test_a_time_that_is_none_costs_its_block_alone(tmp_path):
    text = (OURS / "server.log").read_text()
    whole = content(OURS / "server.log")
    at = text.index("prompt eval time =") + len("prompt eval time =")
    path = tmp_path / "odd.log"
    path.write_text(text[:at] + " 12.x ms" + text[text.index(" ms", at) + 3 :])
    assert [s["prefill_s"] for s in content(path)[1:]] == [s["prefill_s"] for s in whole[2:]]
    assert any("field 'prompt eval time': '12.x'" in note for note in runs_of(path)[0].notes)


@pytest.mark.parametrize("driver", ["json-file", "journal"])
@pytest.mark.parametrize("name", ["llama_bench.md", "server.log"])
def test_a_log_that_is_kept_as_json_is_what_was_printed(tmp_path, driver, name):
    lines = (OURS / name).read_text().split("\n")
    if driver == "json-file":
        entries = [{"log": f"{line}\n", "stream": "stdout", "time": "2026-11-29T12:00:00.1Z"} for line in lines]
    else:
        entries = [{"_PID": "7", "PRIORITY": "6", "MESSAGE": line} for line in lines]
    path = tmp_path / "container.log"
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    assert content(path) == content(OURS / name)


WRAPPED = {
    "docker": lambda rows: "\n".join(f"bench-1  | {row}" for row in rows),
    "journal": lambda rows: "\n".join(f"Nov 30 05:00:00 box bench[17]: {row}" for row in rows),
    "kubernetes": lambda rows: "\n".join(f"2026-11-29T12:00:00.123456789Z stdout F {row}" for row in rows),
    "a comma at the end": lambda rows: "[" + ",\n".join(rows) + ",\n]",
    "an object around": lambda rows: json.dumps({"host": "box", "results": [json.loads(row) for row in rows]}),
    "documents of YAML": lambda rows: "---\n" + "\n---\n".join(rows),
}


@pytest.mark.parametrize("way", WRAPPED)
def test_json_rows_are_read_whatever_wrapped_them(tmp_path, way):
    rows = (OURS / "llama_bench.jsonl").read_text().splitlines()
    path = tmp_path / "rows.json"
    path.write_text(WRAPPED[way](rows))
    assert content(path) == content(OURS / "llama_bench.jsonl")
    assert {run.status for run in runs_of(path)} == {"ok"}


def test_a_link_in_a_cell_is_its_text(tmp_path):
    text = (OURS / "llama_bench.md").read_text()
    path = tmp_path / "page.md"
    path.write_text(text.replace("| qwen3 ?B Q8_0 ", "| [qwen3 ?B Q8_0](https://example.org/a) "))
    assert [run.model for run in runs_of(path)] == [run.model for run in runs_of(OURS / "llama_bench.md")]


@pytest.mark.parametrize(
    ("first", "second"), [("utf-8", "utf-16"), ("utf-16", "utf-8"), ("utf-8-sig", "utf-16-le"), ("utf-16", "utf-8-sig")]
)
@pytest.mark.parametrize("name", ["llama_bench.md", "llama_bench.jsonl"])
def test_what_was_appended_in_another_encoding_is_read_too(tmp_path, name, first, second):
    """PowerShell's `>>` keeps a file's mark or not, and writes UTF-16 or UTF-8, by its version."""
    text = (OURS / name).read_text()
    path = tmp_path / name
    path.write_bytes(text.encode(first) + text.encode(second))
    assert content(path) == content(OURS / name) * 2


PREFIX = st.sampled_from(
    ["", " ", "    ", "\t", "> ", ">> ", "[53409] ", "web-1  | ", "Nov 29 12:00:00 box llama-server[77]: ", "- ", "│ "]
    + [
        "2026-11-29T12:00:00.123456Z ",
        "2026-11-29T12:00:00.123Z stdout F ",
        "0.12.345.678 I ",
        "12:00:00 INFO: ",
        "a.log:7:",
    ]
)
COLOUR = st.sampled_from(["", "\x1b[32m", "\x1b[0;1;36m", "\x1b[0m", "^[[31m", "[0m"])
AROUND = st.sampled_from(
    ["", "```\n", "# A page\n\nSome words | and a bar, 5\n\n", "$ ./llama -m x\n", "{ not json\n", "\n\n"]
)
ENCODING = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
PRINTED = ("llama_bench.md", "server.log", "completion.log", "older.log")


def wrapped(data):
    """Draw a printed log with something around it, and its content."""
    name = data.draw(st.sampled_from(PRINTED))
    prefix, colour = data.draw(PREFIX), data.draw(COLOUR)
    lines = [f"{prefix}{colour}{line}" for line in (OURS / name).read_text().split("\n")]
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    text = data.draw(AROUND) + "\n".join(lines) + "\n" + data.draw(AROUND)
    return OURS / name, text.replace("\n", end).encode(data.draw(ENCODING))


def check_wrapped(tmp_path, data):
    clean, found = wrapped(data)
    path = tmp_path / "wrapped.log"
    path.write_bytes(found)
    assert content(path) == content(clean)


def joined(data, texts):
    """Draw one of the ways in which people put several JSON outputs into a file."""
    way = data.draw(st.sampled_from(["cat", "lines", "pretty", "page", "no end"]))
    if way == "lines":
        return "\n".join(json.dumps(one) for text in texts for one in json.loads(text))
    if way == "pretty":
        return "\n".join(json.dumps(json.loads(text), indent=data.draw(st.integers(0, 4))) for text in texts)
    if way == "page":
        return "Results [1]:\n\n```json\n" + "\n```\nand {these}:\n".join(texts) + "\n```\n"
    return "".join(texts) if way == "cat" else "\n\n".join(text.rstrip() for text in texts)


def check_joined(tmp_path, data):
    text = (OURS / "llama_bench.json").read_text()
    odd = data.draw(st.sampled_from(["nan", "-nan", "NaN", "inf", "-nan(ind)", "Infinity", "1.#QNAN", "1.5"]))
    whole = json.loads(text)
    parts = [json.dumps(whole[a:b], indent=1).replace("\n", "\n ") for a, b in ((0, 5), (5, 12))]
    found = joined(data, parts)
    for row in whole:
        found = found.replace(f'"stddev_ts": {row["stddev_ts"]}', f'"stddev_ts": {odd}')
    path = tmp_path / "joined.json"
    path.write_text(found)
    expected = [s for s in content(OURS / "llama_bench.json") if "prefill_s" in s]
    assert [s for s in content(path) if "prefill_s" in s] == expected
    assert {run.status for run in runs_of(path)} == {"ok"}


def check_cut(tmp_path, data):
    """A JSON file cut at any byte, with or without NULs after it, has its whole tests and says that it was cut."""
    name = data.draw(st.sampled_from(["llama_bench.json", "llama_bench.jsonl"]))
    text = (OURS / name).read_bytes()
    at = data.draw(st.integers(2000, len(text) - 4))
    path = tmp_path / name
    tail = data.draw(st.sampled_from([b"", b"\0" * 512, "±".encode()[:1]]))
    path.write_bytes(text[:at] + tail)
    is_between = not tail and name.endswith("l") and b"\n" in (text[at - 1 : at], text[at : at + 1])  # lines are whole
    whole = [s for s in content(OURS / name) if "prefill_s" in s]
    found = [s for s in content(path) if "prefill_s" in s]
    assert (
        found == whole[: len(found)]
        and len(found) % 3 == 0
        and len(whole) - len(found) <= (1 - at / len(text)) * 36 + 3
    )
    assert len(found) == len(whole) or is_between or any(run.status == "incomplete" for run in runs_of(path))


SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@pytest.mark.parametrize("check", [check_wrapped, check_joined, check_cut])
@settings(max_examples=25, **SETTINGS)
@given(data=st.data())
def test_what_is_around_a_log_changes_no_figure(tmp_path, check, data):
    check(tmp_path, data)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("check", [check_wrapped, check_joined, check_cut])
@settings(max_examples=3000, **SETTINGS)
@given(data=st.data())
def test_what_is_around_a_log_changes_no_figure_in_thousands_of_cases(tmp_path, check, data):
    check(tmp_path, data)


@pytest.mark.parametrize(
    "save",
    [
        lambda text: text.replace(",", "|"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("\n", ",,\n"),
        lambda text: text.replace(",", ", "),
        lambda text: text + "," * text.split("\n")[0].count(",") + "\n",
        lambda text: text.replace('""', "N/A"),
    ],
    ids=["bars", "tabs", "empty columns", "spaces", "an empty row", "nothing"],
)
def test_a_table_that_was_saved_in_another_way_has_the_same_runs(tmp_path, save):
    path = tmp_path / "saved.csv"
    path.write_text(save((OURS / "llama_bench.csv").read_text()))
    assert content(path) == content(OURS / "llama_bench.csv")


def test_a_spreadsheet_that_saved_the_csv_again_changes_no_figure(tmp_path):
    text = (OURS / "llama_bench.csv").read_text()
    path = tmp_path / "saved.csv"
    path.write_text(text.replace('","', ";").replace(",", ";").replace('"', "").replace(".", ","))
    clean = [s["decode_s"] for s in content(OURS / "llama_bench.csv") if "decode_s" in s]
    assert [s["decode_s"] for s in content(path) if "decode_s" in s] == clean
