"""Requests under load: metrics by hand, the knee, the break-even with its interval, and what is printed of them."""

from __future__ import annotations

import numpy as np
import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.collate.load.break_even import standing
from decodebench.collate.load.knee import knee_of
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.records.store import Store
from decodebench.viz.figures import load_latency, load_throughput
from decodebench.viz.plot import image, read
from decodebench.viz.terminal.load import load_lines

RUN = dict(
    experiment="e", started_at="2026-01-01T00:00:00+00:00", model="m", quantisation="f16", device="cpu", samples=3,
    warmup=0, max_new_tokens=4, first_step_is_prefill=True, backend="b", order=0,
)  # fmt: skip


def stored(store, run_id, requests, **run):
    """Store one run whose requests are (due, sent, times of steps since then); None: it failed, empty: no token."""
    end = max(sent + steps[-1] for _, sent, steps in requests if steps) if any(one[2] for one in requests) else 1.0
    samples, steps_of = [], []
    for index, (due, sent, steps) in enumerate(requests):
        about = dict(run_id=run_id, index=index, due_s=due, start_s=sent, admitted_s=sent, batch=0, prompt_tokens=10)
        about |= {"batch_s": end - requests[0][0], "sample_id": str(index)}
        if steps is None:
            samples.append(Sample(**about, output_tokens=0, status="failed", reason="HTTP 500"))
            continue
        took = steps[-1] if steps else 1.0
        samples.append(Sample(**about, output_tokens=len(steps), duration_s=took, end_s=sent + took))
        for at, t_s in enumerate(steps):
            gap = t_s - (steps[at - 1] if at else 0)
            steps_of.append(RecordedStep(run_id=run_id, sample=index, index=at, t_s=t_s, step_s=gap, tokens=1))
    store.add(Run(**{**RUN, "run_id": run_id, "cell_id": run_id, "round": 0, **run}), samples, steps_of)


def test_figures_of_requests_by_hand(tmp_path):
    requests = [(0.0, 0.0, [1.0, 1.5, 2.0]), (0.0, 1.0, [1.0, 2.0]), (2.0, 2.0, None)]
    with Store.open(tmp_path, read_only=False) as store:
        with store.transaction():
            stored(store, "r", requests, workload={"slo": {"ttft_s": 1.5, "tpot_s": 0.8}})
        (found,) = store.dicts("SELECT * FROM run_metrics")
    expected = {
        "batch_tokens_per_s": 5 / 3, "total_tokens_per_s": 25 / 3, "requests_per_s": 2 / 3,
        "goodput_requests_per_s": 1 / 3, "good_share": 1 / 3,  # of three requests one failed and one was late
        "queue_s": 0.5, "ttft_s": 1.5, "ttft_p50_s": 1.5, "ttft_p90_s": 1.9,
        "ttft_p95_s": 1.95, "ttft_p99_s": 1.99, "tpot_s": 2 / 3, "tpot_mean_s": 0.75, "tpot_p50_s": 0.75,
        "tpot_p90_s": 0.95, "tpot_p99_s": 0.995, "itl_p50_s": 0.5, "itl_p90_s": np.percentile([0.5, 0.5, 1], 90),
        "itl_p99_s": 0.99, "e2e_s": 2.5, "e2e_p95_s": 2.95, "e2e_p99_s": 2.99,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_what_did_not_run_under_load_has_no_such_figures(tmp_path):
    with Store.open(tmp_path, read_only=False) as store:
        with store.transaction():
            steps = [RecordedStep(run_id="r", sample=0, index=0, t_s=1.0, step_s=1.0, tokens=1)]
            sample = Sample(run_id="r", index=0, output_tokens=1, start_s=5.0, batch=0, batch_s=1.0)
            store.add(Run(**RUN, run_id="r", cell_id="r", round=0), [sample], steps)
        (found,) = store.dicts("SELECT requests_per_s, goodput_requests_per_s, queue_s, ttft_p99_s FROM run_metrics")
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    ("throughput", "knee"),
    [
        ([10, 19, 30, 31], 4),
        ([10, 19, 30, 40], None),  # it still rises at the highest load
        ([10, 10.5, 10.9, 11], 1),  # it rises nowhere
        ([10, 9, 20, 21], 4),  # a dip is no knee
        ([10, 20, 18, 17], 2),
    ],
)
def test_the_knee_is_the_last_load_at_which_throughput_rises_by_a_tenth_per_doubling(throughput, knee):
    assert knee_of([1, 2, 4, 8], throughput) == knee


