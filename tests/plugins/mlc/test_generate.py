"""Generating: chunks, limits, stop tokens, an early end, sampling, threads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ...at_night import at_night
from ..models import TINY


@pytest.mark.parametrize("length", at_night([1, 5, 6, 7, 15, 16, 17, 31, 32, 33, 64, 70], but=[1, 33]))
def test_a_prompt_may_have_any_length(load, tiny, length):
    ids = [(7 * i) % 400 + 20 for i in range(length)]
    whole = tiny.logits(ids)
    in_chunks = load(TINY, prefill_chunk=16).logits(ids)
    assert whole.shape == (length, tiny.facts.vocabulary_size)
    np.testing.assert_allclose(in_chunks, whole, atol=1e-4)
    first = tiny.steps(ids, 1, ignore_eos=True)[0].token_ids[0]
    assert first == whole[-1].argmax()


def test_decoding_equals_scoring_what_was_decoded(tiny, prompts):
    prompt = prompts[2]
    output = tiny.tokens(prompt, 40)
    rows = tiny.logits((*prompt, *output))[len(prompt) - 1 : -1]
    assert output == rows.argmax(axis=1).tolist()


def test_it_ends_at_the_limit_and_at_the_stop_token(tiny, prompts):
    free = tiny.tokens(prompts[0], 30)
    assert len(free) == 30
    stop = free[10]
    steps = tiny.steps(prompts[0], 30, stop_token_ids=(stop,))
    assert [s.token_ids[0] for s in steps] == free[: free.index(stop) + 1]
    assert all(len(s.token_ids) == 1 and s.forwards == 1 for s in steps)


def test_an_early_end_leaves_a_usable_backend(tiny, prompts):
    from decodebench import Request

    expected = tiny.tokens(prompts[3], 12)
    stream = tiny.backend.generate([Request(prompts[3], 40)])
    next(stream)
    stream.close()
    assert tiny.tokens(prompts[3], 12) == expected == tiny.tokens(prompts[3], 12)


@pytest.mark.nightly
def test_the_cache_grows_with_the_request(load, checkpoints):
    loaded = load(checkpoints["qwen3"])
    ids = [3 + i % 150 for i in range(250)]
    assert len(loaded.tokens(ids, 6)) == 6


@pytest.mark.nightly
def test_two_threads_compute_what_one_does(cli, all_cores):
    command = ("run", "-b", "mlc", "-m", "tiny:target", "--task", "tiny-gsm", "--samples", 3, "--warmup", 0)
    ended = cli(*command, "--rounds", 1, "--set", "n_threads=1,2", "-o", cli.environment["DECODEBENCH_CACHE"] + "/out")
    assert ended.code == 0, ended.err
    rows = cli("compare", cli.environment["DECODEBENCH_CACHE"] + "/out", "--json").json["rows"]
    assert [row["parity"]["verdict"] for row in rows] == ["baseline", "identical"]


@pytest.mark.nightly
def test_draws_follow_the_seed_and_the_distribution(tiny, prompts):
    ask = {"temperature": 1.0, "top_k": 3}
    again = [tiny.tokens(prompts[4], 8, seed=5, **ask) for _ in range(2)]
    assert again[0] == again[1]
    row = tiny.logits(prompts[4])[-1].astype(np.float64)
    best = np.argsort(-row)[:3]
    expected = np.exp(row[best] - row[best].max())
    expected /= expected.sum()
    drawn = Counter(tiny.tokens(prompts[4], 1, seed=seed, **ask)[0] for seed in range(400))
    assert set(drawn) <= set(best.tolist())
    for token, chance in zip(best.tolist(), expected, strict=True):
        assert abs(drawn[token] / 400 - chance) < 4 * (chance * (1 - chance) / 400) ** 0.5 + 1e-3
