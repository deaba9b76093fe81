"""What is computed is what transformers computes, with float32 weights and with packed ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ..models import TINY, assert_shares_a_prompt, torch_logits, torch_model

PROMPT = tuple(range(40, 110))
# The 4-bit NormalFloat values as QLoRA's appendix E prints them.
NF4 = np.array(
    [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0]
    + [0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]
)


def int8(weights):
    scale = np.abs(weights).max(axis=1, keepdims=True) / 127
    return np.round(weights / scale) * scale


def fp8(weights):
    scale = np.abs(weights).max(axis=1, keepdims=True) / 448
    codes = torch.from_numpy(weights / scale).to(torch.float8_e4m3fn)
    return codes.float().numpy() * scale


def nf4(weights):
    blocks = weights.reshape(-1, 64)
    scale = np.abs(blocks).max(axis=1, keepdims=True).astype(np.float16).astype(np.float64)
    nearest = np.abs((blocks / scale)[..., None] - NF4).argmin(-1)
    return (NF4[nearest] * scale).reshape(weights.shape)


PACKED = {
    # name: what the weights become, bits per weight of a row of n weights
    "float16": (lambda weights: weights.astype(np.float16), lambda n: 16),
    "int8": (int8, lambda n: 8 + 32 / n),
    "fp8": (fp8, lambda n: 8 + 32 / n),
    "nf4": (nf4, lambda n: 4 + 16 / 64),
}


def test_greedy_answers_equal_those_of_transformers(tiny, reference, prompts):
    for prompt in prompts:
        output = tiny.tokens(prompt, 24)
        rows = torch_logits(reference, (*prompt, *output[:-1]))[len(prompt) - 1 :]
        for token, row in zip(output, rows, strict=True):
            assert token == row.argmax() or row.max() - row[token] < 1e-4


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["qwen3", "qwen2", "qwen2-linear", "llama3", "llama-biased"])
def test_logits_of_every_family_agree(load, checkpoints, name):
    theirs = torch_logits(torch_model(checkpoints[name]), PROMPT)
    assert theirs.std() > 0.5
    np.testing.assert_allclose(load(checkpoints[name]).logits(PROMPT), theirs, atol=2e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_are_what_the_format_says(load, prompts, name):
    unpack, _ = PACKED[name]
    model = torch_model(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.from_numpy(np.asarray(unpack(parameter.numpy()), dtype=np.float32)))
    ids = prompts[0][:48]
    theirs = torch_logits(model, ids)
    np.testing.assert_allclose(load(TINY, name).logits(ids), theirs, atol=2e-3 * np.abs(theirs).max())


@pytest.mark.nightly
@pytest.mark.parametrize("name", PACKED)
def test_bytes_and_bits_are_those_of_the_format(load, name):
    _, bits = PACKED[name]
    loaded = load(TINY, name)
    shapes = [tensor.shape for tensor in load_file(TINY / "model.safetensors").values()]
    expected = sum(r[0] * r[1] * bits(r[1]) / 8 if len(r) == 2 else 4 * r[0] for r in shapes)
    assert loaded.facts.weight_bytes == loaded.prepared.weight_bytes == expected
    stated = next(q.bits_per_weight for q in loaded.backend.quantisations() if q.name == name)
    assert loaded.prepared.bits_per_weight == pytest.approx(stated, rel=0.02)


@pytest.mark.parametrize("name", ["float32", *PACKED])
def test_the_stated_bytes_are_the_bytes_in_memory(name):
    from decodebench.plugins.tinygrad.matrices import FORMATS

    matrix = FORMATS[name](np.random.default_rng(3).normal(size=(24, 128)).astype(np.float32))
    assert sum(tensor.nbytes() for tensor in vars(matrix).values()) == FORMATS[name].nbytes(24, 128)


@pytest.mark.nightly
@pytest.mark.parametrize("name", PACKED)
def test_packed_models_still_generate(load, prompts, tiny, name):
    ours, plain = (model.tokens(prompts[0], 8) for model in (load(TINY, name), tiny))
    assert len(ours) == 8
    if name != "nf4":
        assert ours[:4] == plain[:4]


def test_scores_are_those_of_transformers(tiny, reference, prompts):
    ids = (*prompts[1], *tiny.tokens(prompts[1], 12))
    scores = tiny.backend.score(ids, top_k=3)
    expected = torch.from_numpy(torch_logits(reference, ids)).double().log_softmax(-1)
    assert np.isnan(scores.logprobs[0]) and not scores.is_greedy[0] and list(scores.top_ids[0]) == []
    chosen = [float(expected[at - 1, token]) for at, token in enumerate(ids) if at]
    assert scores.logprobs[1:] == pytest.approx(chosen, abs=1e-3)
    assert sum(scores.logprobs[1:]) == pytest.approx(sum(chosen), abs=1e-2)
    for at in range(1, len(ids)):
        assert scores.top_logprobs[at] == pytest.approx(expected[at - 1].topk(3).values.tolist(), abs=1e-3)
    assert all(scores.is_greedy[len(prompts[1]) :])
    assert_shares_a_prompt(tiny.backend, prompts[0], prompts[1], atol=1e-3)


def test_half_precision_is_exact_for_subnormal_numbers(tiny):
    from tinygrad import Tensor, dtypes

    from decodebench.plugins.tinygrad.matrices import Float16

    bits = np.arange(65536, dtype=np.uint16)
    finite = bits.view(np.float16)[np.isfinite(bits.view(np.float16))].astype(np.float32)
    matrix = Float16(finite[: len(finite) // 64 * 64].reshape(-1, 64))
    rows = matrix.rows(Tensor(list(range(len(finite) // 64)), dtype=dtypes.int32)).numpy()
    np.testing.assert_array_equal(rows.ravel(), finite[: rows.size])
