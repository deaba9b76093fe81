"""The target model: a Llama, Qwen2 or Qwen3 decoder that also gives the hidden states that a draft conditions on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.checkpoint import Checkpoint
from ...core.torch_layers.kv_cache import KeyValueCache
from ...core.torch_layers.layer_tensors import layer_reader
from ...core.torch_layers.matrix import Matrix
from ...core.torch_layers.norm import Norm
from ...core.torch_layers.place import Place, Span
from ...core.torch_layers.rotary import Rotary
from ...core.torch_layers.stack import Layer, Stack, StackShape
from ...core.torch_layers.weights import Weights
from .target_config import read_target_config

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_PREFILL_CHUNK = 512  # tokens per forward of a long prompt: bounds the mask and the activations


class Target:
    """The model, its cache and its head.

    Args:
        folder: a Hugging Face folder of the Llama, Qwen2 or Qwen3 family.
        dtype: number format of weights and activations.
        device: where it lives.
        is_packed: reorder the matrices for small blocks (CPU, float32).

    Raises:
        ModelError: the folder is not what it should be; names the tensor or field.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, *, is_packed: bool = True) -> None:
        checkpoint = Checkpoint(folder)
        self.config = config = read_target_config(folder)
        self.device, self.dtype = device, dtype
        weights = Weights(checkpoint, dtype, device)
        shape = StackShape.of(config, is_causal=True)
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
        self.cache = KeyValueCache(shape, dtype, device)

    @property
    def parameters(self) -> int:
        """Number of weights, the tied head once."""
        heads = (1 + self.has_own_head) * self.embedding.numel()
        return heads + self.final_norm.weight.numel() + sum(layer.parameters for layer in self.stack.layers)

    def compile(self) -> None:
        """Compile the layers."""
        self.stack.compile()

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for sequences."""
        self.cache.reserve(rows, positions)
        self.rotary.reserve(positions)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up embeddings: [R, n] -> [R, n, width]."""
        import torch.nn.functional as F

        return F.embedding(ids, self.embedding)

    def logits(self, hidden: Tensor) -> Tensor:
        """Apply the head to normalised states: [..., width] -> [..., V]."""
        return self.head(hidden)

    def forward(
        self, ids: Tensor, place: Place, taps: Sequence[int] = (), cache: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Evaluate every token.

        Args:
            ids: [R, n].
            place: where they stand.
            taps: layers whose output the draft wants.
            cache: the rows to work on; by default the first R of the model's own cache.

        Returns:
            Logits [R, n, V], and the features [R, n, len(taps) x width] (None without taps).
        """
        hidden, tapped = self.stack(self.embed(ids), place, self.cache.rows(len(ids)) if cache is None else cache, taps)
        return self.logits(self.final_norm(hidden)), _features(tapped)

    def prefill(self, ids: Tensor, row: int, taps: Sequence[int] = ()) -> tuple[Tensor, Tensor | None]:
        """Evaluate a prompt [1, P] from an empty cache.

        Returns:
            The logits behind its last token [1, 1, V], and the features of all positions [1, P, len(taps) x width].
        """
        import torch

        cache = self.cache.rows(1, row)
        parts: list[Tensor] = []
        for start in range(0, ids.shape[1], _PREFILL_CHUNK):
            chunk = ids[:, start : start + _PREFILL_CHUNK]
            hidden, tapped = self.stack(self.embed(chunk), Span(start, chunk.shape[1]), cache, taps)
            features = _features(tapped)
            if features is not None:
                parts.append(features)
        last = self.final_norm(hidden[:, -1:])
        return self.logits(last), torch.cat(parts, dim=1) if parts else None

    def all_logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of a whole sequence, [T, V] in float32 or wider."""
        import torch

        tokens = torch.tensor([list(ids)], device=self.device)
        with torch.inference_mode():
            self.reserve(1, len(ids))
            logits, _ = self.forward(tokens, Span(0, len(ids)), cache=self.cache.rows(1))
        return logits[0] if logits.dtype == torch.float64 else logits[0].float()


def _features(tapped: Sequence[Tensor]) -> Tensor | None:
    import torch

    return torch.cat(list(tapped), dim=-1) if tapped else None
