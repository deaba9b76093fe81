"""The figures of memory traffic, drawn from a store made by hand."""

from __future__ import annotations

import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.core.records.schema import Environment, RecordedStep, Run, Sample
from decodebench.core.records.store import Store
from decodebench.viz.drawing import style
from decodebench.viz.figures import memory_throughput, param_throughput, roofline
from decodebench.viz.plot import MissingDataError, draw, plot, read

LADDER = {"1000000": 8e9, "16000000": 2e9}
MACHINE = Environment(
    hostname="h", username="u", platform="Linux", release="6", machine="x86_64", cores_used=2, memory_bytes=2**30,
    python="3.11", memory_bandwidth=LADDER, memory_bandwidth_1_thread={"1000000": 4e9}, matrix_flops_per_s=2e10,
)  # fmt: skip
SPEEDS = (90.0, 100.0, 110.0)
# backend, quantisation, bytes a token reads by computation, what the engine says, weight bytes
MEAN = (90.0 * 100.0 * 110.0) ** (1 / 3)  # of rounds, on the log scale
COMPUTED = ("computing", "f32", 4_000_000, None, 5_000_000)
COUNTED = ("counting", "q8", None, 1_000_000, None)
UNKNOWN = ("silent", "q4", None, None, None)


@pytest.fixture
def store(tmp_path):
    """Make a store of some cells with three rounds each."""
    opened = []

    def make(*cells, **run) -> Store:
        with Store.open(tmp_path, read_only=False) as writer, writer.transaction():
            for cell in cells:
                for number, speed in enumerate(SPEEDS):
                    add(writer, cell, number, speed, run)
        opened.append(Store.open(tmp_path))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def add(writer, cell, number, speed, run):
    backend, quantisation, computed, counted, weights = cell
    run_id = f"{backend}-{number}"
    values = {
        "run_id": run_id, "experiment": "e", "cell_id": backend, "round": number, "backend": backend, "model": "m",
        "started_at": f"2026-01-01T00:00:0{number}+00:00", "quantisation": quantisation, "device": "cpu",
        "samples": 1, "warmup": 0, "max_new_tokens": 8, "batch_size": 1, "environment": MACHINE,
        "parameters": 10_000_000,
        "weight_bytes": weights, "read_weight_bytes": computed, "kv_bytes_per_token": 0,
    }  # fmt: skip
    steps = [
        RecordedStep(run_id=run_id, sample=0, index=i, t_s=(i + 1) / speed, step_s=1 / speed, tokens=1, forwards=1,
             bytes_read=counted)
        for i in range(5)
    ]  # fmt: skip
    sample = Sample(run_id=run_id, index=0, output_tokens=5, prompt_tokens=3)
    writer.add(Run(**{**values, **run}), [sample], steps)


def drawn(figure, store):
    with style.applied(salt="test"):
        canvas = draw(figure, read(store, figure, compare(store, experiment="e")))
        canvas.draw_without_rendering()
        (axes,) = canvas.axes
        return axes


def line(axes, label):
    (found,) = [each for each in axes.lines if str(each.get_label()).startswith(label)]
    return [float(x) for x in found.get_xdata()], [float(y) for y in found.get_ydata()]


def words(axes) -> str:
    return "\n".join([text.get_text() for text in axes.texts] + [axes.get_ylabel(), style.caption(axes.figure)])


def test_the_roof_is_the_ladder_over_the_bytes(store):
    axes = drawn(roofline.FIGURE, store(COMPUTED, COUNTED))
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    sizes, roof = line(axes, "read bandwidth, all threads")
    by_size = dict(zip(sizes, roof, strict=True))
    assert by_size[1e6] == pytest.approx(8000) and by_size[16e6] == pytest.approx(125)
    assert roof[0] * sizes[0] == pytest.approx(8e9), "beyond the ladder its first rung holds"
    low, high = axes.get_ylim()
    assert low < 90 and high > 8000, "the roof above the points is in sight"


