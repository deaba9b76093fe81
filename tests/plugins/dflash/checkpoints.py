"""Tiny random checkpoints: targets of three families as transformers writes them, drafts with the published names."""

from __future__ import annotations

import json
from pathlib import Path

from ..models import random_tensors, save_checkpoint

SHAPE = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    initializer_range=0.3,
)
MASK = 63


def save_target(folder: Path, family: str = "Qwen3", **changes) -> Path:
    extra = {"head_dim": 8} if family.startswith("Qwen3") else {}
    return save_checkpoint(folder, family, **{**SHAPE, **extra, **changes})


def draft_config(**changes) -> dict:
    """The published keys of a draft for ``save_target``."""
    nested = {"mask_token_id": MASK, "target_layer_ids": [0, 1]} | changes.pop("dflash_config", {})
    config = {
        "architectures": ["DFlashDraftModel"],
        "auto_map": {"AutoModel": "dflash.DFlashDraftModel"},
        "model_type": "qwen3",
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_hidden_layers": 2,
        "vocab_size": 64,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "max_position_embeddings": 512,
        "attention_bias": False,
        "hidden_act": "silu",
        "layer_types": ["full_attention"] * 2,
        "sliding_window": None,
        "use_sliding_window": False,
        "block_size": 8,
        "num_target_layers": 3,
        "dtype": "float32",
    }
    return config | changes | {"dflash_config": nested}


def draft_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Every tensor of a draft with its shape: the published names."""
    hidden, ffn, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    shapes = {"fc.weight": (hidden, len(config["dflash_config"]["target_layer_ids"]) * hidden)}
    shapes |= {"hidden_norm.weight": (hidden,), "norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        part = f"layers.{layer}."
        shapes |= {f"{part}{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
        shapes |= {f"{part}self_attn.{name}_norm.weight": (head_dim,) for name in "qk"}
        rows = {"q": queries, "k": keys, "v": keys, "o": hidden}
        for name, size in rows.items():
            shapes[f"{part}self_attn.{name}_proj.weight"] = (size, queries if name == "o" else hidden)
            if config["attention_bias"]:
                shapes[f"{part}self_attn.{name}_proj.bias"] = (size,)
        shapes |= {f"{part}mlp.{name}_proj.weight": (ffn, hidden) for name in ("gate", "up")}
        shapes[f"{part}mlp.down_proj.weight"] = (hidden, ffn)
    return shapes


def draft_tensors(config: dict, seed: int = 5) -> dict:
    return random_tensors(draft_shapes(config), seed, scale=0.3)


def save_draft(folder: Path, config: dict, tensors: dict) -> None:
    """Write ``config.json`` and ``model.safetensors``; tensors by published name."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def save_random_draft(folder: Path, prefix: str = "", **changes) -> Path:
    """Write a draft; ``dflash_config={"mask_token_id": None}`` and the like make broken ones."""
    config = draft_config(**changes)
    save_draft(folder, config, {prefix + name: tensor for name, tensor in draft_tensors(config).items()})
    return folder


def edit_config(folder: Path, **changes) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
