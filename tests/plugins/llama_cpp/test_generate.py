"""Generation keeps the contract."""

from __future__ import annotations

import pytest

from decodebench.core.contract.generation import Request
from decodebench.core.errors import BackendError, UsageError

from ..models import assert_shares_a_prompt

PROMPT = tuple(range(40, 80))


def test_one_token_per_step_and_exactly_as_many_as_asked(qwen3):
    steps = qwen3.steps(PROMPT, 9, ignore_eos=True)
    assert [len(step.token_ids) for step in steps] == [1] * 9
    assert [step.forwards for step in steps] == [1] * 9


def test_one_new_token_needs_no_decode(qwen3):
    qwen3.backend.counters()
    assert len(qwen3.tokens(PROMPT, 1)) == 1
    counters = qwen3.backend.counters().own
    assert counters["engine_prompt_eval_tokens"] == len(PROMPT)
    assert counters["engine_eval_tokens"] == 0


def test_counters_are_the_engines_own_and_reset(qwen3):
    qwen3.backend.counters()
    qwen3.tokens(PROMPT, 10, ignore_eos=True)
    counters = qwen3.backend.counters().own
    assert counters["engine_eval_tokens"] == 9
    assert counters["engine_eval_s"] > 0 and counters["engine_prompt_eval_s"] > 0
    assert qwen3.backend.counters().own["engine_eval_tokens"] == 0


def test_stop_token_ends_and_is_committed(qwen3):
    free = qwen3.tokens(PROMPT, 24, ignore_eos=True)
    stop = free[7]
    expected = free[: free.index(stop) + 1]
    assert qwen3.tokens(PROMPT, 24, stop_token_ids=(stop,)) == expected
    assert qwen3.tokens(PROMPT, 24, stop_token_ids=(stop,), ignore_eos=True) == free


def test_early_close_leaves_a_usable_backend(qwen3):
    expected = qwen3.tokens(PROMPT, 12)
    for request in (Request(PROMPT[:11], 30), Request(PROMPT[:11], 30, temperature=1.0)):
        steps = qwen3.backend.generate([request])
        next(steps), next(steps)
        steps.close()
    assert qwen3.tokens(PROMPT, 12) == expected


def test_prefill_in_chunks_gives_the_same_tokens(load, checkpoints, qwen3):
    options = dict(kv_cache_type="f32", flash_attention="off", extra_buffers="off")
    chunked = load(checkpoints["qwen3"], n_batch=8, n_ubatch=4, **options)
    assert chunked.tokens(PROMPT, 12) == qwen3.tokens(PROMPT, 12)
    assert chunked.steps(PROMPT, 1)[0].forwards == 5


def test_sampling_depends_on_the_seed_alone(qwen3):
    sampling = dict(temperature=1.5, top_p=0.95, top_k=40)
    first = qwen3.tokens(PROMPT, 24, seed=3, **sampling)
    assert qwen3.tokens(PROMPT, 24, seed=4, **sampling) != first
    assert qwen3.tokens(PROMPT, 24, seed=3, **sampling) == first


@pytest.mark.parametrize("seed", [2**32 - 1, 2**40])
def test_every_seed_is_deterministic(qwen3, seed):
    assert qwen3.tokens(PROMPT, 24, seed=seed, temperature=2.0) == qwen3.tokens(PROMPT, 24, seed=seed, temperature=2.0)


def test_top_k_one_is_greedy(qwen3):
    assert qwen3.tokens(PROMPT, 12, temperature=1.0, top_k=1) == qwen3.tokens(PROMPT, 12)


def test_tiny_nucleus_is_greedy(qwen3):
    assert qwen3.tokens(PROMPT, 12, temperature=1.0, top_p=1e-6) == qwen3.tokens(PROMPT, 12)


def test_sampled_frequencies_follow_the_scores(qwen3):
    scores = qwen3.backend.score((*PROMPT, 0), top_k=3)
    top, logprob = scores.top_ids[-1][0], scores.top_logprobs[-1][0]
    drawn = [qwen3.tokens(PROMPT, 1, temperature=1.0, seed=seed)[0] for seed in range(300)]
    share, expected = drawn.count(top) / 300, 2.718281828**logprob
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 300) ** 0.5


def test_score_calls_the_generated_tokens_greedy(qwen3):
    tokens = qwen3.tokens(PROMPT, 20, ignore_eos=True)
    scores = qwen3.backend.score((*PROMPT, *tokens), top_k=1)
    assert all(scores.is_greedy[len(PROMPT) :])
    assert [ids[0] for ids in scores.top_ids[len(PROMPT) :]] == tokens
    assert_shares_a_prompt(qwen3.backend, PROMPT, tokens, atol=1e-3)


def test_four_choices_evaluate_their_prompt_once(qwen3):
    prompt, choices = list(range(3, 103)), [[5], [6, 7], [8, 9, 10], [11]]
    qwen3.backend.score([1, 2])  # any sequence before
    qwen3.backend.counters()
    qwen3.backend.score_continuations(prompt, choices)
    counted = qwen3.backend.counters().own
    assert counted["engine_prompt_eval_tokens"] + counted["engine_eval_tokens"] == 100 + 0 + 1 + 2 + 0


def test_context_grows_with_the_request_up_to_the_models_limit(load, checkpoints):
    loaded = load(checkpoints["qwen2"], n_ctx=None)
    assert len(loaded.tokens(PROMPT, 512 - len(PROMPT) + 1, ignore_eos=True)) == 512 - len(PROMPT) + 1
    with pytest.raises(BackendError, match="need 513 positions; the context has 512"):
        loaded.tokens(PROMPT, 512 - len(PROMPT) + 2)


def test_n_ctx_limits_and_is_checked(load, checkpoints):
    loaded = load(checkpoints["qwen2"], n_ctx=256)
    assert loaded.facts.settings["n_ctx"] == "256" and loaded.facts.context_length == 256
    with pytest.raises(BackendError, match="the context has 256"):
        loaded.tokens(PROMPT, 300)
    with pytest.raises(UsageError, match="n_ctx=4096 exceeds .* 512"):
        load(checkpoints["qwen2"], n_ctx=4096)


def test_bad_requests_are_refused(qwen3):
    with pytest.raises(BackendError, match="no tokens"):
        qwen3.backend.generate([Request((), 1)])
    with pytest.raises(BackendError, match="llama_decode returned -1"):
        qwen3.tokens((1, 2, 100_000), 1)
    assert len(qwen3.tokens(PROMPT, 2)) == 2


@pytest.mark.parametrize(
    "options",
    [
        dict(kv_cache_type="q8_0"),
        dict(kv_cache_type="bf16"),
        dict(flash_attention="on"),
        dict(mmap=False),
        dict(n_threads=2),
    ],
    ids=str,
)
def test_options_change_speed_not_the_answer(load, checkpoints, qwen3, options):
    token = load(checkpoints["qwen3"], **options).tokens(PROMPT, 1)[0]
    best, same = (qwen3.backend.score((*PROMPT, t), top_k=1) for t in (0, token))
    assert best.top_logprobs[-1][0] - same.logprobs[-1] < 0.05
