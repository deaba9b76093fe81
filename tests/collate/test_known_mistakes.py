"""Mistakes that well-known benchmark tools make; each must not be one of ours."""

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


def compared(logs):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return {row.cell.backend: row for row in compare(store).rows}, store.dicts("SELECT * FROM run_metrics")


def test_unequal_counts_are_no_significance(logs, make_sample, make_steps):
    """One tool calls a difference significant because the counts differ and the test's exception was swallowed."""
    for round in range(3):
        gap = 0.1 + 0.001 * round
        logs.write("a", round, [make_sample(i, make_steps(gap=gap)) for i in range(8)], samples=8)
        logs.write("b", round, [make_sample(0, make_steps(gap=gap))], samples=8)
    row = compared(logs)[0]["b"]
    assert row.verdict == "equivalent" and row.ratio.value == pytest.approx(1.0)


def test_five_outputs_are_not_equal_to_one(logs, make_sample, make_steps):
    """Another zips two files of outputs, so that 5 rows against 1 are "totally equal"."""
    logs.write("a", content=[make_sample(i, make_steps()) for i in range(5)], samples=5)
    logs.write("b", content=[make_sample(0, make_steps())], samples=5)
    assert compared(logs)[0]["b"].parity.verdict != "identical"


def test_a_failed_generation_has_no_figures(logs, make_sample, make_steps):
    """Another goes on with the time and the tokens of the sample before."""
    failed = make_sample(1, [], status="failed", reason="out of memory", duration_s=None)
    logs.write("a", content=[make_sample(0, make_steps(n=11, ttft=1.0, gap=0.1)), failed])
    _, (run,) = compared(logs)
    assert run["measured_samples"] == 1 and run["output_tokens"] == 11
    assert run["e2e_tokens_per_s"] == pytest.approx(11 / 2.0)


def test_warm_up_and_prompts_are_in_no_throughput(logs, make_sample, make_steps):
    """Others count the prompt's tokens, or time the first token on the second call."""
    warm = make_sample(0, make_steps(n=5, ttft=9.0, gap=9.0), is_warmup=True, prompt_tokens=10_000)
    measured = make_sample(1, make_steps(n=11, ttft=1.0, gap=0.1), prompt_tokens=10_000)
    logs.write("a", content=[warm, measured])
    _, (run,) = compared(logs)
    assert run["e2e_tokens_per_s"] == pytest.approx(11 / 2.0)
    assert run["ttft_s"] == pytest.approx(1.0)


def test_stream_events_are_not_tokens(logs, make_sample):
    """Another counts 199 events for 395 tokens."""
    steps = [
        {"index": i, "t_s": 0.5 + 0.1 * i, "step_s": 0.5 if i == 0 else 0.1, "tokens": 1 + i % 2} for i in range(11)
    ]
    logs.write("a", content=[make_sample(0, steps)])
    _, (run,) = compared(logs)
    assert run["output_tokens"] == 16 and run["itl_s"] is None
    assert run["decode_tokens_per_s"] == pytest.approx(15 / 1.0) and run["step_s"] == pytest.approx(0.1)


def test_both_sides_of_a_ratio_count_the_engines_tokens(logs, make_sample, make_steps):
    """Another divides the engine's tokens by those of re-tokenised text."""
    told = make_sample(0, make_steps(n=11), text="one")
    told["output_tokens"] = 3  # what a tokenizer would make of the text
    logs.write("a", content=[told])
    logs.write("b", content=[make_sample(0, make_steps(n=11))])
    rows, runs = compared(logs)
    assert rows["b"].ratio.value == pytest.approx(1.0)
    assert [run["output_tokens"] for run in runs] == [11, 11]
