"""The figures of speculative decoding: their rows by hand, their marks, and what they do without data."""

from __future__ import annotations

import itertools

import pytest

from decodebench.collate.comparison.result import Comparison
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.records.store import Store
from decodebench.plugins.dflash.analysis import candidate_counts
from decodebench.plugins.draft_target.backend import DraftTargetBackend
from decodebench.viz.drawing import style
from decodebench.viz.drawing.cycles import NEEDS, TOPIC, block_colour, modes
from decodebench.viz.drawing.declarations import declared
from decodebench.viz.figures import (
    block_size_tau,
    cycle_tau_cdf,
    cycle_tau_histogram,
    cycle_tau_trace,
    decode_breakdown,
    decodebench_figures,
    rolling_tau,
    sample_tau_box,
    startup_overhead,
    wall_time_tau,
)
from decodebench.viz.plot import MissingDataError, draw, image, plot, read

from ..at_night import a_few
from ..refusals import refused

EMPTY = Comparison(experiment="e", baseline="", by="backend", metric="decode_tokens_per_s", min_effect=0.02, rows=())
PACK = [*(figure for figure in decodebench_figures() if figure.topic == TOPIC), candidate_counts.FIGURE]
TAUS = ([4, 1, 3], [2, 2])  # tokens of the cycles of two samples


@pytest.fixture
def store(tmp_path):
    """Make a store of cells, each a dict of options and what differs from the usual run."""
    opened = []

    def make(*cells, rounds=2, timed=True):
        unset = dict.fromkeys(name for cell in cells for name in cell if name not in ("candidates", "taus", "backend"))
        with Store.open(tmp_path, read_only=False) as writer, writer.transaction():
            for (index, cell), number in itertools.product(enumerate(cells), range(rounds)):
                add(writer, index, dict(cell), number, timed, unset)
        opened.append(Store.open(tmp_path))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def add(writer, index, cell, number, timed, unset):
    """One round: a cycle of b positions drafts b ms, verifies 2 b ms and takes 4 b ms (1 ms more in later rounds)."""
    candidates, taus, backend = cell.pop("candidates", None), cell.pop("taus", TAUS), cell.pop("backend", "spec")
    run_id = f"{index}-{number}"
    run = Run(
        run_id=run_id, experiment="e", cell_id=f"c{index}", cell_index=index, round=number, backend=backend, model="m",
        kind="speculative", started_at=f"2026-01-01T00:00:0{number}+00:00", quantisation="none", device="cpu",
        options=unset | cell, changed_options=tuple(cell), samples=len(taus), warmup=0, max_new_tokens=64,
        import_s=0.1, load_s=0.4,
    )  # fmt: skip
    block, samples, steps = cell.get("block_size", 1 + cell.get("num_draft_tokens", 3)), [], []
    for sample, cycles in enumerate(taus):
        cycle_s = (4 * block + number) / 1e3
        times = [0.1 + cycle_s * at for at in range(len(cycles) + 1)]
        known = {"t_s": times[0], "step_s": times[0]} if timed else {}
        steps.append(RecordedStep(run_id=run_id, sample=sample, index=0, tokens=1, **known))
        for at, tau in enumerate(cycles, 1):
            known = {"t_s": times[at], "step_s": cycle_s} if timed else {"engine_s": cycle_s}
            steps.append(
                RecordedStep(run_id=run_id, sample=sample, index=at, tokens=tau, block_size=block, drafted=block - 1,
                     accepted=tau - 1, draft_s=block / 1e3, verify_s=2 * block / 1e3, candidates=candidates, **known)
            )  # fmt: skip
        duration = times[-1] if timed else None
        samples.append(
            Sample(run_id=run_id, index=sample, output_tokens=1 + sum(cycles), finish="stop", duration_s=duration)
        )
    writer.add(run, samples, steps)


def rows_of(store, figure):
    return read(store, figure, EMPTY)


def drawn(figure, rows):
    with style.applied("x"):
        return draw(figure, rows)


BLOCKS = [{"block_size": size} for size in (2, 4, 8)]
CANDIDATES = [{"candidate_mode": "beam", "candidates": 4}, {"candidate_mode": "rank", "candidates": 2}]


