"""The slides: what they say, and that any text survives in them."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from decodebench import UsageError
from decodebench.collate.comparison.compare import compare
from decodebench.collate.comparison.reproduce import plan_toml
from decodebench.core.api.results import open as open_results
from decodebench.core.records.schema import Environment, Run, Sample, Totals
from decodebench.core.records.store import Store
from decodebench.viz.figures import backend_comparison, device_comparison, speedup_comparison
from decodebench.viz.slides import TEMPLATE, draw_pictures, write_slides
from decodebench.viz.slides.deck import Deck, make_deck
from decodebench.viz.slides.pictures import Pictures
from decodebench.viz.slides.write import compiled

from ..at_night import at_night
from ..collate.conftest import Logs
from ..refusals import refused

FIGURES = [backend_comparison.FIGURE, speedup_comparison.FIGURE, device_comparison.FIGURE]
DOCS = Path(__file__).parents[2] / "docs" / "slides.md"
HOSTILE = '#panic("x") $x$ *b* _i_ <l> @r `c` "q" \\u{41} // [c] ~ == = - + / {y} ]] \' é 漢 😀'


def written(store, folder, experiment="matrix", figures=FIGURES, **more):
    comparison = compare(store, experiment=experiment)
    pictures = draw_pictures(store, comparison, figures)
    deck = make_deck(store, comparison, pictures, plan_toml(store, experiment))
    pdf = write_slides(deck, folder / "report.pdf", pictures, **more)
    return comparison, PdfReader(pdf)


def words(reader) -> str:
    return " ".join(" ".join(page.extract_text().split()) for page in reader.pages)


@pytest.fixture(scope="module")
def slides(reference_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    return folder, *written(reference_store, folder)


def test_every_number_of_the_answer_is_on_a_slide(slides):
    _, comparison, reader = slides
    said = words(reader)
    for row in comparison.rows:
        assert row.cell.label in said and f"{row.metrics[comparison.metric].value:.0f}" in said
        if row.verdict != "baseline":
            together = row.ratio_simultaneous
            assert f"{row.ratio.value:.2f} [{together.low:.2f}, {together.high:.2f}] {row.verdict}" in said
            assert f"{row.parity.identical} of {row.parity.compared}" in said
        accuracy = row.accuracy.value
        assert f"{100 * accuracy.value:.0f} % {100 * accuracy.low:.0f} % to {100 * accuracy.high:.0f} %" in said


def test_there_is_a_slide_for_everything(slides):
    folder, comparison, reader = slides
    deck = json.loads((folder / "slides" / "deck.json").read_text(encoding="utf-8"))
    titles = [re.sub(r" \(\d+ of \d+\)", "", page.extract_text().splitlines()[0]) for page in reader.pages[1:]]
    assert list(dict.fromkeys(titles)) == [
        "The answer", "Accuracy and speed", "Warnings and findings", "Throughput by backend and quantisation",
        "Speed-up over the baseline", "How it was measured", "Machine and software", "Reproduce",
    ]  # fmt: skip
    assert [picture["id"] for picture in deck["figures"]] == ["backend_comparison", "speedup_comparison"]
    caption = reader.pages[titles.index("Speed-up over the baseline") + 1].extract_text()
    assert "n = 3 rounds" in " ".join(caption.split())
    said = words(reader)
    assert "2026-01-01" in reader.pages[0].extract_text() and "cpu (A CPU) on box" in said
    assert (
        "device_comparison: every round ran on cpu (A CPU) on box" in said or "device_comparison: every round" in said
    )
    assert str(comparison.findings[0].text)[:40] in said
    assert 'quantisation = "q4_k_m"' in said and "decodebench run plan.toml --fresh" in said


def test_equal_stores_give_equal_files(slides, reference_store, tmp_path):
    folder, _, _ = slides
    written(reference_store, tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 5
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes(), file


@pytest.mark.nightly
def test_imported_totals_have_slides_without_a_plan(hostile_store, tmp_path):
    _, reader = written(hostile_store, tmp_path, HOSTILE)
    said = words(reader)
    assert "Rebuild" in said and "imported from other" in said and "unknown" in said


@pytest.fixture
def hostile_store(tmp_path):
    with Store.open(tmp_path, read_only=False) as writer, writer.transaction():
        for number in range(2):
            run = Run(
                run_id=f"r{number}", experiment=HOSTILE, cell_id=f"c{number}", round=0, backend=HOSTILE, model=HOSTILE,
                quantisation=f"{HOSTILE}{number}", device=HOSTILE, started_at="2026-01-01T00:00:00+00:00", task=HOSTILE,
                samples=1, warmup=0, max_new_tokens=8, source_format="other", source_file=f"a/{HOSTILE}",
                notes=(HOSTILE,),
                totals=Totals(output_tokens=100, wall_s=1 + number, accuracy=0.5),
                environment=Environment(hostname=HOSTILE, cpu_model=HOSTILE, packages={HOSTILE: HOSTILE}),
            )  # fmt: skip
            writer.add(run, [], [])
    with Store.open(tmp_path) as store:
        yield store


def test_whatever_a_name_holds_is_shown_and_not_run(hostile_store, tmp_path):
    _, reader = written(hostile_store, tmp_path, HOSTILE)
    said = words(reader)
    assert HOSTILE.partition(" é")[0].replace("  ", " ") in said


@pytest.mark.nightly
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300), st.text(max_size=900))
def test_any_text_compiles(reference_store, slides, name, note):
    folder = slides[0] / "slides"
    comparison = compare_once(reference_store)
    deck = make_deck(reference_store, comparison, Pictures({}, missing=[note]), note)
    content = json.loads(deck.model_dump_json())
    content["rows"][0]["label"] = content["experiment"] = content["headline"] = name
    content["notes"] = [{"kind": "note", "text": note, "advice": name}]
    source = folder / "hostile" / "slides.typ"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(TEMPLATE.read_bytes())
    (source.parent / "deck.json").write_text(json.dumps(content), encoding="utf-8")
    assert len(PdfReader(BytesIO(compiled(source, deck))).pages) >= 6


def compare_once(store, _kept=[]):  # noqa: B006 - the comparison is the same for every example
    if not _kept:
        _kept.append(compare(store, experiment="matrix"))
    return _kept[0]


@pytest.mark.nightly
def test_many_long_rows_stay_on_their_slides(tmp_path):
    with Store.open(tmp_path, read_only=False) as writer, writer.transaction():
        for number in range(40):
            run = Run(
                run_id=f"r{number}", experiment="many", cell_id=f"c{number}", round=0, backend="engine", model="m",
                quantisation=f"a-rather-long-name-of-a-weight-format-{number:02}", device="cpu", samples=1, warmup=0,
                started_at="2026-01-01T00:00:00+00:00", max_new_tokens=8, cell_index=number,
                options={"first": number, "second": "long" * 8}, source_format="other",
            )  # fmt: skip
            writer.add(run, [Sample(run_id=run.run_id, index=0, sample_id="p", output_tokens=9, duration_s=1.0)], [])
    with Store.open(tmp_path) as store:
        _, reader = written(store, tmp_path, "many", figures=FIGURES[1:2])
    assert "more cells: decodebench compare" in words(reader)
    for page in reader.pages[1:]:
        first = page.extract_text().splitlines()[0]
        assert re.match(r"The answer|Warnings|Speed-up|How it|Machine|Rebuild", first), f"overflowed: {first}"


@pytest.mark.nightly
def test_a_template_of_the_users_gets_the_same_data(reference_store, tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    template = tmp_path / "mine.typ"
    template.write_text(re.search(r"```typst\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    comparison, reader = written(reference_store, tmp_path, template=template)
    assert len(reader.pages) == 3
    assert f"{comparison.rows[1].cell.label}: 190 tokens/s, slower [" in words(reader)


def test_every_field_is_documented():
    text = DOCS.read_text(encoding="utf-8")
    names = set(Deck.model_fields)
    for field in ("rows", "notes", "figures", "sources"):
        names |= set(Deck.model_fields[field].annotation.__args__[0].model_fields)
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_a_template_that_does_not_compile_is_named_with_the_place(reference_store, tmp_path):
    template = tmp_path / "bad.typ"
    template.write_text('#let deck = json("deck.json")\n#deck.nothing', encoding="utf-8")
    with pytest.raises(UsageError, match=r"slides\.typ does not compile: (?s:.)*nothing"):
        written(reference_store, tmp_path, template=template)
    with refused("file-unreadable", "none.typ"):
        written(reference_store, tmp_path, template=tmp_path / "none.typ")


@pytest.mark.parametrize("cells", at_night([2, 14, 40], but=[2]))
def test_there_are_at_most_twelve_slides(tmp_path, cells):
    logs = Logs(tmp_path)
    for number in range(cells):
        options = {"n_threads": number, "a_rather_long_option": f"value-{number}" * 3}
        logs.speeds(f"c{number}", (0.1, 0.1 + number / 1000), options=options, backend="ab"[number % 2], task="t")
    with open_results(tmp_path) as results:
        reader = PdfReader(results.slides())
    assert 6 <= len(reader.pages) <= 12


def test_many_sources_are_counted(reference_store, slides):
    folder = slides[0] / "slides"
    deck = make_deck(reference_store, compare_once(reference_store), Pictures({}), "")
    content = json.loads(deck.model_dump_json())
    content["sources"] = [{"format": f"tool-{n}", "rounds": 1, "files": ["a" * 200] * 9} for n in range(30)]
    source = folder / "sources" / "slides.typ"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(TEMPLATE.read_bytes())
    (source.parent / "deck.json").write_text(json.dumps(content), encoding="utf-8")
    reader = PdfReader(BytesIO(compiled(source, deck)))
    titles = [page.extract_text().splitlines()[0] for page in reader.pages]
    assert "and 25 more sources" in words(reader) and titles.count("How it was measured") == 1
    assert titles[titles.index("How it was measured") + 1] in ("Machine and software", "Rebuild")
