"""Figures draw what the rows say, alike each time, and say what is missing."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench import UsageError
from decodebench.collate.comparison.compare import compare
from decodebench.collate.comparison.result import Comparison
from decodebench.core.contract.look import contrast, fault_of
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.schema import Run, Sample, Totals
from decodebench.core.records.store import Store
from decodebench.plugins.fast_dllm.backend import FastDllmBackend
from decodebench.viz.drawing import style
from decodebench.viz.drawing.declarations import declared
from decodebench.viz.drawing.numbers import digits
from decodebench.viz.drawing.series import cells, looks
from decodebench.viz.figures import (
    backend_comparison,
    decodebench_figures,
    device_comparison,
    latency_distribution,
    memory_throughput,
    quantization_impact,
    speedup_comparison,
    summary_stats,
)
from decodebench.viz.plot import MissingDataError, choose, draw, image, plot, read

from ..refusals import refused

EMPTY = Comparison(experiment="x", baseline="", by="backend", metric="decode_tokens_per_s", min_effect=0.02, rows=())
CLASSIC = (backend_comparison, speedup_comparison, summary_stats, quantization_impact)


def drawn(figure, rows):
    with style.applied(salt="test"):
        canvas = draw(figure, rows)
        canvas.draw_without_rendering()
        return canvas


def texts(axes) -> set[str]:
    labels = {label.get_text() for label in axes.get_xticklabels()}
    return {text.get_text() for text in axes.texts} | labels | {style.caption(axes.figure)}


def test_importing_figures_imports_no_matplotlib():
    code = "import sys, decodebench.viz.figures, decodebench.viz.terminal.tables; print('matplotlib' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_bars_have_the_mean_of_their_rounds_and_one_colour_per_backend(round_rows):
    (axes,) = drawn(backend_comparison.FIGURE, round_rows).axes
    heights = sorted(bar.get_height() for bar in axes.patches)
    speeds = sorted({row["cell_id"]: row["decode_tokens_per_s"] / 1.03 for row in round_rows}.values())
    # the mean that `compare` prints: on the log scale
    assert heights == pytest.approx([speed * (0.98 * 1.0 * 1.03) ** (1 / 3) for speed in speeds])
    assert "tokens/s" in axes.get_ylabel()
    assert any("n = 3" in text for text in texts(axes))
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3
    assert len(axes.containers) >= 6, "every bar has its interval"


def test_a_speed_up_is_the_ratio_of_the_comparison(reference_store):
    comparison = compare(reference_store, experiment="matrix")
    (axes,) = drawn(speedup_comparison.FIGURE, read(reference_store, speedup_comparison.FIGURE, comparison)).axes
    assert [text.get_text() for text in axes.texts if "×" in text.get_text()] == [
        f"{row.ratio.value:.2f}×" for row in sorted(comparison.rows[1:], key=lambda row: -row.cell.bits_per_weight)
    ]
    ends = {tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2}
    assert {(row.ratio_simultaneous.low, row.ratio_simultaneous.high) for row in comparison.rows[1:]} <= ends


def test_first_steps_are_drawn_apart(step_rows):
    steps, first = drawn(latency_distribution.FIGURE, step_rows).axes
    assert "first step" in first.get_ylabel() and "ms" in first.get_ylabel()
    assert "after the first" in steps.get_ylabel()
    assert any("n=4000" in text for text in texts(steps))


def test_accuracy_stands_below_speed(round_rows):
    speed, accuracy = drawn(quantization_impact.FIGURE, round_rows).axes
    assert "tokens/s" in speed.get_ylabel() and "%" in accuracy.get_ylabel()
    heights = {round(float(y), 2) for line in accuracy.lines for y in line.get_ydata()}
    assert {100 * 13 / 16, 100 * 12 / 16, 100 * 9 / 16} <= heights


def test_labels_of_neighbouring_formats_do_not_overlap(round_rows):
    canvas = drawn(quantization_impact.FIGURE, round_rows)
    boxes = [label.get_window_extent() for label in canvas.axes[0].get_xticklabels() if label.get_text()]
    boxes.sort(key=lambda box: box.x0)
    assert all(a.x1 <= b.x0 or a.y0 >= b.y1 or b.y0 >= a.y1 for a, b in zip(boxes, boxes[1:], strict=False))


@pytest.mark.nightly
def test_a_legend_of_long_names_stays_within_the_figure(round_rows):
    long = [
        row | {"options": f'{{"drafter": "wrapped-by-another-{row["cell_id"]}"}}', "backend": "one"}
        for row in round_rows
    ]
    canvas = drawn(backend_comparison.FIGURE, long)
    box = canvas.axes[0].get_legend().get_window_extent()
    assert 0 <= box.x0 and box.x1 <= canvas.bbox.width


def test_cells_of_two_machines_are_told_apart_by_the_machine(round_rows):
    here = [row | {"hostname": "here"} for row in round_rows]
    there = [row | {"hostname": "there", "cell_id": f"{row['cell_id']}-there"} for row in round_rows]
    assert {cell.series.partition(" ")[2] for cell in cells(here + there)} == {"on here", "on there"}


@pytest.mark.parametrize("figure", [backend_comparison.FIGURE, quantization_impact.FIGURE], ids=lambda f: f.id)
def test_equal_rows_give_equal_bytes(figure, round_rows):
    first = image(figure, round_rows, "svg")
    assert first == image(figure, round_rows, "svg")
    assert b"<svg" in first and b"tokens/s" in first


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@given(NAMES, st.lists(NAMES, max_size=6))
def test_a_backend_keeps_its_colour_whatever_stands_beside_it(name, others):
    def look(*backends):
        rows = [
            {"backend": each, "quantisation": "q", "cell_id": each, "model": "m", "device": "d"} for each in backends
        ]
        return looks(cells(rows))[name]

    alone, among = look(name), look(name, *(other for other in others if other != name))
    assert (among.colour, among.marker) == (alone.colour, alone.marker) == style.look_of(name)


def test_two_backends_of_one_colour_differ_in_their_hatch():
    by_colour = {}
    for number in range(20):
        by_colour.setdefault(style.look_of(f"engine-{number}")[0], []).append(f"engine-{number}")
    twins = next(names for names in by_colour.values() if len(names) > 1)[:2]
    rows = [{"backend": each, "quantisation": "q", "cell_id": each, "model": "m", "device": "d"} for each in twins]
    assert len({look.hatch for look in looks(cells(rows)).values()}) == 2


def colours_in_use() -> list[str]:
    declared = [kind.colour for kind in all_plugins().backends.values() if kind.colour is not None]
    return declared + list(style.BY_HASH)


def test_no_colour_is_in_use_twice():
    colours = colours_in_use()
    assert len(set(colours)) == len(colours) > len(style.BY_HASH) + 6


def test_a_backend_is_drawn_as_it_declares_and_others_by_name():
    class Declared(FastDllmBackend):
        name, colour, marker = "engine", "#3366CC", "X"

    by_name, other = style.look_of("engine"), style.look_of("other")
    with declared({"engine": Declared}):
        assert style.look_of("engine") == ("#3366CC", "X") != by_name
        assert style.look_of("other") == other
    assert style.look_of("engine") == by_name


@given(NAMES)
def test_every_name_has_a_colour_that_is_seen_on_white_and_on_black(name):
    colour, marker = style.look_of(name)
    assert fault_of(colour, marker) is None
    assert min(contrast(colour, "#ffffff"), contrast(colour, "#000000")) >= 3


@pytest.mark.parametrize(
    ("colour", "marker", "fault"),
    [("#FFEE00", None, "1.2 on white"), ("#000080", None, "1.3 on black"), ("red", None, "#rrggbb"),
     (None, "*", "must be one of o s D"), ("#0072B2", "o", None), (None, None, None)],
)  # fmt: skip
def test_a_look_that_cannot_be_seen_is_a_fault(colour, marker, fault):
    assert fault_of(colour, marker) is None if fault is None else fault in fault_of(colour, marker)


def test_contrast_is_that_of_the_guideline():
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == 21
    assert contrast("#777777", "#777777") == 1
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # the guideline's palest grey for text


# Machado, Oliveira and Fernandes (2009): what people without one kind of cone see, as linear RGB to linear RGB
SIGHTS = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_are_told_apart_by_everybody(sight):
    def seen(colour):
        value = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.clip(
            np.array(SIGHTS[sight]) @ np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4), 0, 1
        )
        xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
        x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])  # CIELAB

    nearest = min(float(np.linalg.norm(seen(a) - seen(b))) for a, b in combinations(colours_in_use(), 2))
    assert nearest > 8, "2.3 is just noticeable"


class EmptyStore:
    def query(self, sql, params=None):
        return [], []


def test_missing_data_are_named_instead_of_an_empty_axis(tmp_path):
    with pytest.raises(MissingDataError, match="figure 'backend_comparison': experiment 'x' has no finished rounds"):
        plot(EmptyStore(), [backend_comparison.FIGURE], EMPTY, tmp_path / "out", "png")
    assert not list(tmp_path.rglob("*.png"))


def test_more_cells_than_a_figure_can_tell_apart_are_counted(tmp_path, monkeypatch):
    class Full:
        def query(self, sql, params=None):
            return ["cell_id"], [["a"]]

    monkeypatch.setattr("decodebench.viz.plot._MOST_CELLS", 1)
    many = EMPTY.model_copy(update={"rows": (None, None)})
    with pytest.raises(MissingDataError, match="has 2 cells, more than the 1 that a figure can tell apart"):
        plot(Full(), [backend_comparison.FIGURE], many, tmp_path / "out", "png")


def test_an_unknown_figure_is_refused_with_the_nearest():
    with refused("unknown-name", nearest="backend_comparison"):
        choose(decodebench_figures(), ["backend_comparson"])


@pytest.fixture
def logs(tmp_path):
    """Make a store of one run per cell, as logs of other tools give it, and its comparison."""
    opened = []

    def make(cells, add):
        with Store.open(tmp_path, read_only=False) as writer, writer.transaction():
            for number, (backend, quantisation) in enumerate(cells):
                values = {
                    "run_id": f"r{number}", "experiment": "x", "cell_id": f"c{number}", "round": 0, "backend": backend,
                    "model": "m", "quantisation": quantisation, "device": "unknown", "samples": 1, "warmup": 0,
                    "started_at": f"2026-01-01T00:00:{number:02}+00:00", "max_new_tokens": 8, "task": "gsm8k",
                    "source_format": "other",
                }  # fmt: skip
                more, samples = add(number)
                writer.add(Run(**values, **more), samples, [])
        opened.append(Store.open(tmp_path))
        return opened[-1], compare(opened[-1], experiment="x")

    yield make
    for store in opened:
        store.close()


def totals(number):
    return {"totals": Totals(output_tokens=1000, wall_s=10 + number, accuracy=0.5 + number / 40)}, []


def samples_with(**times):
    def add(number):
        return {}, [
            Sample(run_id=f"r{number}", index=i, sample_id=f"p{i}", output_tokens=64, **times) for i in range(3)
        ]

    return add


TOOLS = [("one", "q8_0"), ("one", "q4_0"), ("two", "q8_0")]


@pytest.mark.nightly
@pytest.mark.parametrize("module", CLASSIC, ids=lambda module: module.FIGURE.id)
@pytest.mark.parametrize("add", [totals, samples_with(duration_s=0.5)], ids=["totals", "durations"])
def test_logs_without_decode_times_are_drawn_end_to_end_and_say_so(logs, module, add):
    store, comparison = logs(TOOLS, add)
    canvas = drawn(module.FIGURE, read(store, module.FIGURE, comparison))
    labels = " ".join(axes.get_ylabel() + axes.get_xlabel() for axes in canvas.axes)
    assert "end-to-end" in labels and "decode" not in labels
    assert "n = 1 round" in style.caption(canvas)


def test_samples_that_tell_their_decoding_are_drawn_by_it(logs):
    store, comparison = logs(TOOLS, samples_with(duration_s=0.9, decode_tokens=64, decode_s=0.5))
    canvas = drawn(backend_comparison.FIGURE, read(store, backend_comparison.FIGURE, comparison))
    assert canvas.axes[0].get_ylabel().startswith("decode throughput")
    assert {bar.get_height() for bar in canvas.axes[0].patches} == {128.0}


def test_formats_of_unknown_width_stand_in_the_order_of_names_and_it_says_so(logs):
    store, comparison = logs(TOOLS, totals)
    canvas = drawn(quantization_impact.FIGURE, read(store, quantization_impact.FIGURE, comparison))
    assert [tick.get_text() for tick in canvas.axes[0].get_xticklabels()] == ["q4_0", "q8_0"]
    assert "do not tell the bits per weight of one q4_0" in style.caption(canvas)
    assert "order of names" in canvas.axes[1].get_xlabel()
    heights = {round(float(y), 6) for line in canvas.axes[1].lines for y in line.get_ydata()}
    assert {50.0, 52.5, 55.0} <= heights, "accuracies of totals"


def test_latency_of_logs_without_steps_is_the_samples(logs):
    store, comparison = logs(TOOLS, samples_with(duration_s=0.64))
    canvas = drawn(latency_distribution.FIGURE, read(store, latency_distribution.FIGURE, comparison))
    assert "mean time per token of a sample" in canvas.axes[0].get_ylabel()
    dots = [line.get_ydata() for line in canvas.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 3 and all(list(values) == pytest.approx([10.0] * 3) for values in dots)
    assert "no log has it" in {text.get_text() for text in canvas.axes[1].texts}


@pytest.mark.parametrize(("n", "boxes", "whiskers"), [(1, 0, False), (12, 0, False), (13, 1, False), (72, 1, True)])
def test_percentiles_are_drawn_from_the_count_that_supports_them(step_rows, n, boxes, whiskers):
    row = step_rows[0] | {"n": n, "tokens": n, "few": [0.001] * n if n <= 12 else None}
    canvas = drawn(latency_distribution.FIGURE, [row])
    assert sum(type(patch).__name__ == "PathPatch" for patch in canvas.axes[0].patches) == boxes
    ends = {round(float(y), 6) for line in canvas.axes[0].lines for y in line.get_ydata()}
    assert (round(row["p95"] * 1e3, 6) in ends) is whiskers
    assert ("95th percentile" in style.caption(canvas)) is whiskers


def test_a_summary_has_mean_slowest_and_fastest(round_rows):
    (axes,) = drawn(summary_stats.FIGURE, round_rows).axes
    (words,) = [text.get_text() for text in axes.texts if "f16" in text.get_text()]
    mean = (1210 + 1475 + 1502) / 3
    assert words.startswith(f"mean {digits(mean)}") or words.startswith(f"mean {digits(mean * 1.003)}")
    assert "(f16) to" in words and words.endswith("(q4_k_m)")


def test_devices_stand_beside_each_other_and_one_alone_is_refused(reference_store):
    rows = read(reference_store, device_comparison.FIGURE, compare(reference_store, experiment="hosts"))
    (axes,) = drawn(device_comparison.FIGURE, rows).axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names[:2] == ["llama-cpp f16: cpu on box", "llama-cpp f16: cpu on laptop"] and len(names) == 6
    with pytest.raises(UsageError, match="every round ran on cpu on box"):
        drawn(device_comparison.FIGURE, [row for row in rows if row["hostname"] == "box"])


def test_memory_throughput_stands_below_the_peak_of_the_device(reference_store):
    rows = read(reference_store, memory_throughput.FIGURE, compare(reference_store, experiment="matrix"))
    (axes,) = drawn(memory_throughput.FIGURE, rows).axes
    peaks = [float(line.get_ydata()[0]) for line in axes.lines if line.get_label() == "peak of the device"]
    assert len(peaks) == 6 and all(9 < peak < 30 for peak in peaks), "GB/s of the ladder, between its ends"
    canvas = drawn(memory_throughput.FIGURE, [row | {"peak_bytes_per_s": None} for row in rows])
    assert "do not tell its bandwidth" in style.caption(canvas)


def test_a_reason_names_a_few_of_many_cells(logs, tmp_path):
    store, comparison = logs([(f"engine-{i:02}", "q") for i in range(18)], totals)
    with pytest.raises(
        MissingDataError, match="engine-00 q, engine-01 q, engine-02 q and 15 more: the engine does not"
    ):
        plot(store, [memory_throughput.FIGURE], comparison, tmp_path / "out", "png")


@pytest.mark.parametrize("name", ["talk", "paper"])
def test_styles_differ_in_size_and_title(round_rows, name):
    look = style.STYLES[name]
    with style.applied("test", look):
        canvas = draw(backend_comparison.FIGURE, round_rows)
        assert canvas.get_figwidth() == look.width_in
        assert canvas.axes[0].yaxis.label.get_fontsize() == look.font_pt
        assert (canvas.get_suptitle() != "") is (name == "talk")
    with pytest.raises(UsageError, match="unknown style 'slide'"):
        plot(EmptyStore(), [], EMPTY, "out", "png", look="slide")
