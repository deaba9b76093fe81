import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decodebench.core.records import metrics
from decodebench.core.records.metrics import METRICS
from decodebench.core.records.schema import RecordedStep, Run, Sample
from decodebench.core.records.store import Store

from ..at_night import examples

ROOT = Path(__file__).parents[2]

RUN = dict(
    run_id="r", experiment="e", cell_id="c", round=0, started_at="2026-01-01T00:00:00+00:00", backend="b", model="m",
    quantisation="f16", device="cpu", samples=1, warmup=0, max_new_tokens=64, first_step_is_prefill=False,
)  # fmt: skip


def figures(tmp_path, steps_by_sample, run=(), samples=()):
    """Store one run; returns (rows of sample_metrics, row of run_metrics)."""
    run = Run(**{**RUN, **dict(run)})
    more = dict(samples)
    records = [
        Sample(run_id="r", index=i, output_tokens=sum(s["tokens"] for s in steps), **more.get(i, {}))
        for i, steps in enumerate(steps_by_sample)
    ]
    steps = [
        RecordedStep(run_id="r", sample=i, index=j, **s)
        for i, many in enumerate(steps_by_sample)
        for j, s in enumerate(many)
    ]
    with Store.open(tmp_path, read_only=False) as store:
        with store.transaction():
            store.add(run, records, steps)
        rows = store.dicts('SELECT * FROM sample_metrics ORDER BY "index"')
        total = store.dicts("SELECT * FROM run_metrics")[0]
        with store.transaction():
            store.remove("r")
    return rows, total


def test_docs_page_is_the_table():
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics.markdown()


def test_every_name_is_its_key_and_formats():
    assert all(name == metric.name and metric.format(1.5) for name, metric in METRICS.items())


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("ttft_s", 0.0123, "12.3 ms"),
        ("ttft_s", 2.5, "2.50 s"),
        ("step_s", 4.2e-5, "42.0 µs"),
        ("peak_rss_bytes", 1.5e9, "1.50 GB"),
        ("acceptance_rate", 0.456, "45.6 %"),
        ("decode_tokens_per_s", 123.4, "123 tok/s"),
    ],
)
def test_formatters(metric, value, text):
    assert METRICS[metric].format(value) == text


def test_plain_decoding_by_hand(tmp_path):
    steps = [
        dict(t_s=0.5 + 0.1 * i, step_s=0.5 if i == 0 else 0.1, tokens=1, forwards=1, bytes_read=200) for i in range(5)
    ]
    run = dict(first_step_is_prefill=True, weight_bytes=1000, load_s=3.0, peak_rss_bytes=7, peak_device_bytes=9)
    (row,), total = figures(tmp_path, [steps], run, {0: dict(prompt_tokens=20, score=1.0)})
    expected = {
        "ttft_s": 0.5, "tpot_s": 0.1, "itl_s": 0.1, "step_s": 0.1, "decode_tokens_per_s": 10.0,
        "e2e_tokens_per_s": 5 / 0.9, "prefill_tokens_per_s": 40.0, "tokens_per_forward": 1.0,
        "memory_throughput_bytes_per_s": 2000.0, "param_throughput_bytes_per_s": 10_000.0, "accuracy": 1.0,
    }  # fmt: skip
    for name, value in expected.items():
        assert row[name] == pytest.approx(value), name
        assert total[name] == pytest.approx(value), name
    assert (total["load_s"], total["peak_rss_bytes"], total["peak_device_bytes"]) == (3.0, 7, 9)
    absent = ("tau", "tau_mean", "acceptance_rate", "draft_efficiency", "draft_share", "verify_share")
    assert all(row[name] is None and total[name] is None for name in (*absent, "batch_tokens_per_s"))


def speculative():
    first = dict(t_s=1.0, step_s=1.0, tokens=1, forwards=1)
    cycle = dict(step_s=0.5, drafted=4, block_size=5, candidates=2, forwards=1, draft_s=0.1, verify_s=0.3)
    return [
        first,
        dict(cycle, t_s=1.5, tokens=4, accepted=3),
        dict(cycle, t_s=2.0, tokens=2, accepted=1),
        dict(cycle, t_s=2.5, tokens=1, accepted=2),  # cut by the limit
    ]


def test_speculative_decoding_by_hand(tmp_path):
    (cut, whole), total = figures(
        tmp_path, [speculative(), speculative()[:2]], samples={0: dict(finish="length"), 1: dict(finish="stop")}
    )
    assert cut["tau"] == pytest.approx(3.0)
    assert cut["acceptance_rate"] == pytest.approx(4 / 8)
    assert cut["draft_efficiency"] == pytest.approx(6 / 24)
    assert cut["draft_share"] == pytest.approx(0.2)
    assert cut["verify_share"] == pytest.approx(0.6)
    assert cut["tokens_per_forward"] == pytest.approx(7 / 3)
    assert cut["itl_s"] is None
    assert cut["step_s"] == pytest.approx(0.5)
    assert cut["tpot_s"] == pytest.approx(1.5 / 7)
    assert whole["tau"] == pytest.approx(4.0)
    assert total["tau"] == pytest.approx(10 / 3)
    assert total["tau_mean"] == pytest.approx(3.5)
    assert total["acceptance_rate"] == pytest.approx(7 / 12)
    assert total["acceptance_rate_mean"] == pytest.approx((0.5 + 0.75) / 2)
    assert total["decode_tokens_per_s"] == pytest.approx(11 / 2.0)


