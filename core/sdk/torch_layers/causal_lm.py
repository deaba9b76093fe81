"""A Llama, Qwen2 or Qwen3 language model over caches that the caller owns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..checkpoint import Checkpoint
from ..decoder_config import DecoderConfig
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

_PREFILL_CHUNK = 512  # tokens per forward of a long prompt: bounds the mask and the activations


def read_config(folder: Path) -> DecoderConfig:
    """Read and check a model's configuration without opening its weights.

    Raises:
        ModelError: no folder of the Llama, Qwen2 or Qwen3 family, or a feature that is not supported.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no Hugging Face folder (config.json and safetensors)")
    config = DecoderConfig.read(Checkpoint(folder))
    check_rotary(config, str(folder / "config.json"))
    return config


class CausalLM:
    """Embedding, layers and head.

    Args:
        folder: a Hugging Face folder of the Llama, Qwen2 or Qwen3 family.
        dtype: number format of weights and activations.
        device: where it lives.
        is_packed: reorder the matrices for small blocks (CPU, float32).

    Raises:
        ModelError: the folder is not what it should be; names the tensor or field.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, *, is_packed: bool = True) -> None:
        self.config = config = read_config(folder)
        self.device, self.dtype = device, dtype
        weights = Weights(Checkpoint(folder), dtype, device)
        self._shape = shape = StackShape.of(config, is_causal=True)
        self.rotary = Rotary(config, dtype, device)
        self.embedding = weights.read("model.embed_tokens.weight", (config.vocab, config.width))
        read = layer_reader(weights, config, "model.layers.")
        layers = [Layer(shape, partial(read, index), is_packed=is_packed) for index in range(config.layers)]
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
        """Bytes of weights that a forward of one token reads: an untied input table is only gathered from."""
        tables = self.embedding.numel() if self.has_own_head else 0
        return (self.parameters - tables) * self.dtype.itemsize

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
            taps: layers whose output is wanted.

        Returns:
            Logits [R, n, V], and the features [R, n, len(taps) x width] (None without taps).
        """
        hidden, tapped = self.stack(self.embed(ids), place, cache, taps)
        return self.logits(self.final_norm(hidden)), _features(tapped)

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
            hidden, tapped = self.stack(self.embed(chunk), Span(start + first, chunk.shape[1]), cache, taps)
            features = _features(tapped)
            if features is not None:
                parts.append(features)
        return self.logits(self.final_norm(hidden[:, -1:])), torch.cat(parts, dim=1) if parts else None


def _features(tapped: Sequence[Tensor]) -> Tensor | None:
    import torch

    return torch.cat(list(tapped), dim=-1) if tapped else None