def test_points_stand_at_their_bytes_and_mean_speed_with_an_interval(store):
    axes = drawn(roofline.FIGURE, store(COMPUTED, COUNTED))
    assert line(axes, "computing") == ([4e6], [pytest.approx(MEAN)])
    assert line(axes, "counting") == ([1e6], [pytest.approx(MEAN)])
    whiskers = [each for each in axes.lines if list(each.get_xdata()) == [4e6, 4e6]]
    (ends,) = [[float(y) for y in each.get_ydata()] for each in whiskers]
    # of the logs: mean 4.6018, t of 2 degrees 4.3027, standard deviation 0.1004, over the root of 3
    assert ends == pytest.approx([77.65, 127.93], abs=0.05)
    said = words(axes)
    assert "f32 10 %" in said, "100 tokens/s of 4 MB, where 4 GB/s can be read"
    assert "q8 1 %" in said and "n = 3 rounds" in said
    assert "computed from sizes" in said and "counted by the engine" in said


def test_arithmetic_is_a_roof_for_one_model(store):
    axes = drawn(roofline.FIGURE, store(COMPUTED))
    assert set(line(axes, "float32 arithmetic")[1]) == {2e10 / 2 / 1e7}


def test_a_run_of_one_thread_has_its_own_roof(store):
    axes = drawn(roofline.FIGURE, store(COMPUTED, options={"n_threads": 1}))
    sizes, roof = line(axes, "read bandwidth, one thread")
    assert {round(size * rate) for size, rate in zip(sizes, roof, strict=True)} == {4_000_000_000}
    assert not [each for each in axes.lines if str(each.get_label()).startswith("read bandwidth, all threads")]


def test_points_without_a_roof_are_drawn_without_a_share(store):
    axes = drawn(roofline.FIGURE, store(COMPUTED, device="cuda:0"))
    assert line(axes, "computing") == ([4e6], [pytest.approx(MEAN)])
    assert "f32" in words(axes) and "f32 10 %" not in words(axes)
    assert not [each for each in axes.lines if str(each.get_label()).startswith(("read bandwidth", "float32"))]


def test_memory_throughput_says_where_its_bytes_come_from(store):
    axes = drawn(memory_throughput.FIGURE, store(COMPUTED, COUNTED, UNKNOWN))
    heights = {
        round(float(bar.get_height()), 2): memory_throughput.HATCH in (bar.get_hatch() or "") for bar in axes.patches
    }
    assert heights == {0.4: True, 0.1: False}, "no bar for what is not known"
    said = words(axes)
    assert "n/a (silent q4)" in said and "n/a" in {text.get_text() for text in axes.texts}
    assert "GB/s" in axes.get_ylabel() and "n = 3 rounds" in said and "Striped: computed" in said


def test_parameter_throughput_counts_all_weights(store):
    axes = drawn(param_throughput.FIGURE, store(COMPUTED, UNKNOWN))
    (bar,) = axes.patches
    assert bar.get_height() == pytest.approx(5_000_000 * MEAN / 1e9)
    assert "n/a (silent q4)" in words(axes)


@pytest.mark.parametrize(
    "figure", [roofline.FIGURE, memory_throughput.FIGURE, param_throughput.FIGURE], ids=lambda f: f.id
)
def test_nothing_known_is_said_and_not_drawn(store, tmp_path, figure):
    with pytest.raises(MissingDataError, match=f"{figure.id}.*silent q4: .*(not known|does not|no weight bytes)"):
        opened = store(UNKNOWN)
        plot(opened, [figure], compare(opened, experiment="e"), tmp_path / "out", "png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "figure", [roofline.FIGURE, memory_throughput.FIGURE, param_throughput.FIGURE], ids=lambda f: f.id
)
def test_every_cell_without_bytes_is_named(store, figure):
    opened = store(COMPUTED, UNKNOWN)
    rows = read(opened, figure, compare(opened, experiment="e"))
    with style.applied(salt="test"):
        said = style.caption(draw(figure, rows))
    assert "silent q4" in said and "computing f32" not in said
