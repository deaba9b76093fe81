"""A Llama, Qwen2, Qwen3 or Qwen3-MoE language model over caches that the caller owns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..checkpoint import Checkpoint
from ..decoder_config import ARCHITECTURES, DecoderConfig
from .feed_forward import ExpertsShape
from .kv_cache import KeyValueCache
from .layer_tensors import layer_reader
from .matrix import Matrix
from .norm import Norm
from .place import Place, Span
from .rotary import Rotary, check_rotary
from .stack import Layer, Stack, StackShape
from .weights import Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MOE = "Qwen3MoeForCausalLM"  # Qwen3's layers with a mixture of experts in some or all of them
_PREFILL_CHUNK = 512  # tokens per forward of a long prompt: bounds the mask and the activations


def read_config(folder: Path) -> DecoderConfig:
    """Read and check a model's configuration without opening its weights.

    Raises:
        ModelError: no folder of the Llama, Qwen2, Qwen3 or Qwen3-MoE family, or a feature that is not supported.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is not a Hugging Face folder (config.json and safetensors)", code="container-unsupported"
        )
    checkpoint = Checkpoint(folder)
    _refuse_hybrid(checkpoint)
    config = DecoderConfig.read(checkpoint, {**ARCHITECTURES, _MOE: "qwen3"})
    check_rotary(config, str(folder / "config.json"))
    if checkpoint.config["architectures"][0] == _MOE:
        ExpertsShape.read(checkpoint, config.layers)
    return config


def _refuse_hybrid(checkpoint: Checkpoint) -> None:
    """Refuse layers that keep a running state (Qwen3-Next, Qwen3.5, Qwen3.6): it has no earlier end to go back to."""
    inner = checkpoint.config.get("text_config")
    for config in (checkpoint.config, inner if isinstance(inner, dict) else {}):
        fields = [name for name in config if name.startswith("linear_num_") or name == "full_attention_interval"]
        said = [f"{name} = {config[name]!r}" for name in fields]
        types = config.get("layer_types")
        if isinstance(types, list) and "linear_attention" in types:
            said.insert(0, "layer_types names linear_attention")
        if said:
            name = checkpoint.config.get("architectures")
            raise ModelError(
                f"{checkpoint.folder / 'config.json'}: {said[0]}: a hybrid model ({name}) is not supported: the "
                "state of its Gated DeltaNet layers cannot be taken back to the last accepted token; only models "
                "whose every layer is attention are",
                code="model-unsupported",
            )


class CausalLM:
    """Embedding, layers and head.

    Args:
        folder: a Hugging Face folder of the Llama, Qwen2, Qwen3 or Qwen3-MoE family.
        dtype: number format of weights and activations.
        device: where it lives.
        is_packed: reorder the matrices for small blocks (CPU, float32).

    Raises:
        ModelError: the folder is not what it should be; names the tensor or field.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, *, is_packed: bool = True) -> None:
        self.config = config = read_config(folder)
        self.device, self.dtype = device, dtype
        checkpoint = Checkpoint(folder)
        weights = Weights(checkpoint, dtype, device)
        has_experts = checkpoint.config["architectures"][0] == _MOE
        experts = ExpertsShape.read(checkpoint, config.layers) if has_experts else None
        self._shape = shape = StackShape.of(config, is_causal=True)
        self.rotary = Rotary(config, dtype, device)
        self.embedding = weights.read("model.embed_tokens.weight", (config.vocab, config.width))
        read = layer_reader(weights, config, "model.layers.", experts)
        own = [experts if experts and index in experts.layers else None for index in range(config.layers)]
        layers = [
            Layer(shape, partial(read, index), is_packed=is_packed, experts=own[index])
            for index in range(config.layers)
        ]
        self.stack = Stack(shape, layers, self.rotary, device)
        self.final_norm = Norm(weights.read("model.norm.weight", (config.width,)), config.norm_eps)
        self.has_own_head = not config.tied
        head = weights.read("lm_head.weight", self.embedding.shape) if self.has_own_head else self.embedding
        self.head = Matrix(head, is_packed=is_packed)
        weights.refuse_rest("lm_head.weight")

    @property
    def parameters(self) -> int:
        """Number of weights, the tied head once."""
        heads = (1 + self.has_own_head) * self.embedding.numel()
        return heads + self.final_norm.weight.numel() + sum(layer.parameters for layer in self.stack.layers)

    @property
    def read_weight_bytes(self) -> int:
        """Bytes of weights that a forward of one token reads: of an untied input table a row, of experts its own."""
        idle = self.embedding.numel() if self.has_own_head else 0
        parts = [layer.feed_forward for layer in self.stack.layers]
        idle += sum(part.parameters - part.read_parameters for part in parts)
        return (self.parameters - idle) * self.dtype.itemsize

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of one position's keys and values over all layers."""
        config = self.config
        return 2 * config.layers * config.kv_heads * config.head_dim * self.dtype.itemsize

    def compile(self) -> None:
        """Compile the layers."""
        self.stack.compile()

    def new_cache(self) -> KeyValueCache:
        """Return an empty cache for this model."""
        return KeyValueCache(self._shape, self.dtype, self.device)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up embeddings: [R, n] -> [R, n, width]."""
        import torch.nn.functional as F

        return F.embedding(ids, self.embedding)

    def logits(self, hidden: Tensor) -> Tensor:
        """Apply the head to normalised states: [..., width] -> [..., V]."""
        return self.head(hidden)

    def forward(
        self, ids: Tensor, place: Place, cache: Tensor, taps: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor | None]:
        """Evaluate every token.

        Args:
            ids: [R, n].
            place: where they stand.
            cache: ``KeyValueCache.rows(R)``; the tables of ``rotary`` must reach as far as ``place``.
            taps: layers whose output is wanted; the last one's is taken behind the final norm, as transformers'
                ``hidden_states`` has it.

        Returns:
            Logits [R, n, V], and the features [R, n, len(taps) x width] (None without taps).
        """
        hidden, features = self._evaluate(ids, place, cache, taps)
        return self.logits(hidden), features

    def prefill(
        self, ids: Tensor, cache: Tensor, taps: Sequence[int] = (), start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Evaluate the tokens [1, P] that stand from ``start`` on, in chunks.

        Returns:
            The logits behind the last of them [1, 1, V], and the features of all [1, P, len(taps) x width].
        """
        import torch

        parts: list[Tensor] = []
        for first in range(0, ids.shape[1], _PREFILL_CHUNK):
            chunk = ids[:, first : first + _PREFILL_CHUNK]
            hidden, features = self._evaluate(chunk, Span(start + first, chunk.shape[1]), cache, taps)
            if features is not None:
                parts.append(features)
        return self.logits(hidden[:, -1:]), torch.cat(parts, dim=1) if parts else None

    def _evaluate(self, ids: Tensor, place: Place, cache: Tensor, taps: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Return normalised states [R, n, width], and what was tapped side by side."""
        import torch

        hidden, tapped = self.stack(self.embed(ids), place, cache, taps)
        hidden = self.final_norm(hidden)
        last = self.config.layers - 1
        found = [hidden if tap == last else states for tap, states in zip(taps, tapped, strict=True)]
        return hidden, torch.cat(found, dim=-1) if found else None
