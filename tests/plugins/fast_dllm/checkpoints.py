"""Tiny random checkpoints of the three families under exactly the published tensor names and configuration keys."""

from __future__ import annotations

import json
from pathlib import Path

from ..models import random_tensors

VOCAB, MASK, STOP = 64, 63, 2
WIDTH, FFN, LAYERS, HEADS, KV_HEADS = 32, 48, 4, 4, 2
HEAD_DIM = WIDTH // HEADS

QWEN = {
    "hidden_size": WIDTH,
    "intermediate_size": FFN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "vocab_size": VOCAB,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": None,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "use_sliding_window": False,
    "eos_token_id": STOP,
}
CONFIGS = {
    "v2": QWEN
    | {
        "architectures": ["Fast_dLLM_QwenForCausalLM"],
        "model_type": "Fast_dLLM_Qwen",
        "auto_map": {
            "AutoConfig": "configuration.Fast_dLLM_QwenConfig",
            "AutoModel": "modeling.Fast_dLLM_QwenModel",
            "AutoModelForCausalLM": "modeling.Fast_dLLM_QwenForCausalLM",
        },
        "bd_size": 8,
        "conplemenrary_mask": True,
        "layer_types": ["full_attention"] * LAYERS,
    },
    "dream": QWEN | {"architectures": ["DreamModel"], "model_type": "Dream", "mask_token_id": MASK},
    "llada": {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "alibi": False,
        "attention_layer_norm": False,
        "block_type": "llama",
        "d_model": WIDTH,
        "embedding_size": VOCAB,
        "eos_token_id": STOP,
        "include_bias": False,
        "include_qkv_bias": False,
        "input_emb_norm": False,
        "layer_norm_type": "rms",
        "mask_token_id": MASK,
        "max_sequence_length": 512,
        "mlp_hidden_size": FFN,
        "multi_query_attention": None,
        "n_heads": HEADS,
        "n_kv_heads": HEADS,
        "n_layers": LAYERS,
        "rms_norm_eps": 1e-5,
        "rope": True,
        "rope_theta": 500000.0,
        "scale_logits": False,
        "vocab_size": VOCAB,
        "weight_tying": False,
    },
}


def qwen_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of Qwen2ForCausalLM, which v2 and Dream share."""
    queries, keys = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    shapes = {"model.embed_tokens.weight": (VOCAB, WIDTH), "model.norm.weight": (WIDTH,)}
    shapes["lm_head.weight"] = (VOCAB, WIDTH)
    for layer in range(LAYERS):
        part = f"model.layers.{layer}."
        shapes |= {f"{part}{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
        for name, rows in {"q": queries, "k": keys, "v": keys}.items():
            shapes[f"{part}self_attn.{name}_proj.weight"] = (rows, WIDTH)
            shapes[f"{part}self_attn.{name}_proj.bias"] = (rows,)
        shapes[f"{part}self_attn.o_proj.weight"] = (WIDTH, queries)
        shapes |= {f"{part}mlp.{name}_proj.weight": (FFN, WIDTH) for name in ("gate", "up")}
        shapes[f"{part}mlp.down_proj.weight"] = (WIDTH, FFN)
    return shapes


def llada_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of LLaDAModelLM."""
    top = "model.transformer."
    shapes = {f"{top}wte.weight": (VOCAB, WIDTH), f"{top}ln_f.weight": (WIDTH,), f"{top}ff_out.weight": (VOCAB, WIDTH)}
    for layer in range(LAYERS):
        part = f"{top}blocks.{layer}."
        shapes |= {f"{part}{name}.weight": (WIDTH,) for name in ("attn_norm", "ff_norm")}
        shapes |= {f"{part}{name}.weight": (WIDTH, WIDTH) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        shapes |= {f"{part}{name}.weight": (FFN, WIDTH) for name in ("ff_proj", "up_proj")}
        shapes[f"{part}ff_out.weight"] = (WIDTH, FFN)
    return shapes


def save(folder: Path, family: str, seed: int = 5, **changes) -> Path:
    """Write a checkpoint; ``changes`` replace keys of its configuration."""
    from safetensors.torch import save_file

    tensors = random_tensors(llada_shapes() if family == "llada" else qwen_shapes(), seed, scale=0.35)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIGS[family] | changes))
    if family == "v2":  # its mask token stands in the tokenizer's files alone
        (folder / "added_tokens.json").write_text(json.dumps({"<|im_end|>": STOP, "|<MASK>|": MASK}))
    return folder
