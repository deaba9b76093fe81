"""The network of a diffusion model: LLaDA's or Qwen2's layers over a static cache, seen in both directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.sdk.checkpoint import Checkpoint
from ...core.sdk.torch_layers.kv_cache import KeyValueCache
from ...core.sdk.torch_layers.layer_tensors import layer_reader, layer_tensors
from ...core.sdk.torch_layers.matrix import Matrix
from ...core.sdk.torch_layers.norm import Norm
from ...core.sdk.torch_layers.place import Place
from ...core.sdk.torch_layers.rotary import Rotary
from ...core.sdk.torch_layers.stack import Around, Layer, Stack, StackShape
from ...core.sdk.torch_layers.weights import Weights
from .proposals import guided
from .variant import Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LLADA = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ff_norm",
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}
"""What LLaDA calls the parts of a layer."""


class Network:
    """Embedding, layers and head of a checkpoint, and its cache.

    Args:
        folder: the checkpoint.
        variant: what it is.
        mask_id: id of the mask, which is never proposed.
        dtype: number format of weights and activations.
        device: where it lives.
        is_packed: reorder the matrices for small blocks (CPU, float32).

    Raises:
        ModelError: the checkpoint is damaged or of another shape than its configuration says; names the tensor.
    """

    def __init__(
        self, folder: Path, variant: Variant, mask_id: int, dtype: torch.dtype, device: str, *, is_packed: bool = True
    ) -> None:
        self.config = config = variant.config
        self.device, self.dtype, self.mask_id = device, dtype, mask_id
        weights = Weights(Checkpoint(folder), dtype, device)
        names = _Names.of(variant)
        shape = StackShape.of(config, is_causal=False)
        self.rotary = Rotary(config, dtype, device)
        self.embedding = weights.read(names.embedding, (config.vocab, config.width))
        read = names.reader(weights, variant)
        layers = [Layer(shape, partial(read, index), is_packed=is_packed) for index in range(config.layers)]
        self.stack = Stack(shape, layers, self.rotary, device)
        self._final_norm = Norm(weights.read(names.final_norm, (config.width,)), config.norm_eps)
        head = self.embedding if config.tied else weights.read(names.head, self.embedding.shape)
        self._head = Matrix(head, is_packed=is_packed)
        weights.refuse_rest(names.head)
        self.cache = KeyValueCache(shape, dtype, device)

    @property
    def parameters(self) -> int:
        """Number of weights, a tied head once."""
        tables = (1 if self.config.tied else 2) * self.embedding.numel()
        return tables + self._final_norm.weight.numel() + sum(layer.parameters for layer in self.stack.layers)

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for sequences."""
        self.cache.reserve(rows, positions)
        self.rotary.reserve(positions)

    def states(self, ids: Tensor, place: Place, cache: Tensor, around: Around | None = None) -> Tensor:
        """Evaluate tokens: [R, n] -> states before the final norm, [R, n, width]."""
        import torch.nn.functional as F

        hidden, _ = self.stack(F.embedding(ids, self.embedding), place, cache, around=around)
        return hidden

    def logits(self, states: Tensor, scale: float = 0.0, never: Sequence[int] = ()) -> Tensor:
        """Turn states [n, width] into logits [n, V], in float32 or wider; the mask's own is minus infinity.

        Args:
            states: before the final norm; with guidance [2n, width], those without the prompt behind.
            scale: of the guidance.
            never: ids besides the mask that are not proposed.
        """
        import torch

        logits = self._head(self._final_norm(states))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits = guided(logits, scale) if scale else logits
        for token in (self.mask_id, *never):
            logits[:, token] = -torch.inf
        return logits


class _Names:
    """What a family calls its tensors."""

    def __init__(self, embedding: str, final_norm: str, head: str, layers: str) -> None:
        self.embedding, self.final_norm, self.head, self._layers = embedding, final_norm, head, layers

    @classmethod
    def of(cls, variant: Variant) -> _Names:
        if variant.name == "llada":
            top = "model.transformer"
            return cls(f"{top}.wte.weight", f"{top}.ln_f.weight", f"{top}.ff_out.weight", f"{top}.blocks.")
        return cls("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "model.layers.")

    def reader(self, weights: Weights, variant: Variant) -> Callable[[int, str], Tensor | None]:
        """Return a function that reads a layer's tensor by Qwen's name for it."""
        if variant.name != "llada":
            return layer_reader(weights, variant.config, self._layers)
        shapes = layer_tensors(variant.config, has_head_norms=False)

        def read(layer: int, name: str) -> Tensor | None:
            part, kind = name.rsplit(".", 1)
            if part not in _LLADA:
                return None  # norms of queries and keys
            full = f"{self._layers}{layer}.{_LLADA[part]}.{kind}"
            return weights.read(full, shapes[name]) if name in shapes else weights.find(full)

        return read