@pytest.mark.parametrize("figure", a_few(6, PACK), ids=lambda figure: figure.id)
@pytest.mark.parametrize("timed", [True, pytest.param(False, marks=pytest.mark.nightly)])
def test_every_figure_draws_and_equal_rows_give_equal_bytes(store, figure, timed):
    needs_candidates = figure is candidate_counts.FIGURE
    needs_times = {"wall_time_tau", "block_size_tau", "throughput_tpot_bars", "block_size_decode_cost"}
    if not timed and figure.id in needs_times - {"block_size_tau", "block_size_decode_cost"}:
        rows = rows_of(store(*BLOCKS, timed=False), figure)
        with refused("data-missing"):
            drawn(figure, rows)
        return
    rows = rows_of(store(*(CANDIDATES if needs_candidates else BLOCKS), timed=timed), figure)
    assert image(figure, rows, "svg") == image(figure, rows, "svg")


@pytest.mark.parametrize("figure", PACK, ids=lambda figure: figure.id)
def test_without_speculative_rounds_the_need_is_named(store, tmp_path, figure):
    with pytest.raises(MissingDataError, match=NEEDS):
        plot(store(), [figure], EMPTY, tmp_path / "out", "png")


def test_what_several_figures_lack_is_said_once(store, tmp_path):
    with pytest.raises(MissingDataError) as caught:
        plot(store(), PACK, EMPTY, tmp_path / "out", "png")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("figures 'block_size_tau', 'block_size_decode_cost'")


def test_tau_against_the_block_size_is_the_rounds_figure(store):
    rows = rows_of(store(*BLOCKS), block_size_tau.FIGURE)
    assert [(row["block_size"], row["round"]) for row in rows] == [(b, r) for b in (2, 4, 8) for r in (0, 1)]
    assert {row["tau"] for row in rows} == {12 / 5}
    # 12 tokens behind the first ones in 5 cycles of 4 b ms, 1 ms more in the second round
    assert [row["decode_tokens_per_s"] for row in rows] == pytest.approx(
        [12 / (5 * (4 * b + r) / 1e3) for b in (2, 4, 8) for r in (0, 1)]
    )
    canvas = drawn(block_size_tau.FIGURE, rows)
    (tau, *whiskers) = canvas.axes[0].lines
    assert (list(tau.get_xdata()), list(tau.get_ydata())) == ([2, 4, 8], [2.4] * 3)
    assert len(whiskers) == 3  # an interval per block size


def test_one_block_size_is_no_curve(store):
    with refused("data-missing"):
        drawn(block_size_tau.FIGURE, rows_of(store(BLOCKS[0]), block_size_tau.FIGURE))


def test_the_axis_is_the_option_that_a_backend_declares(store):
    """Cells that differ in it alone are one line; one that chooses the size from cycle to cycle has no point."""
    cells = [{"backend": "draft-target", "num_draft_tokens": n, "adaptive": False} for n in (1, 3, 7)]
    adaptive = {"backend": "draft-target", "num_draft_tokens": 5, "adaptive": True}
    rows = rows_of(store(*cells, adaptive), block_size_tau.FIGURE)
    with declared({"draft-target": DraftTargetBackend}):
        canvas = drawn(block_size_tau.FIGURE, rows)
        colours = [mode.colour for mode in modes(rows[:-2], "tau")]
    lines = [line for line in canvas.axes[0].lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in lines] == [[2, 4, 8]]
    assert "1 whose block size changes" in style.caption(canvas)
    assert colours == [block_colour(number) for number in (1, 3, 7)]


def test_cycles_come_in_order_with_their_time(store):
    rows = rows_of(store({"block_size": 4}, rounds=1), rolling_tau.FIGURE)
    assert [row["tau"] for row in rows] == [4, 1, 3, 2, 2]
    assert [row["cycle_s"] for row in rows] == pytest.approx([0.016] * 5)
    line = drawn(rolling_tau.FIGURE, rows).axes[0].lines[0]
    assert list(line.get_ydata()) == pytest.approx([4, 2.5, 8 / 3, 2.5, 2.4])


def test_imported_cycles_have_the_engines_time(store):
    rows = rows_of(store({"block_size": 4}, rounds=1, timed=False), rolling_tau.FIGURE)
    assert [row["cycle_s"] for row in rows] == pytest.approx([0.016] * 5)


def test_samples_have_their_own_tau_and_parts(store):
    rows = rows_of(store({"block_size": 4}, rounds=1), sample_tau_box.FIGURE)
    assert [(row["cycles"], row["tau"]) for row in rows] == [(3, 8 / 3), (2, 2.0)]
    assert [row["wall_s"] for row in rows] == pytest.approx([0.1 + 3 * 0.016, 0.1 + 2 * 0.016])
    assert [(row["draft_s"], row["verify_s"], row["decode_s"]) for row in rows] == [
        pytest.approx((0.012, 0.024, 0.048)), pytest.approx((0.008, 0.016, 0.032)),
    ]  # fmt: skip
    bars = drawn(decode_breakdown.FIGURE, rows).axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([0.01, 0.02, 0.01])  # means of the two samples
    points = drawn(wall_time_tau.FIGURE, rows).axes[0].lines[0]
    assert list(points.get_xdata()) == [8 / 3, 2.0]


