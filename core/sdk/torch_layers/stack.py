"""The decoder layers that target and draft share: Llama, Qwen2 and Qwen3 over a static cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..decoder_config import DecoderConfig
from ..torch_device import plan_no_attention
from .feed_forward import Experts, ExpertsShape, GatedUnit
from .matrix import Read, joined, required
from .norm import Norm
from .rotary import Rotary, rotate

if TYPE_CHECKING:
    from torch import Tensor

    from .place import Place

Run = Callable[[int, "Tensor"], "Tensor"]
"""Runs one layer: its index and its input [R, n, width] to its output."""
Around = Callable[[int, Run, "Tensor"], "Tensor"]
"""Decides whether a layer runs: its index, the function that would run it, and its input; returns its output."""


@dataclass(frozen=True, slots=True)
class StackShape:
    """Sizes of a stack of layers.

    Attributes:
        causal: whether a token of each layer sees no token behind it.
        windows: sliding window of each layer in positions; None sees everything.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    causal: tuple[bool, ...]
    windows: tuple[int | None, ...]

    @classmethod
    def of(
        cls,
        config: DecoderConfig,
        *,
        is_causal: bool | Sequence[bool],
        windows: Sequence[int | None] | None = None,
    ) -> StackShape:
        """Take the sizes of a configuration; ``is_causal`` is of all layers, or of each."""
        return cls(
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            norm_eps=config.norm_eps,
            causal=(is_causal,) * config.layers if isinstance(is_causal, bool) else tuple(is_causal),
            windows=tuple(windows or [None] * config.layers),
        )


class Layer:
    """The weights of one layer; projections that read the same input are one matrix.

    Args:
        shape: the sizes.
        read: gives its tensors.
        is_packed: reorder the matrices for small blocks (CPU, float32).
        experts: what its feed-forward part is made of; None is a single unit.
    """

    def __init__(self, shape: StackShape, read: Read, *, is_packed: bool, experts: ExpertsShape | None = None) -> None:
        import torch

        self.input_norm = Norm(required(read, "input_layernorm.weight"), shape.norm_eps)
        self.post_norm = Norm(required(read, "post_attention_layernorm.weight"), shape.norm_eps)
        self.qkv = joined(read, [f"self_attn.{part}_proj" for part in "qkv"], is_packed=is_packed)
        self.output = joined(read, ["self_attn.o_proj"], is_packed=is_packed)
        self.feed_forward: GatedUnit | Experts
        if experts:
            self.feed_forward = Experts(experts, read, is_packed=is_packed)
        else:
            self.feed_forward = GatedUnit(read, is_packed=is_packed)
        query, key = read("self_attn.q_norm.weight"), read("self_attn.k_norm.weight")
        self.head_norm: Norm | None = None  # for queries and keys side by side
        self.key_norm: Norm | None = None
        if query is not None and key is not None:
            both = torch.cat([query.expand(shape.heads, -1), key.expand(shape.kv_heads, -1)])
            self.head_norm, self.key_norm = Norm(both, shape.norm_eps), Norm(key, shape.norm_eps)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        matrices = sum(part.parameters for part in (self.qkv, self.output, self.feed_forward))
        heads = 0 if self.key_norm is None else 2 * self.key_norm.weight.numel()
        return matrices + self.input_norm.weight.numel() + self.post_norm.weight.numel() + heads


