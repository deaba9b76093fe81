"""Accuracy in `compare`: choices, partial scores, several answers to a problem, totals, and what findings say."""

from __future__ import annotations

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.compare import compare
from decodebench.collate.findings import findings
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


@pytest.fixture
def opened(logs):
    """Collate what was written and open the store."""

    def open_store():
        collate(logs.folder, all_plugins())
        return Store.open(logs.folder)

    return open_store


def chosen(index, logprobs, score, **more):
    """A problem whose choices were scored."""
    return {
        "index": index, "sample_id": f"p{index}", "prompt_tokens": 9, "prompt_hash": f"{index:016x}",
        "output_tokens": None, "text": "x", "choices": ["x", "y"], "choice_logprobs": logprobs,
        "choice_is_greedy": [True, False], "chosen": 0, "scored_tokens": 20, "duration_s": 0.5, "score": score,
        "steps": [], **more,
    }  # fmt: skip


def answered(make_sample, make_steps, scores):
    return [make_sample(i, make_steps(), score=score) for i, score in enumerate(scores)]


def test_partial_scores_are_averaged_and_their_difference_is_of_the_means(logs, opened, make_sample, make_steps):
    logs.write("a", content=answered(make_sample, make_steps, [1.0, 0.5, 0.75, 1.0]), samples=4, task="t")
    logs.write("b", content=answered(make_sample, make_steps, [0.75, 0.25, 0.5, 1.0]), samples=4, task="t")
    with opened() as store:
        base, other = compare(store).rows
    assert base.accuracy.value.value == pytest.approx(0.8125)
    assert other.accuracy.difference.value == pytest.approx(-0.1875)
    assert other.accuracy.difference.low < -0.1875 < other.accuracy.difference.high


def test_several_answers_to_one_problem_count_as_one_problem(logs, opened, make_sample, make_steps):
    scores = [("p0", 1.0), ("p0", 0.0), ("p1", 1.0), ("p1", 1.0)]
    content = [make_sample(i, make_steps(), score=score, sample_id=name) for i, (name, score) in enumerate(scores)]
    logs.write("a", content=content, samples=4, task="t")
    with opened() as store:
        (row,) = compare(store).rows
    assert (row.accuracy.value.value, row.accuracy.value.n) == (0.75, 2)


def test_further_measures_have_intervals_of_their_own(logs, opened):
    content = [chosen(i, [-1.0, -2.0], 1.0, scores={"accuracy_norm": float(i % 2)}) for i in range(4)]
    logs.write("a", content=content, samples=4, task="t")
    with opened() as store:
        comparison = compare(store)
    (row,) = comparison.rows
    norm = row.accuracy.further["accuracy_norm"]
    assert (norm.value, norm.n) == (0.5, 4) and norm.low < 0.5 < norm.high
    assert comparison.metric == "scored_tokens_per_s" and row.metrics["scored_tokens_per_s"].value == 40.0


def test_totals_with_their_number_of_samples_have_intervals_and_a_difference(logs, opened):
    for cell, accuracy in (("a", 0.66), ("b", 0.60)):
        logs.write(cell, content=[], samples=0, task="mmlu", totals={"accuracy": accuracy, "samples": 14_042})
    logs.write("c", content=[], samples=0, task="mmlu", totals={"accuracy": 0.5})
    with opened() as store:
        base, other, unknown = compare(store).rows
    assert base.accuracy.value.low == pytest.approx(0.652, abs=1e-3)
    assert other.accuracy.difference.value == pytest.approx(-0.06) and other.accuracy.verdict == "lower"
    assert unknown.accuracy.value.low is None and unknown.accuracy.difference.value == pytest.approx(-0.16)
    assert unknown.accuracy.verdict == "no difference shown"


def swept(logs, values, logprob, rounds=2, seconds=0.5):
    for cell, value in zip("abcdefghi", values, strict=False):
        for r in range(rounds):
            content = [chosen(i, [logprob(value, i), -3.0], 1.0, duration_s=seconds) for i in range(4)]
            logs.write(cell, r, content=content, samples=4, task="mmlu", backend="x", options={"threshold": value})


def inert(store):
    return [str(finding) for finding in findings(store, "exp") if finding.check == "inert-options"]


def test_an_option_over_whose_values_every_log_probability_is_the_same_is_inert(logs, opened):
    swept(logs, [0.5, 0.7, 0.9], lambda value, i: -1.0 - i)
    with opened() as store:
        (text,) = inert(store)
    assert "option 'threshold' changed nothing over 0.5, 0.7, 0.9" in text
    assert "same log-probabilities of every choice, no difference in scored_tokens_per_s shown" in text


def test_weights_that_stay_as_they_are_are_named_by_the_dtype_that_ran(logs, opened):
    for cell, value in (("a", 0.5), ("b", 0.9)):
        for r in range(2):
            options = {"threshold": value, "dtype": "float32"}
            logs.write(cell, r, backend="x", quantisation="none", options=options)
    with opened() as store:
        (text,) = inert(store)
    assert "x float32: " in text


def test_one_round_of_each_value_tells_that_much(logs, opened):
    swept(logs, [0.5, 0.9], lambda value, i: -1.0 - i, rounds=1)
    with opened() as store:
        (text,) = inert(store)
    assert "between 0.5 and 0.9" in text and "with one round it is unknown whether scored_tokens_per_s differs" in text


def test_logs_without_times_are_enough_where_outputs_are_the_same(logs, opened):
    swept(logs, [0.5, 0.9], lambda value, i: -1.0 - i, rounds=1, seconds=None)
    with opened() as store:
        (text,) = inert(store)
    assert "no log has" in text


def test_an_option_that_changed_one_log_probability_is_not_inert(logs, opened):
    swept(logs, [0.5, 0.7, 0.9], lambda value, i: -1.0 - (value if i == 3 and value == 0.9 else 0))
    with opened() as store:
        assert inert(store) == []