def test_counts_of_tau_make_histogram_and_cumulated_curve(store):
    rows = rows_of(store({"block_size": 4}), cycle_tau_histogram.FIGURE)
    assert [(row["tau"], row["cycles"]) for row in rows] == [(1, 2), (2, 4), (3, 2), (4, 2)]  # two rounds
    steps = drawn(cycle_tau_histogram.FIGURE, rows).axes[0].patches[0]
    assert list(steps.get_data().values) == [0.2, 0.4, 0.2, 0.2]
    rising = drawn(cycle_tau_cdf.FIGURE, rows).axes[0].lines[0]
    assert list(rising.get_ydata()) == pytest.approx([0, 0.2, 0.6, 0.8, 1.0])


def test_what_a_stop_token_cut_off_a_cycle_is_not_in_its_tau(tmp_path):
    """As in the metric; by the published rule, in the trace, the cycle gained 5."""
    with Store.open(tmp_path, read_only=False) as writer, writer.transaction():
        run = Run(
            run_id="r", experiment="e", cell_id="c", round=0, backend="spec", model="m", started_at="2026",
            device="cpu", quantisation="none", samples=1, warmup=0, max_new_tokens=9,
        )  # fmt: skip
        steps = [
            RecordedStep(run_id="r", sample=0, index=0, tokens=1),
            RecordedStep(
                run_id="r", sample=0, index=1, tokens=2, block_size=8, drafted=7, accepted=2, trace={"tau": 5}
            ),
        ]
        writer.add(run, [Sample(run_id="r", index=0, output_tokens=3)], steps)
    with Store.open(tmp_path) as store:
        assert [row["tau"] for row in rows_of(store, cycle_tau_trace.FIGURE)] == [2]


def test_candidates_are_counted_per_mode(store):
    rows = rows_of(store(*CANDIDATES, {"candidate_mode": "none"}), candidate_counts.FIGURE)
    bars = drawn(candidate_counts.FIGURE, rows).axes[0].patches
    assert [bar.get_height() for bar in bars] == [1.0, 1.0]  # the mode without candidates is left out


def test_start_up_is_imports_loading_and_the_excess_of_the_first_sample(store):
    rows = rows_of(store({"block_size": 4}, rounds=1), startup_overhead.FIGURE)
    # first sample: 9 tokens in 0.148 s; the other: 5 tokens in 0.132 s, 0.0264 s a token, which is slower: no excess
    assert [(row["import_s"], row["load_s"], row["excess_s"]) for row in rows] == [(0.1, 0.4, 0.0)]


def test_a_slow_first_sample_is_start_up(store):
    """One cycle of the first sample takes as long as any; its 2 tokens at the pace of the second's 9 take less."""
    rows = rows_of(store({"block_size": 4, "taus": ([1], [4, 4])}, rounds=1), startup_overhead.FIGURE)
    assert rows[0]["excess_s"] == pytest.approx(0.116 - 2 * 0.132 / 9)


def test_modes_are_named_by_what_was_changed(store):
    cells = [
        {},
        {"block_size": 2},
        {"scheduler": "ewma"},
        {"candidate_mode": "rank", "branch_top_k": 4},
        {"adaptive": True},
    ]
    rows = rows_of(store(*cells), cycle_tau_histogram.FIGURE)
    assert [mode.name for mode in modes(rows, "tau")] == [
        "spec", "block_size=2", "scheduler=ewma", "candidate_mode=rank branch_top_k=4", "adaptive=true",
    ]  # fmt: skip


def test_block_sizes_have_one_colour_scale():
    colours = [block_colour(size) for size in (1, 2, 4, 8, 16, 24, 32, 64)]
    assert len(set(colours[:-1])) == 7
    assert colours[-1] == colours[-2]


def test_more_modes_than_colours_are_said(store):
    cells = [{"seed": number} for number in range(9)]
    canvas = drawn(cycle_tau_histogram.FIGURE, rows_of(store(*cells), cycle_tau_histogram.FIGURE))
    assert "The first 7 of 9 cells." in style.caption(canvas)
    assert len(canvas.axes[0].patches) == 7
