"""Shapes of the family's diffusion models, their published parameter names, and how they begin as `tiny:target`.

Fast-dLLM v2 (arXiv 2509.26328) is a Qwen2 state dict, LLaDA (arXiv 2502.09992) a LLaMA-like one with names of its
own. Neither normalises queries and keys per head as Qwen3 does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from decodebench.plugins.reference.family import MASK_ID
from decodebench.plugins.reference.shapes import EMBEDDING, BlockDiffusionShape, Shape, without_head_norms

from .network import Weights, forward, norm
from .packing import Batch, causal_mask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LladaShape(Shape):
    """The size of a LLaDA network: LLaMA layers (no biases, no norms of queries and keys), tied embeddings."""

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name every weight with its dimensions."""
        return without_head_norms(Shape.tensors(self))

    def hf_config(self, *, eos_token_id: int, pad_token_id: int, dtype: str) -> dict[str, Any]:
        """Return the `config.json` in the keys of the published models."""
        return {
            "architectures": ["LLaDAModelLM"],
            "model_type": "llada",
            "auto_map": {
                "AutoConfig": "configuration_llada.LLaDAConfig",
                "AutoModel": "modeling_llada.LLaDAModelLM",
                "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
            },
            "activation_type": "silu",
            "alibi": False,
            "attention_dropout": 0.0,
            "attention_layer_norm": False,
            "block_type": "llama",
            "bias_for_layer_norm": False,
            "d_model": self.hidden,
            "embedding_dropout": 0.0,
            "embedding_size": self.vocab,
            "eos_token_id": eos_token_id,
            "include_bias": False,
            "include_qkv_bias": False,
            "input_emb_norm": False,
            "layer_norm_type": "rms",
            "layer_norm_with_affine": True,
            "mask_token_id": MASK_ID,
            "max_sequence_length": self.max_positions,
            "mlp_hidden_size": self.ffn,
            "multi_query_attention": None,
            "n_heads": self.heads,
            "n_kv_heads": self.kv_heads,
            "n_layers": self.layers,
            "pad_token_id": pad_token_id,
            "residual_dropout": 0.0,
            "rms_norm_eps": 1e-6,
            "rope": True,
            "rope_full_precision": True,
            "rope_theta": self.rope_theta,
            "scale_logits": False,
            "torch_dtype": dtype,
            "use_cache": False,
            "vocab_size": self.vocab,
            "weight_tying": True,
        }


DiffusionShape = BlockDiffusionShape | LladaShape

_LLADA_NAMES = {
    "model.embed_tokens": "model.transformer.wte",
    "model.norm": "model.transformer.ln_f",
    "model.layers": "model.transformer.blocks",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.o_proj": "attn_out",
    "self_attn.": "",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}


def published(weights: Weights, shape: DiffusionShape) -> Weights:
    """Return the weights under the names of the published files."""
    if not isinstance(shape, LladaShape):
        return weights
    return {_llada_name(name): weight for name, weight in weights.items()}


def _llada_name(name: str) -> str:
    for qwen, llada in _LLADA_NAMES.items():
        name = name.replace(qwen, llada)
    return name


def begin_as(target: Weights, target_shape: Shape, shape: DiffusionShape, text: Batch) -> Weights:
    """Return weights of `shape` that begin as a Qwen3 target of the same width.

    Where `shape` has more layers than the target, the target's are the last ones, and those before them are left as
    zeros; where it has more key heads, each of the target's stands for several.

    The norm of queries and keys, which these networks lack, goes into their projections as far as a linear map can
    imitate it: by least squares over a batch of text, layer by layer, on what the layers before it give by then. Of
    100 held-out problems the target so changed still solves 81.
    """
    import torch

    folded = {name: target[name].clone() for name in without_head_norms(target_shape.tensors())}
    plain = replace(shape, layers=target_shape.layers, kv_heads=target_shape.kv_heads)
    folded |= {name: torch.zeros(size) for name, size in plain.tensors().items() if name.endswith(".bias")}
    with torch.inference_mode():
        for layer in range(plain.layers):
            for part in "qk":
                name = f"model.layers.{layer}.self_attn.{part}"
                wanted = _inputs(target, target_shape, layer, text) @ target[f"{name}_proj.weight"].T
                heads = wanted.view(len(wanted), -1, shape.head_dim)
                scaled = norm(heads, target[f"{name}_norm.weight"]).flatten(1)
                folded[f"{name}_proj.weight"] = _least_squares(_inputs(folded, plain, layer, text), scaled)
    return _placed(folded, shape, shape.layers - plain.layers)


def _placed(folded: Weights, shape: DiffusionShape, layers_before: int) -> Weights:
    """Return the target's weights so many layers further on, each key head repeated as often as `shape` asks for."""
    import torch

    begun = {}
    for name, size in shape.tensors().items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(int(parts[2]) - layers_before)
        weight = folded.get(".".join(parts), torch.zeros(size))
        if weight.shape != size:
            heads = weight.view(-1, shape.head_dim, *size[1:])
            weight = heads.repeat_interleave(size[0] // len(weight), dim=0).reshape(size)
        begun[name] = weight.clone()
    return begun


def _inputs(weights: Weights, shape: Shape, layer: int, text: Batch) -> Tensor:
    """Return the normalised inputs of a layer at all tokens of a batch, [tokens, hidden]."""
    import torch.nn.functional as F

    outputs = forward(weights, shape, text.tokens, text.positions, causal_mask(text.documents)).outputs
    states = outputs[layer - 1] if layer else F.embedding(text.tokens, weights[EMBEDDING])
    inputs = norm(states, weights[f"model.layers.{layer}.input_layernorm.weight"])
    return inputs[text.documents >= 0]


def _least_squares(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the matrix [out, in] that maps inputs [n, in] to outputs [n, out] best, slightly regularised."""
    import torch

    squares = inputs.T @ inputs
    ridge = 1e-5 * len(inputs) * torch.eye(len(squares))
    solution: Tensor = torch.linalg.solve(squares + ridge, inputs.T @ outputs)
    return solution.T.contiguous()
