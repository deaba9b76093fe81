"""JSON results as people have them: joined, appended, torn, with numbers that are none; through the whole import."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake, recognise
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.raw_log import RawLogError
from decodebench.core.records.schema import Run
from decodebench.core.records.store import Store
from decodebench.core.sdk.logs.json_files import read_rows
from decodebench.core.sdk.logs.json_values import NotFinite, parts_of

from ..at_night import examples

DATA = Path(__file__).parents[1] / "data"
PARSERS = all_plugins().log_parsers


def dicts(folder, *paths):
    report = collate(folder, all_plugins(), intake=Intake(paths))
    with Store.open(folder) as store:
        found = store.dicts("SELECT * FROM run_metrics ORDER BY run_id")
    return found, [problem.text for problem in report.problems]


def test_public_results_with_numbers_that_are_none_are_read(tmp_path):
    (served,), problems = dicts(tmp_path / "vllm", DATA / "public" / "one-line-json-called-empty.json")
    assert not problems and served["batch_tokens_per_s"] == 3.0
    assert json.loads(served["options"])["request_rate"] == "inf"
    scored, problems = dicts(tmp_path / "lm", DATA / "public" / "lm-eval-infinity-beside-accuracy.json")
    assert not problems and {run["task"]: run["accuracy"] for run in scored} == {
        "lambada_openai": 0.25,
        "arc_easy": 0.5,
    }
    (lost,), _ = dicts(tmp_path / "spec", DATA / "public" / "spec-bench-error-nan.jsonl")
    assert (lost["backend"], lost["status"], lost["e2e_tokens_per_s"]) == ("eagle3", "failed", None)


def test_a_figure_that_is_needed_must_be_a_number(tmp_path):
    text = (DATA / "public" / "one-line-json-called-empty.json").read_text()
    for spelling in ("NaN", "-nan", "Infinity", "-nan(ind)", "1.#INF"):
        path = tmp_path / "x.json"
        path.write_text(text.replace('"duration": 4.0', f'"duration": {spelling}'))
        with pytest.raises(RawLogError, match=r"x\.json:1: field 'duration': -?(nan|inf)"):
            list(PARSERS["vllm-bench-serve"]().read(path))


@pytest.mark.parametrize(
    "way", ["{0}\n{1}", "{0}{1}", "[{0},{1}]", "[{0}]\n[{1}]\n", "\ufeff{0}\n\ufeff{1}\n", "{0}\r\n\r\n{1}"]
)
@pytest.mark.parametrize("indent", [None, 2])
def test_results_that_are_joined_are_a_run_each(tmp_path, way, indent):
    first = json.loads((DATA / "public" / "one-line-json-called-empty.json").read_text())
    texts = [json.dumps(first | {"duration": seconds}, indent=indent) for seconds in (4.0, 8.0)]
    path = tmp_path / "both.json"
    path.write_text(way.format(*texts), encoding="utf-8", newline="")
    assert PARSERS["vllm-bench-serve"]().matches(path, path.read_bytes()[:65536])
    runs = [record for record in PARSERS["vllm-bench-serve"]().read(path) if isinstance(record, Run)]
    assert [(run.wall_s, run.status) for run in runs] == [(4.0, "ok"), (8.0, "ok")]


WHOLE = [
    ("hyperfine", DATA / "hyperfine"), ("guidellm", DATA / "guidellm"), ("lm-eval", DATA / "lm_eval"),
    ("aiperf", DATA / "aiperf"), ("optimum-benchmark", DATA / "optimum_benchmark"),
    ("vllm-bench-latency", DATA / "vllm"), ("vllm-bench-throughput", DATA / "vllm"),
    ("mlc-engine-metrics", DATA / "mlc_logs"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "folder"), WHOLE)
def test_results_of_one_object_that_were_appended_are_all_read(tmp_path, name, folder):
    """Each file is followed by itself with another name for its content, as two runs of a tool append theirs."""
    parser = PARSERS[name]()
    files = [path for path in sorted(folder.rglob("*.json")) if parser.matches(path, path.read_bytes()[:65536])]
    first = files[0].read_text(encoding="utf-8")
    # The last digit of a figure is changed, since a run may have its name from its figures.
    *_, digit = re.finditer(r"(?<=[\d. ])[1-8](?=[\d.,\s\]])", first)
    second = f"{first[: digit.start()]}{int(digit[0]) + 1}{first[digit.end() :]}"
    whole = [record.model_dump(exclude={"run_id"}) for record in parser.read(files[0])]
    path = tmp_path / files[0].name
    path.write_text(f"{first}\n{second}", encoding="utf-8")
    assert parser.matches(path, path.read_bytes()[:65536])
    both = list(parser.read(path))
    assert [record.model_dump(exclude={"run_id"}) for record in both][: len(whole)] == drawn(whole, both)
    assert len(both) == 2 * len(whole)
    assert len({record.run_id for record in both}) == 2 * len({record.run_id for record in parser.read(files[0])})


PAGES = {
    "fenced": "# Results\n\nOf [this](x) machine:\n\n```json\n{}\n```\nThat is all.\n",
    "below a command": "$ cat results.json\n{}\n$ \n",
    "coloured by jq": None,
    "records of RFC 7464": "\x1e{}",
}


@pytest.mark.parametrize("page", PAGES)
def test_json_in_a_page_is_read_as_if_it_stood_alone(tmp_path, page):
    examples = [(name, min(folder.glob("*.json"))) for name, folder in WHOLE if name != "mlc-engine-metrics"]
    examples += [
        ("llama-bench", DATA / "llama_cpp" / "llama_bench.json"),
        ("spec-bench", DATA / "spec_bench" / "eagle2.jsonl"),
    ]
    examples += [("llmperf", DATA / "serving" / "llmperf_summary.json"), ("ollama", DATA / "serving" / "ollama.json")]
    for name, path in examples:
        text = path.read_text(encoding="utf-8").strip()
        file = tmp_path / path.name
        coloured = re.sub(r'(?<=\n)( *)("[a-z_]+"):', "\x1b[34;1m\\1\\2\x1b[0m:", text)
        file.write_text(PAGES[page].replace("{}", text) if PAGES[page] else coloured, encoding="utf-8")
        (found,) = recognise(file, PARSERS)
        alone = [without_place(record) for record in PARSERS[found]().read(path)]
        assert [without_place(record) for record in PARSERS[found]().read(file)] == alone, name


def without_place(record):
    return record.model_dump(exclude={"run_id", "source_line"})


def drawn(whole, both):
    """Return records as they are alone: in a file of several objects a row may have another line."""
    lines = [record.source_line for record in both[: len(whole)]]
    return [record | {"source_line": line} for record, line in zip(whole, lines, strict=True)]


@pytest.mark.parametrize("tail", [b"", b"\0" * 4096, b"\xe2\x96", b'{"a": "b', b'{"a"'])
def test_a_torn_end_leaves_whole_rows_and_is_said(tmp_path, tail):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}' + (b"\n" if tail else b"") + tail)
    rows = read_rows(path)
    assert [row.content for row in rows.rows] == [{"a": 1}, {"a": 2}]
    assert (rows.cut is not None) == bool(tail)


def test_the_reason_for_no_row_is_the_true_one(tmp_path):
    path = tmp_path / "rows.jsonl"
    for text, words in (
        ("words\n", "1: field 'line': not a JSON object"),
        ('{"a": x}', "1: field 'line': no JSON"),
        ('{"a": ', "cut"),
    ):
        path.write_text(text)
        with pytest.raises(RawLogError, match=words):
            read_rows(path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(max_size=8)
    | st.floats(allow_nan=False, width=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
BETWEEN = ["\n", "", " ", "\n\n", ",\n", "\n]\n[\n", "\x1e", "\ufeff", "\nSome words.\n", '\n"an odd quote\n']
JOINS = 125  # of the objects of an example: to draw these takes far longer than to check a join


def same(value, other):
    if isinstance(other, NotFinite):
        return str(value) == str(other)
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(value[key], other[key]) for key in value)
    if isinstance(value, list):
        return len(value) == len(other) and all(map(same, value, other))
    return value == other


def check(objects, chance):
    """Join some of the objects in random ways, and find them again."""
    chosen = [chance.choice(objects) for _ in range(chance.randint(1, 5))]
    text = "".join(
        json.dumps(one, indent=chance.choice([None, 0, 2]), ensure_ascii=chance.random() < 0.5) + chance.choice(BETWEEN)
        for one in chosen
    )
    parts = [part for part in parts_of(text) if part.content is not None]
    assert len(parts) == len(chosen) and all(same(a, b.content) for a, b in zip(chosen, parts, strict=True)), text
    lines = text.split("\n")
    assert all("{" in lines[part.line - 1] for part in parts), text


@settings(max_examples=examples(160), deadline=None)
@given(objects=st.lists(OBJECT, min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_every_object_is_found_however_they_are_joined(objects, seed):
    chance = random.Random(seed)
    for _ in range(JOINS):
        check(objects, chance)
