"""Sampling follows the request: seed, temperature, top-k, top-p."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from decodebench import Request
from decodebench.core.sdk.torch_sampling import chooser, probabilities

PROMPT = tuple(range(40, 61))


def request(**changes) -> Request:
    return Request(prompt_ids=(1,), max_new_tokens=1, **{"temperature": 1.0, **changes})


def test_the_seed_decides(load, checkpoints):
    loaded = load(checkpoints["Qwen3"])
    drawn = [tuple(loaded.tokens(PROMPT, 16, temperature=1.0, seed=seed, ignore_eos=True)) for seed in (1, 2, 3)]
    assert len(set(drawn)) == 3
    assert tuple(loaded.tokens(PROMPT, 16, temperature=1.0, seed=2, ignore_eos=True)) == drawn[1]


def test_draws_follow_the_softmax_at_the_temperature():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5]])
    expected = (logits / 0.7).softmax(-1)[0] * 4000
    choose = chooser(request(temperature=0.7, seed=5), "cpu")
    counts = torch.bincount(torch.tensor([int(choose(logits)) for _ in range(4000)]), minlength=5)
    assert chisquare(counts.numpy(), expected.double().numpy() * (4000 / expected.double().sum().item())).pvalue > 0.01


@given(
    # In hundredths: logits nearer than that can round to one probability, and then no order is wrong.
    st.lists(st.integers(-800, 800).map(lambda n: n / 100), min_size=2, max_size=30, unique=True),
    st.integers(0, 12),
    st.floats(0.05, 1.0),
    st.floats(0.1, 3.0),
)
def test_what_is_kept_is_what_was_asked_for(values, top_k, top_p, temperature):
    logits = torch.tensor([values])
    found = probabilities(logits, request(top_k=top_k, top_p=top_p, temperature=temperature))[0]
    assert abs(float(found.sum()) - 1) < 1e-5
    assert found.argmax() == logits.argmax()
    kept = int((found > 0).sum())
    if top_k:
        assert kept <= max(top_k, 1)
    full = probabilities(logits, request(top_k=top_k, temperature=temperature))[0].sort(descending=True).values
    assert kept == 1 or float(full[: kept - 1].sum()) < top_p + 1e-6, "one token fewer would have been enough"


def test_top_k_keeps_exactly_k_of_equal_logits_the_smallest_ids_first():
    found = probabilities(torch.tensor([[0.0, 3.0, 3.0, 3.0, 1.0]]), request(top_k=2))[0]
    assert found.tolist() == [0.0, 0.5, 0.5, 0.0, 0.0]


def test_greedy_takes_the_smallest_id_on_a_tie():
    assert int(chooser(request(temperature=0.0), "cpu")(torch.tensor([[0.0, 3.0, 3.0, 1.0]]))) == 1
