"""The page: self-contained, whole, and safe from what a model wrote. What it does is in ``test_report_browser``."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.core.api.results import open as open_results
from decodebench.core.contract.finding import Finding, Place
from decodebench.viz import report
from decodebench.viz.report import Content, render, write_report
from decodebench.viz.report.charts import chart_data
from decodebench.viz.report.samples import sample_data

from ..collate.conftest import Logs, plain_steps, sample
from .report_pages import HOSTILE, PROBLEMS, ROUNDS, plain_charts, write_logs, write_page

VENDOR = Path(report.__file__).parent / "vendor"


class Parser(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    VOID = {"meta", "link", "br", "img", "input", "hr", "path", "use", "rect", "circle"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def page(comparison, **changes) -> str:
    content = {
        "charts": plain_charts(comparison),
        "samples": {"texts": [], "problems": [], "cells": [{"base": 0, "parts": {}} for _ in comparison.rows]},
        "figures": {"Speed": "<svg><g></g></svg>"},
        "missing": ["figure 'x': no rounds"],
        "machines": [("", {"cpu model": "Test CPU"})],
        "reproduce": "name = 'demo'",
    }
    return render(comparison, Content(**{**content, **changes}))


def parsed(text: str) -> Parser:
    parser = Parser()
    parser.feed(text)
    assert parser.open == []
    return parser


def embedded(text: str, name: str) -> str:
    return re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', text, re.DOTALL)[1]


def test_the_page_is_whole_and_needs_no_network(comparison):
    text = page(comparison)
    tags = parsed(text).seen
    assert not re.search(
        r"<[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//|@import|url\(\s*[\"']?http|sourceMapping", text
    )
    assert [tag for tag, _ in tags].count("h1") == 1
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")


def test_every_row_and_note_is_there(comparison):
    text = page(comparison)
    for row in comparison.rows:
        assert row.cell.label in text
    for word in (*comparison.warnings, *map(str, comparison.findings), "Test CPU", "name = 'demo'", "figure 'x'"):
        assert html.escape(str(word)).replace("&#x27;", "&#39;") in text


def test_many_notes_are_folded_and_none_is_lost(comparison):
    found = [Finding(check="x", severity="note", text=f"doubt {i} of many", advice="look") for i in range(20)]
    found.append(Finding(check="y", severity="error", text="all is wrong", rows=(Place(run_id="r1", sample=4),)))
    text = page(comparison.model_copy(update={"findings": tuple(found)}), rounds={"r1": "mlc q4, round 2"})
    assert all(f"{each.text}; look" in text for each in found[:20])
    before = text[: text.index("<summary>14 more</summary>")]  # an error, a warning and 20 notes, eight of them open
    assert "doubt 5 of many" in before and "doubt 6 of many" not in before
    (worst,) = re.findall(r"<li class=.error.>(.*?)</li>", before)
    assert worst == "<b>error</b> all is wrong <small>(mlc q4, round 2, sample 4)</small>"
    assert before.index("all is wrong") < before.index(comparison.warnings[0]) < before.index("doubt 0")


def test_the_headline_says_what_is_best_and_how_sure_that_is(comparison):
    (headline,) = re.findall(r"<h1>(.*?)</h1>", page(comparison), re.DOTALL)
    assert "llama-cpp q8_0 has the best decode speed: 1.84 times transformers f32" in headline
    assert "95 % interval 1.73 to 1.95 for all 3 comparisons together, 3 rounds" in headline
    assert "16 of 16 outputs are the same" in headline and "81 %" in headline


def test_the_same_comparison_gives_the_same_page(comparison):
    assert page(comparison) == page(comparison)


def test_the_library_is_the_published_one_and_its_licence_goes_with_it(comparison):
    code = (VENDOR / "chart.umd.min.js").read_bytes()
    assert hashlib.sha256(code).hexdigest() in (VENDOR / "README.md").read_text(encoding="utf-8")
    assert "The above copyright notice and this permission notice shall be included" in page(comparison)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("report")
    write_logs(made)
    return made


@pytest.fixture(scope="module")
def store(folder):
    with open_results(folder).store as opened:
        yield opened


def test_what_a_model_wrote_stays_text(folder):
    text = write_page(folder, compare).read_text(encoding="utf-8")
    tags = parsed(text).seen
    assert [tag for tag, _ in tags].count("script") == 4, "data, samples, library and the page's own"
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in tags)
    assert text.count("&lt;/script&gt;&lt;img") == 1, "the plan"
    samples = json.loads(gzip.decompress(base64.b64decode(embedded(text, "sample-data"))))
    assert any(HOSTILE in each for each in samples["texts"])


def test_charts_hold_every_cell_round_and_supported_percentile(store):
    data = chart_data(store, compare(store))
    assert [cell["label"] for cell in data["cells"]] == [
        "transformers f16",
        "llama-cpp f16",
        "llama-cpp q8_0",
        "draft-target f16",
    ]
    assert data["metric"] == "decode_tokens_per_s" and data["metrics"]["ttft_s"]["unit"] == "s"
    first = data["cells"][0]
    assert first["metrics"]["decode_tokens_per_s"][0] == pytest.approx(10 / 1.02, rel=1e-3)
    assert [round_["metrics"]["decode_tokens_per_s"] for round_ in first["rounds"]] == pytest.approx(
        [10 / (1 + 0.02 * i) for i in range(ROUNDS)], rel=1e-5
    )
    ttft, step = first["latencies"]["ttft_s"], first["latencies"]["step_s"]
    assert ttft["n"] == PROBLEMS * ROUNDS and ttft["quantiles"][0] == pytest.approx(0.4 * 1.02)
    assert [value is None for value in ttft["quantiles"]] == [False, False, False, True], "p99 needs 368 samples"
    assert step["n"] == PROBLEMS * ROUNDS * 11 and None not in step["quantiles"]
    llama = [cell for cell in data["cells"] if cell["dimensions"]["backend"] == "llama-cpp"]
    assert llama[0]["colour"] == llama[1]["colour"] != first["colour"]
    assert llama[0]["marker"] == llama[1]["marker"] != first["marker"]


def test_samples_hold_every_text_once_and_where_outputs_part(store):
    data = sample_data(store, compare(store))
    assert len(data["problems"]) == PROBLEMS and data["problems"][1] == ["p1", "2"]
    assert len(data["texts"]) == len(set(data["texts"])) == PROBLEMS + 2, "prompts and the two outputs"
    first, _, q8, _ = data["cells"]
    assert q8["parts"] == {i: [4, None, None] for i in range(0, PROBLEMS, 3)} and first["parts"] == {}
    assert {cell["base"] for cell in data["cells"]} == {0}
    assert data["texts"][q8["text"][0]].startswith("word0 word1 word2 word3 </script>")
    assert q8["score"][:4] == [0.0, 1.0, 1.0, 0.0] and set(q8["outputs"]) == {1}


def test_each_group_is_held_against_its_own_baseline(store):
    comparison = compare(store, by="backend", baseline="transformers")
    bases = [cell["base"] for cell in sample_data(store, comparison)["cells"]]
    verdicts = [row.verdict for row in comparison.rows]
    assert all(verdicts[base] == "baseline" or base == 0 for base in bases)
    assert all(bases[i] == i for i, verdict in enumerate(verdicts) if verdict == "baseline")


def test_samples_without_identity_are_shown_by_their_place(logs_without_names):
    with open_results(logs_without_names).store as store:
        data = sample_data(store, compare(store))
    assert [name for name, _ in data["problems"]] == ["sample 0", "sample 1"]


def test_a_steady_state_holds_for_charts_and_samples_too(tmp_path):
    slow, usual = plain_steps(ttft=9.0, gap=2.0), plain_steps(ttft=0.5, gap=0.1)
    Logs(tmp_path).write("a", 0, [sample(i, usual if i else slow) for i in range(12)], samples=12)
    with open_results(tmp_path).store as store:
        comparison = compare(store, steady_state=True)
    with open_results(tmp_path).store as store:  # as the command does: the page has a connection of its own
        text = write_report(store, comparison, tmp_path / "p.html", figures=[], reproduce="").read_text(
            encoding="utf-8"
        )
    (cell,) = json.loads(embedded(text, "chart-data"))["cells"]
    assert cell["rounds"][0]["metrics"]["ttft_s"] == cell["metrics"]["ttft_s"][0] == 0.5
    assert (cell["latencies"]["ttft_s"]["n"], cell["latencies"]["step_s"]["n"]) == (11, 44)
    (answers,) = json.loads(gzip.decompress(base64.b64decode(embedded(text, "sample-data"))))["cells"]
    assert answers["ttft_s"] == [None] + [0.5] * 11


@pytest.fixture
def logs_without_names(tmp_path):
    content = [sample(i, plain_steps(), sample_id=None, prompt_hash=None) for i in range(2)]
    Logs(tmp_path).write("a", 0, content)
    return tmp_path