def test_a_rise_is_counted_per_doubling():
    assert knee_of([1, 8], [10, 13.2]) == 1  # 9.7 % per doubling
    assert knee_of([1, 8, 9], [10, 13.4, 13.4]) == 8


def curves(generator, rounds, noise):
    """Two engines by load and round: the second one is slower alone and faster from concurrency 3 on."""
    loads = (1, 2, 4, 8)
    first = {load: {at: 10 * load**0.5 * np.exp(generator.normal(0, noise)) for at in range(rounds)} for load in loads}
    second = {
        load: {at: 10 * 3**-0.3 * load**0.8 * np.exp(generator.normal(0, noise)) for at in range(rounds)}
        for load in loads
    }
    return first, second


def crossing(curve, base):
    """Return the only crossing of two curves."""
    (found,) = standing(curve, base).crossings
    return found


def by_load(*means, spread=0.0, rounds=3):
    """Return a curve at the loads 1, 2, 4, ...; rounds differ by ``spread``, in turn."""
    return {2.0**at: {n: mean * np.exp(spread * (n - 1)) for n in range(rounds)} for at, mean in enumerate(means)}


def test_the_break_even_is_where_the_ratio_crosses_one():
    first, second = curves(np.random.default_rng(1), 2, 1e-9)
    found = crossing(second, first)
    assert found.at == pytest.approx(3.0, rel=1e-3) and found.rises and found.n == 2
    turned = crossing(first, second)
    assert turned.at == pytest.approx(3.0, rel=1e-3) and not turned.rises
    faster = standing({load: {0: 2 * one[0]} for load, one in first.items()}, first)
    assert (faster.crossings, faster.is_above, faster.n, faster.unclear) == ((), True, 1, (1, 2, 4, 8))
    assert standing({1: first[1]}, first) is None and standing({1: {9: 1.0}, 2: {9: 1.0}}, first) is None


@pytest.mark.parametrize(
    ("means", "crossed"),
    [
        ([1, 4, 1, 4], [(2**0.5, True), (2**1.5, False), (2**2.5, True)]),
        ([1, 2, 4], [(2.0, True)]),  # at a load itself
        ([1, 2, 2, 4], [(2 * 2**0.5, True)]),  # along a stretch
        ([2, 2, 2], []),
        ([1, 2, 1], []),  # they touch
        ([2, 2, 4], []),
    ],
)
def test_every_crossing_is_found_and_none_where_curves_touch(means, crossed):
    for rounds in (1, 3):
        found = standing(by_load(*means, rounds=rounds), by_load(*[2] * len(means), rounds=rounds))
        assert [one.rises for one in found.crossings] == [rises for _, rises in crossed]
        assert [one.at for one in found.crossings] == pytest.approx([at for at, _ in crossed])


def test_each_load_is_judged_by_its_interval():
    found = standing(by_load(2.1, 4, 1, spread=0.2), by_load(2, 2, 2))
    assert (found.unclear, found.faster, found.slower) == ((1,), (2,), (4,))
    noise = standing(by_load(2.1, 2.1, 2.05, spread=0.2), by_load(2, 2, 2))
    assert noise.is_above and noise.unclear == (1, 2, 4) and not noise.crossings


def test_rounds_without_throughput_are_left_out():
    base = by_load(2, 2, 2, 2)
    found = standing(by_load(1, 0, 4, 4) | {8.0: {0: 4.0, 1: 0.0, 2: 4.0}}, base)
    assert found.skipped == (2, 8) and found.n == 2 and found.crossings[0].at == pytest.approx(2.0)
    assert standing(by_load(0, 0, 0, 4), base) is None


@pytest.mark.nightly
def test_the_interval_of_the_break_even_covers_it_as_often_as_it_says():
    generator = np.random.default_rng(7)
    covered, trials = 0, 400
    for _ in range(trials):
        found = standing(*reversed(curves(generator, 5, 0.05))).crossings[0]
        covered += (found.low or 0) <= 3.0 <= (found.high or np.inf)
    assert covered / trials == pytest.approx(0.95, abs=0.03)


