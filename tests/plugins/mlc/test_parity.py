"""What is computed is what transformers computes, with float32 weights and with quantised ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ...at_night import at_night
from ..models import TINY, assert_shares_a_prompt, torch_logits, torch_model

PROMPT = tuple(range(40, 110))


def grouped(bits, scale_dtype):
    """Return what weights become under MLC's group quantisation, written from its definition."""

    def unpack(weights):
        groups = weights.reshape(weights.shape[0], -1, 32)
        most = 2 ** (bits - 1) - 1
        scale = (np.abs(groups).max(axis=2, keepdims=True) / most).astype(scale_dtype).astype(np.float32)
        # divided in float32: a weight of half the largest lies between two steps, and rounding decides
        steps = np.clip(np.round(groups / np.where(scale > 0, scale, 1)), -most, most)
        return (steps * scale).reshape(weights.shape)

    return unpack


HALF = np.float16
QUANTISED = {
    # what matrices become, what vectors become, bits per weight of a matrix
    "q0f16": (lambda w: w.astype(HALF), HALF, 16),
    "q4f16_1": (lambda w: grouped(4, HALF)(w.astype(HALF).astype(np.float32)), HALF, 4.5),
    "q4f32_1": (grouped(4, np.float32), np.float32, 5),
    "q8f16_g32": (lambda w: grouped(8, HALF)(w.astype(HALF).astype(np.float32)), HALF, 8.5),
}


def test_greedy_answers_equal_those_of_transformers(tiny, reference, prompts):
    for prompt in prompts:
        output = tiny.tokens(prompt, 24)
        rows = torch_logits(reference, (*prompt, *output[:-1]))[len(prompt) - 1 :]
        for token, row in zip(output, rows, strict=True):
            assert token == row.argmax() or row.max() - row[token] < 1e-4


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name",
    ["qwen3", "qwen2", "llama3", "phi3", "granite", "olmo2", "smollm3", "odd-vocabulary"],
)
def test_logits_of_every_family_agree(load, checkpoints, name):
    theirs = torch_logits(torch_model(checkpoints[name]), PROMPT)
    assert theirs.std() > 0.5
    np.testing.assert_allclose(load(checkpoints[name]).logits(PROMPT), theirs, atol=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("name", at_night(QUANTISED, but=["q4f16_1"]))
def test_quantised_weights_are_what_the_format_says(load, prompts, name):
    matrices, vectors, bits = QUANTISED[name]
    model = torch_model(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            values = parameter.numpy()
            changed = matrices(values) if values.ndim == 2 else values.astype(vectors)
            parameter.copy_(torch.from_numpy(np.asarray(changed, dtype=np.float32)))
    ids = prompts[0][:48]
    loaded = load(TINY, name)
    np.testing.assert_allclose(loaded.logits(ids), torch_logits(model, ids), atol=2e-3)
    quantised = 8 * loaded.facts.weight_bytes / loaded.facts.parameters
    assert bits <= quantised < bits + 0.1


def test_scores_agree_with_transformers(tiny, reference, prompts):
    ids = prompts[1]
    rows = torch.log_softmax(torch.from_numpy(torch_logits(reference, ids)).double(), -1).numpy()
    scores = tiny.backend.score(ids, top_k=3)
    assert np.isnan(scores.logprobs[0]) and scores.top_ids[0] == []
    for at in range(1, len(ids)):
        assert scores.logprobs[at] == pytest.approx(rows[at - 1][ids[at]], abs=1e-4)
        assert scores.is_greedy[at] == (rows[at - 1].argmax() == ids[at])
        assert scores.top_ids[at][0] == rows[at - 1].argmax()
    assert_shares_a_prompt(tiny.backend, prompts[0], prompts[1])