def test_batch_counts_each_wall_time_once(tmp_path):
    steps = [dict(t_s=1.0, step_s=1.0, tokens=3)]
    more = {i: dict(batch=i // 2, batch_s=2.0) for i in range(4)}
    rows, total = figures(tmp_path, [steps] * 4, samples=more)
    assert [row["batch_tokens_per_s"] for row in rows] == [3.0] * 4
    assert total["batch_tokens_per_s"] == pytest.approx(12 / 4.0)


def test_prefill_rate_needs_the_declaration(tmp_path):
    (row,), _ = figures(tmp_path, [[dict(t_s=1.0, step_s=1.0, tokens=1)]], samples={0: dict(prompt_tokens=5)})
    assert row["prefill_tokens_per_s"] is None
    assert row["tpot_s"] is None
    assert row["ttft_s"] == 1.0


@pytest.mark.parametrize(
    ("is_known", "first", "ttft_s"),
    [(False, 0, 3.0), (False, 1, 1.0), (True, 1, 1.0), (None, 1, None)],
    ids=["nothing in the first step", "tokens in it", "it is the prefill", "it may be no prefill"],
)
def test_the_first_token_is_that_of_the_first_step_that_committed_one(tmp_path, is_known, first, ttft_s):
    steps = [dict(t_s=1.0, step_s=1.0, tokens=first), dict(t_s=3.0, step_s=2.0, tokens=2)]
    (row,), total = figures(tmp_path, [steps], run={"first_step_is_prefill": is_known})
    assert row["ttft_s"] == total["ttft_s"] == ttft_s
    assert row["decode_tokens_per_s"] == pytest.approx(2 / 2.0)


def test_warm_up_and_failed_samples_are_in_no_figure_of_the_round(tmp_path):
    slow, fast = ([dict(t_s=t, step_s=t, tokens=1)] for t in (9.0, 1.0))
    more = {0: dict(is_warmup=True), 2: dict(status="failed")}
    rows, total = figures(tmp_path, [slow, fast, slow], samples=more)
    assert total["ttft_s"] == 1.0
    assert total["measured_samples"] == 1
    assert rows[2]["ttft_s"] is None


def test_logs_without_steps_keep_the_end_to_end_rate_only(tmp_path):
    with Store.open(tmp_path, read_only=False) as store:
        with store.transaction():
            store.add(Run(**RUN), [Sample(run_id="r", index=0, output_tokens=6, duration_s=2.0)], [])
        row = store.dicts("SELECT * FROM sample_metrics")[0]
    assert row["e2e_tokens_per_s"] == 3.0
    assert row["tpot_s"] is None and row["ttft_s"] is None


gaps = st.floats(1e-4, 10.0)
count = st.none() | st.integers(0, 8)
step_lists = st.lists(
    st.fixed_dictionaries(
        {"step_s": gaps, "tokens": st.integers(0, 6), "drafted": count, "accepted": count, "forwards": count}
    ),
    min_size=1,
    max_size=8,
)


def brute_force(steps, finish):
    n, first, last = sum(s["tokens"] for s in steps), steps[0], steps[-1]
    decode_s, decode = last["t_s"] - first["t_s"], n - first["tokens"]
    cycles = [(i, s) for i, s in enumerate(steps) if i and (s["drafted"], s["accepted"]) != (None, None)]
    cycles = [s for i, s in cycles if not (finish == "length" and i == len(steps) - 1)]
    both = [s for s in cycles if None not in (s["drafted"], s["accepted"])]
    counted = [s for s in steps[1:] if s["forwards"] is not None]
    drafted, forwards = sum(s["drafted"] for s in both), sum(s["forwards"] for s in counted)
    return {
        "ttft_s": next((s["t_s"] for s in steps if s["tokens"]), None),
        "tpot_s": decode_s / decode if decode else None,
        "step_s": decode_s / (len(steps) - 1) if len(steps) > 1 else None,
        "itl_s": decode_s / (len(steps) - 1) if len(steps) > 1 and all(s["tokens"] == 1 for s in steps) else None,
        "decode_tokens_per_s": decode / decode_s if decode else None,
        "e2e_tokens_per_s": n / last["t_s"],
        "e2e_s": last["t_s"],
        "tau": sum(s["tokens"] for s in cycles) / len(cycles) if cycles else None,
        "acceptance_rate": sum(s["accepted"] for s in both) / drafted if drafted else None,
        "tokens_per_forward": sum(s["tokens"] for s in counted) / forwards if forwards else None,
    }


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("metrics")


@settings(max_examples=examples(40), deadline=None)
@given(step_lists, st.sampled_from(["stop", "length", None]))
def test_sql_equals_brute_force(scratch, steps, finish):
    now = 0.0
    for each in steps:
        now += each["step_s"]
        each["t_s"] = now
    (row,), total = figures(scratch, [steps], samples={0: dict(finish=finish)})
    for name, value in brute_force(steps, finish).items():
        for found in (row[name], total[name]):
            same = found is None if value is None else found is not None and math.isclose(found, value, rel_tol=1e-9)
            assert same, (name, found, value)