@pytest.fixture(scope="module")
def under_load(tmp_path_factory):
    """Two engines at three loads, two rounds each; the second overtakes between 2 and 4."""
    with Store.open(tmp_path_factory.mktemp("load"), read_only=False) as store:
        with store.transaction():
            for cell, (backend, speeds) in enumerate({"b": (1.0, 1.2, 1.3), "c": (0.5, 1.0, 2.0)}.items()):
                for place, (load, speed) in enumerate(zip((1, 2, 4), speeds, strict=True)):
                    for index in (0, 1):
                        pace = (1 + 0.02 * index * (place + 1)) / speed
                        requests = [(0.0, 0.0, [0.1 * pace, 0.2 * pace]), (0.1, 0.1, [0.1 * pace, 0.3 * pace])]
                        stored(
                            store, f"{backend}{load}{index}", requests, backend=backend, cell_id=f"{backend}{load}",
                            round=index, cell_index=3 * cell + place, options={"concurrency": load},
                            changed_options=("concurrency",), workload={"concurrency": [load]},
                            sessions=({"id": "s", "url": "u"},) if backend == "c" else (),
                        )  # fmt: skip
        yield store


def test_a_comparison_has_the_curves_and_where_they_cross(under_load):
    found = compare(under_load)
    assert found.metric == "batch_tokens_per_s"
    assert [(curve.name, [point.load for point in curve.points]) for curve in found.load_curves] == [
        ("b f16", [1, 2, 4]),
        ("c f16", [1, 2, 4]),
    ]
    assert [curve.knee for curve in found.load_curves] == [2, None]
    (crossed,) = found.break_evens
    assert (crossed.curve, crossed.baseline, crossed.rises, crossed.n) == ("c f16", "b f16", True, 2)
    assert 2 < crossed.at < 4
    assert [row.is_one_server for row in found.rows] == [False] * 3 + [True] * 3
    lines = list(load_lines(found))
    assert len(lines) == 3 and "overtakes" in lines[2]


def lines_of(tmp_path, *speeds, noise=0.0):
    """Return what is printed of engines with so many tokens per second at the loads 1, 2, ...; 0: empty answers."""
    with Store.open(tmp_path, read_only=False) as store:
        with store.transaction():
            for cell, each in enumerate(speeds):
                for place, speed in enumerate(each):
                    for index in range(3):
                        steps = [1 / (speed * np.exp(noise * (1 - index) * (-1) ** cell))] if speed else []
                        stored(
                            store, f"{cell}{place}{index}", [(0.0, 0.0, steps)] * 2, backend="bcd"[cell], round=index,
                            cell_id=f"{cell}{place}", cell_index=9 * cell + place, options={"concurrency": 2**place},
                            changed_options=("concurrency",), workload={"concurrency": [2**place]},
                        )  # fmt: skip
        return list(load_lines(compare(store)))


def test_what_is_printed_claims_no_more_than_the_intervals(tmp_path):
    base, *_ = steady = (10, 10, 10, 10), (20, 5, 20, 5), (10, 10, 10, 10)
    lines = lines_of(tmp_path, *steady)
    assert sum("overtakes" in line or "falls behind" in line for line in lines) == 3
    assert lines[-1].startswith("at no load can d f16 and b f16 be distinguished")
    (tmp_path / "noisy").mkdir()
    *_, noisy = lines_of(tmp_path / "noisy", base, (11, 10.5, 12, 11), noise=0.5)
    assert noisy == "at no load can c f16 and b f16 be distinguished (95 % intervals, n = 3 rounds)"


def test_loads_without_throughput_are_named_and_a_knee_that_is_unknown_too(tmp_path):
    knees = lines_of(tmp_path, (10, 20, 0, 22), (0, 0, 0, 30), (10, 20, 30, 40))
    assert knees[0].startswith("b f16: knee at 2") and knees[0].endswith("; no throughput at 4")
    assert knees[1] == "c f16: no knee known: one load at most has throughput; no throughput at 1, 2, 4"
    assert knees[2] == "d f16: throughput still rises by 10 % per doubling at the highest load, 8"
    assert "throughput" in knees[3] and knees[3].endswith("; rounds without throughput are left out at 4")


@pytest.mark.parametrize("figure", [load_throughput.FIGURE, load_latency.FIGURE], ids=lambda figure: figure.id)
def test_figures_under_load_can_be_drawn(under_load, figure):
    rows = read(under_load, figure, compare(under_load))
    assert b"c f16" in image(figure, rows, "svg")
