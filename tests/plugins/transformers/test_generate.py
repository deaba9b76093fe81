"""Generation keeps the contract and agrees with the engine's own ``generate``."""

from __future__ import annotations

import pytest
import torch
import transformers

from decodebench import Request

from .conftest import FAMILIES

PROMPT = tuple(range(40, 61))


def generate(path, prompt, limit: int) -> list[int]:
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    ids = torch.tensor([prompt])
    output = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False, pad_token_id=0
    )
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("cache", "attention"), [("dynamic", "sdpa"), ("static", "sdpa"), ("dynamic", "eager")])
def test_greedy_equals_the_engines_own_generate(load, checkpoints, family, cache, attention):
    ours = load(checkpoints[family], cache=cache, attention=attention)
    assert ours.tokens(PROMPT, 40, ignore_eos=True) == generate(checkpoints[family], PROMPT, 40)


def test_one_token_per_step_and_exactly_as_many_as_asked(load, checkpoints):
    steps = load(checkpoints["Qwen3"]).steps(PROMPT, 9, ignore_eos=True)
    assert [(len(step.token_ids), step.forwards) for step in steps] == [(1, 1)] * 9


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_the_stop_token_ends_and_is_committed(load, checkpoints, cache):
    loaded = load(checkpoints["Qwen3"], cache=cache)
    free = loaded.tokens(PROMPT, 24, ignore_eos=True)
    stop = free[7]
    assert loaded.tokens(PROMPT, 24, stop_token_ids=(stop,)) == free[: free.index(stop) + 1]
    assert loaded.tokens(PROMPT, 24, stop_token_ids=(stop,), ignore_eos=True) == free


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_no_state_survives_a_request(load, checkpoints, cache):
    loaded = load(checkpoints["Llama"], cache=cache)
    expected = loaded.tokens(PROMPT, 12, ignore_eos=True)
    loaded.tokens(range(50, 150), 300, ignore_eos=True)  # longer: a static cache grows
    assert loaded.tokens(PROMPT, 12, ignore_eos=True) == expected


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_early_close_leaves_a_usable_backend(load, checkpoints, cache):
    loaded = load(checkpoints["Qwen2"], cache=cache)
    expected = loaded.tokens(PROMPT, 12, ignore_eos=True)
    steps = loaded.backend.generate([Request(PROMPT[:7], 30, ignore_eos=True)])
    next(steps), next(steps)
    steps.close()
    assert loaded.tokens(PROMPT, 12, ignore_eos=True) == expected


def test_gradients_are_left_as_the_caller_had_them(load, checkpoints):
    steps = load(checkpoints["Qwen3"]).backend.generate([Request(PROMPT, 3, ignore_eos=True)])
    next(steps)
    assert not torch.is_inference_mode_enabled(), "inference mode leaked out of a suspended generator"
    steps.close()


@pytest.mark.nightly
def test_a_compiled_step_gives_the_same_tokens(tmp_path, load, checkpoints):
    plain = load(checkpoints["Qwen3"], cache="static").tokens(PROMPT, 12, ignore_eos=True)
    assert load(checkpoints["Qwen3"], cache="static", compile=True).tokens(PROMPT, 12, ignore_eos=True) == plain


@pytest.mark.nightly
def test_a_compiled_step_is_compiled_once(load, checkpoints):
    torch._dynamo.utils.counters.clear()
    loaded = load(checkpoints["Qwen3"], cache="static", compile=True)
    loaded.tokens(PROMPT, 12, ignore_eos=True)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    loaded.tokens(PROMPT, 40, ignore_eos=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
