"""What a decode step reads, against the tensors of the file."""

from __future__ import annotations

import pytest
from gguf import GGUFReader


def bytes_of(path, *names) -> int:
    tensors = {tensor.name: int(tensor.n_bytes) for tensor in GGUFReader(path).tensors}
    return sum(tensors[name] for name in names)


@pytest.mark.parametrize("quantisation", ["f32", "q4_0"])
def test_a_table_of_its_own_is_only_looked_up_in(load, checkpoints, quantisation):
    loaded = load(checkpoints["qwen2"], quantisation)
    table = bytes_of(loaded.prepared.path, "token_embd.weight")
    assert bytes_of(loaded.prepared.path, "output.weight") > 0
    assert loaded.facts.read_weight_bytes == loaded.facts.weight_bytes - table


def test_a_tied_table_is_read_as_the_output_layer(qwen3):
    assert "output.weight" not in {tensor.name for tensor in GGUFReader(qwen3.prepared.path).tensors}
    assert qwen3.facts.read_weight_bytes == qwen3.facts.weight_bytes


@pytest.mark.parametrize(
    ("family", "kv_cache_type", "expected"),
    [
        ("qwen3", "f32", 2 * 2 * 2 * 64 * 4),  # layers, keys and values, heads, their size, bytes
        ("qwen2", "f16", 2 * 2 * 2 * 64 * 2),
        ("qwen2", "q8_0", 2 * 2 * 2 * 64 * 34 // 32),  # 32 numbers of a byte and their scale
        ("llama", "q4_0", 2 * 2 * 2 * 64 * 18 // 32),
    ],
)
def test_a_position_takes_what_its_number_format_takes(load, checkpoints, family, kv_cache_type, expected):
    loaded = load(checkpoints[family], kv_cache_type=kv_cache_type)
    assert loaded.facts.kv_bytes_per_token == expected


def test_a_head_that_is_wider_than_its_share_counts_as_wide_as_it_is(load, checkpoints, tmp_path_factory):
    from .conftest import byte_level_tokenizer, save_checkpoint

    folder = tmp_path_factory.mktemp("wide")
    save_checkpoint(folder, "Qwen3", byte_level_tokenizer("qwen2"), head_dim=128, tie_word_embeddings=True)
    assert load(folder, kv_cache_type="f16").facts.kv_bytes_per_token == 2 * 2 * 2 * 128 * 2
