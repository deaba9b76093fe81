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
from decodebench.collate.comparison.result import Estimate
from decodebench.core.api.results import open as open_results
from decodebench.core.contract.finding import Finding, Place
from decodebench.viz import report
from decodebench.viz.report import Content, render, write_report
from decodebench.viz.report.bars import bar_chart
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
        "samples": {"texts": [], "problems": [], "cells": [{"base": 0, "diverges": {}} for _ in comparison.rows]},
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


def test_notes_are_folded_into_one_line_the_gravest_first(comparison):
    found = [Finding(check="x", severity="note", text=f"doubt {i} of many", advice="look") for i in range(20)]
    found.append(Finding(check="y", severity="error", text="all is wrong", rows=(Place(run_id="r1", sample=4),)))
    text = page(comparison.model_copy(update={"findings": tuple(found)}), rounds={"r1": "mlc q4, round 2"})
    (folded,) = re.findall(r'<details id="notes" class="error">(.*?)</details>', text, re.DOTALL)
    assert "<b>1 error, 1 warning, 20 notes</b>" in folded.partition("</summary>")[0]
    assert all(f"{each.text}; look" in folded for each in found[:20])
    (worst,) = re.findall(r"<li class=.error.>(.*?)</li>", folded)
    assert worst == "<b>error</b> all is wrong <small>(mlc q4, round 2, sample 4)</small>"
    assert folded.index("all is wrong") < folded.index(comparison.warnings[0]) < folded.index("doubt 0")


def test_the_first_screen_has_headline_bars_and_three_cards(comparison):
    text = page(comparison)
    (headline,) = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
    assert headline == "llama-cpp q8_0 has 1.84× the decode speed of transformers f32"
    cards = re.findall(r'<li><h2>(.*?)</h2><p class="big">(.*?)</p><p>(.*?)</p>', text)
    assert cards == [
        ("Fastest", "1.84×", "[1.73, 1.95] llama-cpp q8_0"),
        ("Same text", "16 of 16", "outputs of llama-cpp q8_0"),
        ("Accuracy", "81 %", "[57, 93] llama-cpp q8_0 on tiny-gsm 1, 16 problems"),
    ]
    names = re.findall(r'<span class="name">(.*?)</span>', text)
    assert names == ["llama-cpp q8_0", "llama-cpp q4_k_m", "transformers f32", "reference f32"], "the fastest first"
    assert text.index('id="notes"') < text.index('class="name"') < text.index('class="big"') < text.index("<table")


def with_speeds(comparison, *speeds):
    """Give the rows other speeds: value, low, high."""
    rows = [
        row.model_copy(update={"metrics": {comparison.metric: Estimate(value=value, low=low, high=high, n=2)}})
        for row, (value, low, high) in zip(comparison.rows, speeds, strict=True)
    ]
    return comparison.model_copy(update={"rows": tuple(rows)})


def test_an_interval_may_go_on_at_either_end(comparison):
    wide = with_speeds(comparison, (100.0, 0.1, 110.0), (2000.0, 1.0, 90000.0), (50.0, 48.0, 52.0), (9.0, -3.0, 12.0))
    chart = bar_chart(wide, plain_charts(wide)["cells"])
    assert chart.is_logarithmic and chart.is_clipped
    ends = {bar.value: (bar.is_clipped_low, bar.is_clipped_high) for bar in chart.bars}
    assert ends == {"2,000": (True, True), "100": (True, False), "50.0": (False, False), "9.00": (True, False)}
    text = page(wide)
    assert [text.count(name) for name in ("whisker clipped-low clipped", "whisker clipped-low")] == [1, 3]


def test_bars_are_shares_of_the_axis_and_what_goes_on_is_marked(comparison):
    noisy = with_speeds(comparison, (100.0, 90.0, 110.0), (200.0, 1.0, 9000.0), (50.0, None, None), (20.1, 20.0, 21.0))
    chart = bar_chart(noisy, plain_charts(noisy)["cells"])
    best, second, third, last = chart.bars
    assert best.is_clipped_high and not best.is_clipped_low and best.high == 100.0
    assert not second.is_clipped_high and third.low is None
    assert second.end == pytest.approx(best.end / 2, abs=0.01) and last.end == pytest.approx(
        best.end * 0.1005, abs=0.01
    )
    assert chart.ticks[0] == (0.0, "0") and not chart.is_logarithmic
    assert all(0 <= bar.low <= bar.end <= bar.high <= 100 for bar in chart.bars if bar.low is not None)


def test_bars_over_more_than_a_decade_are_points_on_a_logarithmic_axis(comparison):
    wide = with_speeds(comparison, (1.5, 1.4, 1.6), (12345.0, 1e4, 2e4), (150.0, None, None), (15.0, 1.0, 30.0))
    chart = bar_chart(wide, plain_charts(wide)["cells"])
    assert chart.is_logarithmic and chart.bars[0].value == "12,300"
    ends = [bar.end for bar in chart.bars]
    assert ends[1] - ends[2] == pytest.approx(ends[2] - ends[3], abs=0.05), "ten times is the same distance everywhere"
    assert "10,000" in [words for _, words in chart.ticks] and 'class="bars all log"' in page(wide)


def test_a_cell_without_the_metric_is_named_and_no_bar(comparison):
    rows = (*comparison.rows[:3], comparison.rows[3].model_copy(update={"metrics": {}}))
    few = comparison.model_copy(update={"rows": rows})
    chart = bar_chart(few, plain_charts(few)["cells"])
    assert len(chart.bars) == 3 and chart.missing == [(3, "reference f32")]
    assert re.search(r"Not measured: <span[^>]*>reference f32", page(few))


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


def test_samples_hold_every_text_once_and_where_outputs_diverge(store):
    data = sample_data(store, compare(store))
    assert len(data["problems"]) == PROBLEMS and data["problems"][1] == ["p1", "2"]
    assert len(data["texts"]) == len(set(data["texts"])) == PROBLEMS + 2, "prompts and the two outputs"
    first, _, q8, _ = data["cells"]
    assert q8["diverges"] == {i: [4, None, None] for i in range(0, PROBLEMS, 3)} and first["diverges"] == {}
    assert {cell["base"] for cell in data["cells"]} == {0}
    assert data["texts"][q8["text"][0]].startswith("word0 word1 word2 word3 </script>")
    assert q8["score"][:4] == [0.0, 1.0, 1.0, 0.0] and set(q8["outputs"]) == {1}


def test_each_group_is_compared_with_its_own_baseline(store):
    comparison = compare(store, by="backend", baseline="transformers")
    bases = [cell["base"] for cell in sample_data(store, comparison)["cells"]]
    verdicts = [row.verdict for row in comparison.rows]
    assert all(verdicts[base] == "baseline" or base == 0 for base in bases)
    assert all(bases[i] == i for i, verdict in enumerate(verdicts) if verdict == "baseline")


@pytest.mark.nightly
def test_samples_without_identity_are_shown_by_their_place(logs_without_names):
    with open_results(logs_without_names).store as store:
        data = sample_data(store, compare(store))
    assert [name for name, _ in data["problems"]] == ["sample 0", "sample 1"]


@pytest.mark.nightly
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
