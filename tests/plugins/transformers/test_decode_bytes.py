"""What a decode step reads, against the tensors themselves."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from decodebench.plugins.transformers.decode_bytes import kv_bytes_per_token, read_weight_bytes

from ..models import save_checkpoint

EMBEDDING = 160 * 64  # weights of the token table


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tied_table_is_read_as_the_output_layer(load, checkpoints, dtype):
    facts = load(checkpoints["Qwen3"], dtype=dtype).facts
    assert facts.read_weight_bytes == facts.weight_bytes


def test_a_table_of_its_own_is_only_looked_up_in(load, tmp_path):
    facts = load.anew(save_checkpoint(tmp_path / "m", "Qwen2", tie_word_embeddings=False)).facts
    assert "lm_head.weight" in load_file(tmp_path / "m" / "model.safetensors")
    assert facts.read_weight_bytes == facts.weight_bytes - 4 * EMBEDDING


def test_int8_reads_the_small_copy_and_not_the_table(load, checkpoints):
    facts = load(checkpoints["Llama"], "int8").facts
    assert facts.read_weight_bytes == facts.weight_bytes - 4 * EMBEDDING


@pytest.mark.parametrize("family", ["Qwen3", "Qwen2", "Llama"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_position_takes_what_the_cache_grows_by(load, checkpoints, family, dtype):
    from transformers import DynamicCache

    loaded = load(checkpoints[family], dtype=dtype)
    model = loaded.backend._model
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(input_ids=torch.arange(40, 47)[None], past_key_values=cache)
    grown = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert loaded.facts.kv_bytes_per_token * 7 == grown


def random_model(family: str, **changes):
    import transformers

    sizes = dict(vocab_size=160, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
    config = getattr(transformers, f"{family}Config")(**{**sizes, **changes})
    return transformers.AutoModelForCausalLM.from_config(config)


def test_a_sliding_window_leaves_the_context_open():
    assert kv_bytes_per_token(random_model("Mistral", sliding_window=8)) is None
    assert kv_bytes_per_token(random_model("Mistral", sliding_window=None)) is not None


def test_fused_projections_are_not_guessed_at():
    assert kv_bytes_per_token(random_model("GPT2")) is None


def test_learned_positions_are_looked_up_too():
    model = random_model("GPT2")
    positions = model.transformer.wpe.weight
    assert read_weight_bytes(model) == sum(each.nbytes for each in model.parameters()) - positions.nbytes


def test_idle_experts_are_not_guessed_at():
    assert read_weight_bytes(random_model("Mixtral", num_local_experts=2)) is None
