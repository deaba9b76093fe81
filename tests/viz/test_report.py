"""The page: self-contained, whole, and safe from what a model wrote."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from decodebench.collate.comparison import Divergence
from decodebench.viz.report import render

HOSTILE = "<script>alert('x')</script>\"' onload=x ]]> </td>"


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
        "figures": {"Speed": "<svg><g></g></svg>"},
        "missing": ["figure 'x': no rounds"],
        "differences": [],
        "environment": {"cpu model": "Test CPU"},
        "reproduce": "decodebench demo",
    }
    return render(comparison, **{**content, **changes})


def parsed(text: str) -> Parser:
    parser = Parser()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_the_page_is_whole_and_needs_no_network(comparison):
    text = page(comparison)
    tags = parsed(text).seen
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//|@import|url\(\s*[\"']?http", text)
    assert [tag for tag, _ in tags].count("h1") == 1
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")


def test_every_row_and_note_is_there(comparison):
    text = page(comparison)
    for row in comparison.rows:
        assert row.cell.label in text
    for word in (
        *comparison.warnings,
        *map(str, comparison.findings),
        "Test CPU",
        "decodebench demo",
        "figure &#39;x&#39;",
    ):
        assert word in text


def test_the_headline_says_what_is_best_and_how_sure_that_is(comparison):
    (headline,) = re.findall(r"<h1>(.*?)</h1>", page(comparison), re.DOTALL)
    assert "llama-cpp q8_0 has the best decode speed: 1.84 times transformers f32" in headline
    assert "95 % interval 1.77 to 1.91, 3 rounds" in headline
    assert "16 of 16 outputs are the same" in headline and "81 %" in headline


def test_what_a_model_wrote_stays_text(comparison):
    at = Divergence(sample_id=HOSTILE, position=3, baseline_token=1, token=2, logprob_gap=0.5, top2_margin=0.5)
    keys = ("cell", "prompt", "common", "baseline", "other")
    text = page(comparison, differences=[dict.fromkeys(keys, HOSTILE) | {"at": at}], reproduce=HOSTILE)
    tags = parsed(text).seen
    assert [tag for tag, _ in tags].count("script") == 1, "only the page's own"
    assert not any("onload" in attributes for _, attributes in tags)
    assert "<mark>&lt;script&gt;" in text


def test_many_differences_are_capped_and_counted(comparison):
    at = Divergence(sample_id="p", position=3, baseline_token=1, token=2)
    one = {"cell": "c", "prompt": "p", "common": "a", "baseline": "b", "other": "d", "at": at}
    text = page(comparison, differences=[one] * 30)
    assert text.count("<details>") == 20
    assert "10 more are in the store" in text


def test_the_same_comparison_gives_the_same_page(comparison):
    assert page(comparison) == page(comparison)
