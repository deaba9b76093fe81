"""Every family of decoders as GGUF and back: the engine's logits are those of transformers, the way back is exact."""

from __future__ import annotations

import json

import numpy as np
import pytest

from decodebench.core.errors import ModelError
from decodebench.core.sdk.checkpoint import Checkpoint
from decodebench.core.sdk.gguf.folder import as_folder
from decodebench.core.sdk.tokenizer import Codec

from ...texts import texts
from ..models import resolve, torch_logits, torch_model
from .conftest import byte_level_tokenizer, save_checkpoint, sentencepiece_tokenizer
from .test_prepare import prepare

# GELU comes from a table of 16-bit floats
ROUNDED = {"gemma3": 2e-2}
# llama.cpp changes the tokenizer of what is called phi3: hence "fused"
FAMILIES = {
    "mistral": ("Mistral", dict(sliding_window=64, head_dim=64)),
    "gemma3": (
        "Gemma3",
        dict(num_hidden_layers=7, head_dim=32, sliding_window=16, query_pre_attn_scalar=32, tie_word_embeddings=True),
    ),
    "fused": ("Phi3", dict(sliding_window=None)),
    "smollm3": ("SmolLM3", dict(num_hidden_layers=5, tie_word_embeddings=True)),
    "granite": (
        "Granite",
        dict(embedding_multiplier=6.0, attention_multiplier=0.1, residual_multiplier=0.4, logits_scaling=5.0),
    ),
    "qwen3moe": ("Qwen3Moe", dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=96, head_dim=32,
                                  norm_topk_prob=True)),
    "olmo2": ("Olmo2", dict(tie_word_embeddings=False)),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of each family, made when it is first asked for."""
    root, made = tmp_path_factory.mktemp("families"), {}

    def get(name):
        if name not in made:
            family, changes = FAMILIES[name]
            is_pieces = name in ("gemma3", "fused", "mistral")
            tokenizer = sentencepiece_tokenizer() if is_pieces else byte_level_tokenizer("qwen2")
            made[name] = save_checkpoint(root / name, family, tokenizer, **changes)
        return made[name]

    return get


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_transformers(load, folders, name):
    ids = [int(n) for n in np.random.default_rng(3).integers(3, 470, 60)]
    loaded = load(folders(name), "f32", kv_cache_type="f32", flash_attention="off", extra_buffers="off")
    rows = torch_logits(torch_model(folders(name)), ids)[:-1]
    expected = rows - np.logaddexp.reduce(rows.astype(np.float64), axis=1, keepdims=True)
    expected = expected[np.arange(len(ids) - 1), ids[1:]]
    assert np.abs(np.array(loaded.backend.score(ids).logprobs[1:]) - expected).max() < ROUNDED.get(name, 2e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_way_back_from_gguf_gives_the_same_folder(cache, folders, name):
    folder = folders(name)
    back = as_folder(resolve(prepare(folder, "f32", cache).path), cache)
    ours, theirs = Checkpoint(back.path), Checkpoint(folder)
    assert ours.config["architectures"] == (
        ["LlamaForCausalLM"] if name == "mistral" else theirs.config["architectures"]
    )
    assert ours.tensors.keys() == theirs.tensors.keys()
    for tensor, stored in theirs.tensors.items():
        np.testing.assert_allclose(ours.tensors[tensor].read(), stored.read(), rtol=0, atol=2e-7, err_msg=tensor)
    codecs = Codec(back.path, None), Codec(folder, None)
    for text in texts(40, 3, ("<|im_end|>", "</s>")):
        assert codecs[0].encode(text) == codecs[1].encode(text)
    if name != "mistral":  # in GGUF a Llama without its window
        ids = [int(n) for n in np.random.default_rng(4).integers(3, 470, 30)]
        for a, b in [(torch_logits(torch_model(path), ids) for path in (back.path, folder))]:
            np.testing.assert_allclose(a, b, atol=1e-4)


REFUSED = {
    "smollm3": ({"no_rope_layers": [1, 1, 0, 1, 1]}, "no_rope_layers is not supported"),
    "gemma3": ({"query_pre_attn_scalar": 64}, "query_pre_attn_scalar = 64 is not supported"),
    "qwen3moe": ({"norm_topk_prob": False}, "norm_topk_prob = False is not supported"),
    "fused": ({"rope_parameters": {"rope_type": "longrope"}}, "longrope.*known types for phi3: default"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_graph_takes_for_granted_is_checked(cache, folders, tmp_path, name):
    changes, message = REFUSED[name]
    config = json.loads((folders(name) / "config.json").read_text())
    for file in folders(name).iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelError, match=message):
        prepare(tmp_path, "f32", cache)