class Stack:
    """Layers that run over a cache.

    Args:
        shape: the sizes.
        layers: the weights.
        rotary: the position embedding.
        device: where the weights are.
    """

    def __init__(self, shape: StackShape, layers: Sequence[Layer], rotary: Rotary, device: str) -> None:
        self.shape, self.layers, self.rotary, self._device = shape, layers, rotary, device
        plan_no_attention(device)

    def __call__(
        self, hidden: Tensor, place: Place, cache: Tensor, taps: Sequence[int] = (), around: Around | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run all layers.

        Args:
            hidden: embeddings [R, n, width].
            place: where the n tokens of each row stand.
            cache: ``KeyValueCache.rows(R)``, [layers, 2, R, positions, kv heads, head_dim].
            taps: layers whose output is wanted.
            around: runs every layer in place of the stack; None where all of them simply run.

        Returns:
            The last layer's output [R, n, width] before the final norm, and the outputs of ``taps`` in their order.
        """
        cos, sin = place.angles(self.rotary)
        views = list(zip(self.shape.causal, self.shape.windows, strict=True))
        masks = {view: self._mask(place, *view) for view in set(views)}
        tapped: dict[int, Tensor] = {}

        def run(index: int, hidden: Tensor) -> Tensor:
            return self._layer(self.layers[index], hidden, (cos, sin), place, cache[index], masks[views[index]])

        for index in range(len(self.layers)):
            hidden = run(index, hidden) if around is None else around(index, run, hidden)
            if index in taps:
                tapped[index] = hidden
        return hidden, [tapped[index] for index in taps]

    def _mask(self, place: Place, is_causal: bool, window: int | None) -> Tensor | None:
        """Return the mask for queries that are grouped by key head: [R or 1, 1, group x n, K]."""
        mask = place.mask(self._device, is_causal=is_causal, window=window)
        if mask is None:
            return None
        return mask.repeat(1, self.shape.heads // self.shape.kv_heads, 1)[:, None]

    def compile(self) -> None:
        """Let torch.compile fuse what lies between the matrix products; writing to the cache stays as it is."""
        import torch

        limit = 8 * len(self.layers)  # each layer is traced for one token, for a block and for a prompt
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, limit)
        self._enter = torch.compile(self._enter)  # type: ignore[method-assign]
        if all(isinstance(layer.feed_forward, GatedUnit) for layer in self.layers):  # which experts run is not known
            self._leave = torch.compile(self._leave)  # type: ignore[method-assign]

    def _layer(
        self,
        layer: Layer,
        hidden: Tensor,
        angles: tuple[Tensor, Tensor],
        place: Place,
        cache: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        query, keys, values = self._enter(layer, hidden, *angles)
        place.store(cache, keys, values)
        mixed = _attend(query, place.seen(cache), mask)
        return self._leave(layer, hidden, mixed)

    def _enter(self, layer: Layer, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise, project and rotate: [R, n, width] -> queries [R, n, heads, head_dim], keys, values."""
        shape = self.shape
        rows, n, _ = hidden.shape
        joined = layer.qkv(layer.input_norm(hidden)).view(rows, n, -1, shape.head_dim)
        turned = joined[:, :, : shape.heads + shape.kv_heads]
        if layer.head_norm is not None:
            turned = layer.head_norm(turned)
        turned = rotate(turned, cos, sin)
        return turned[:, :, : shape.heads], turned[:, :, shape.heads :], joined[:, :, shape.heads + shape.kv_heads :]

    def _leave(self, layer: Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        """Project what attention mixed, and run the feed-forward part."""
        hidden = hidden + layer.output(mixed)
        return hidden + layer.feed_forward(layer.post_norm(hidden))


def _attend(query: Tensor, cache: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with queries [R, n, heads, d] to a cache [2, R, K, kv heads, d]; returns [R, n, heads x d].

    The queries that share a key head are taken together as rows of one product, so that keys are never repeated.
    """
    import torch.nn.functional as F

    rows, n, heads, head_dim = query.shape
    kv_heads = cache.shape[3]
    grouped = query.view(rows, n, kv_heads, -1, head_dim).permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, -1, head_dim)
    keys, values = cache.transpose(2, 3)  # [R, kv heads, K, d] each
    mixed = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
    return mixed.view(rows, kv_heads, -1, n, head_dim).permute(0, 3, 1, 2, 4).reshape(rows, n, heads * head_dim)
