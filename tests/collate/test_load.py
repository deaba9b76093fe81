"""Requests under load: metrics by hand, the knee, the break-even with its interval, and what is printed of them."""

from __future__ import annotations

import numpy as np
import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.collate.load.break_even import crossing
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
    """Store one run whose requests are (due, sent, times of steps since then); None: it failed."""
    end = max(sent + steps[-1] for _, sent, steps in requests if steps)
    samples, steps_of = [], []
    for index, (due, sent, steps) in enumerate(requests):
        about = dict(run_id=run_id, index=index, due_s=due, start_s=sent, admitted_s=sent, batch=0, prompt_tokens=10)
        about |= {"batch_s": end - requests[0][0], "sample_id": str(index)}
        if steps is None:
            samples.append(Sample(**about, output_tokens=0, status="failed", reason="HTTP 500"))
            continue
        samples.append(Sample(**about, output_tokens=len(steps), duration_s=steps[-1], end_s=sent + steps[-1]))
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


def test_the_break_even_is_where_the_ratio_crosses_one():
    first, second = curves(np.random.default_rng(1), 2, 1e-9)
    found = crossing(second, first)
    assert found.at == pytest.approx(3.0, rel=1e-3) and found.rises and found.n == 2
    turned = crossing(first, second)
    assert turned.at == pytest.approx(3.0, rel=1e-3) and not turned.rises
    faster = crossing(
        {load: {0: 2 * one[0]} for load, one in first.items()}, {load: one for load, one in first.items()}
    )
    assert (faster.at, faster.rises, faster.n) == (None, True, 1)
    assert crossing({1: first[1]}, first) is None and crossing({1: {9: 1.0}, 2: {9: 1.0}}, first) is None


@pytest.mark.nightly
def test_the_interval_of_the_break_even_covers_it_as_often_as_it_says():
    generator = np.random.default_rng(7)
    covered, trials = 0, 400
    for _ in range(trials):
        found = crossing(*reversed(curves(generator, 5, 0.05)))
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


@pytest.mark.parametrize("figure", [load_throughput.FIGURE, load_latency.FIGURE], ids=lambda figure: figure.id)
def test_figures_under_load_can_be_drawn(under_load, figure):
    rows = read(under_load, figure, compare(under_load))
    assert b"c f16" in image(figure, rows, "svg")
