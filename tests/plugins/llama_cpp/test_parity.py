"""The converted model computes what transformers computes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import transformers

PROMPT = tuple(range(40, 120, 3))
EXACT = dict(kv_cache_type="f32", flash_attention="off", extra_buffers="off")

FAMILIES = ["qwen3", "qwen2", "llama", "llama-biased", "qwen2-yarn", "qwen3-linear"]


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, load, checkpoints):
    path = checkpoints[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return load(path, **EXACT), model.eval()


def reference_logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def test_logits_agree(pair):
    loaded, model = pair
    tokens = (*PROMPT, *range(200, 260))
    first = loaded.backend.prefill(tokens[:1], len(tokens))
    ours = np.concatenate([first, *(rows.copy() for rows in loaded.backend.behind(tokens[1:]))])
    theirs = reference_logits(model, tokens)
    assert theirs.std() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_greedy_tokens_agree(pair):
    loaded, model = pair
    tokens = loaded.tokens(PROMPT, 64, ignore_eos=True)
    rows = reference_logits(model, (*PROMPT, *tokens[:-1]))[len(PROMPT) - 1 :]
    for token, row in zip(tokens, rows, strict=True):
        assert token == row.argmax() or row.max() - row[token] < 1e-4


def test_facts_agree(pair):
    loaded, model = pair
    assert loaded.facts.parameters - model.num_parameters() in (0, 32)  # 32: the llama3 rope table
    assert loaded.facts.vocabulary_size == model.config.vocab_size
    assert loaded.facts.context_length == 512


def test_scores_agree(pair):
    loaded, model = pair
    tokens = (*PROMPT, *range(300, 310))
    scores = loaded.backend.score(tokens, top_k=5)
    expected = torch.log_softmax(torch.tensor(reference_logits(model, tokens)).double(), -1).numpy()[:-1]
    np.testing.assert_allclose(scores.logprobs[1:], expected[np.arange(len(tokens) - 1), tokens[1:]], atol=1e-3)
    assert np.isnan(scores.logprobs[0]) and not scores.is_greedy[0] and len(scores.top_ids[0]) == 0
    for ids, values, row in zip(scores.top_ids[1:], scores.top_logprobs[1:], expected, strict=True):
        np.testing.assert_allclose(values, np.sort(row)[::-1][:5], atol=1e-3)
        np.testing.assert_allclose(row[list(ids)], values, atol=1e-3)
