"""The draft network of DFlash (arXiv 2602.06036): it fills a block of masks in one forward.

Its context is what the target's layers said of the committed tokens: their outputs, projected by ``fc``, normalised,
and turned into keys and values by every layer's own projections. They are absorbed once and stay in the cache; the
keys and values of a block are overwritten by whatever comes next.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.sdk.checkpoint import Checkpoint
from ...core.sdk.torch_layers.kv_cache import KeyValueCache
from ...core.sdk.torch_layers.layer_tensors import layer_reader
from ...core.sdk.torch_layers.matrix import Matrix, joined
from ...core.sdk.torch_layers.norm import Norm
from ...core.sdk.torch_layers.place import Place
from ...core.sdk.torch_layers.rotary import Rotary, rotate
from ...core.sdk.torch_layers.stack import Layer, Stack, StackShape
from ...core.sdk.torch_layers.weights import Weights
from .draft_config import DraftConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Draft:
    """The network and its cache.

    Args:
        folder: a DFlash checkpoint, tensors with or without the prefix ``model.``.
        dtype: number format of weights and activations.
        device: where it lives.
        is_packed: reorder the matrices for small blocks (CPU, float32).

    Raises:
        ModelError: the folder is not what it should be; names the tensor or key.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, *, is_packed: bool = True) -> None:
        self.config = DraftConfig.read(folder)
        config = self.config.decoder
        checkpoint = Checkpoint(folder)
        prefix = "model." if "model.fc.weight" in checkpoint.tensors else ""
        weights = Weights(checkpoint, dtype, device, prefix)
        shape = StackShape.of(config, is_causal=self.config.causal, windows=self.config.windows)
        taps = len(self.config.target_layer_ids)
        self._fc = Matrix(weights.read("fc.weight", (config.width, taps * config.width)), is_packed=is_packed)
        self._context_norm = Norm(weights.read("hidden_norm.weight", (config.width,)), config.norm_eps)
        self._final_norm = Norm(weights.read("norm.weight", (config.width,)), config.norm_eps)
        self._rotary = Rotary(config, dtype, device)
        read = layer_reader(weights, config, "layers.")
        layers = [Layer(shape, partial(read, index), is_packed=is_packed) for index in range(config.layers)]
        self._context_projection = _context_projection(read, config.layers, is_packed)
        self._stack = Stack(shape, layers, self._rotary, device)
        weights.refuse_rest()
        self.cache = KeyValueCache(shape, dtype, device)

    @property
    def parameters(self) -> int:
        """Number of weights; the target's embedding and head, which it borrows, are not among them."""
        layers = sum(layer.parameters for layer in self._stack.layers)
        return self._fc.parameters + 2 * self._final_norm.weight.numel() + layers

    def compile(self) -> None:
        """Compile the layers."""
        self._stack.compile()

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for sequences."""
        self.cache.reserve(rows, positions)
        self._rotary.reserve(positions)

    def absorb(self, features: Tensor, place: Place, cache: Tensor | None = None) -> None:
        """Add committed positions to the context.

        Args:
            features: outputs of the tapped target layers side by side, [R, c, taps x width].
            place: where these positions are.
            cache: the rows to work on; by default the first R.
        """
        shape = self._stack.shape
        context = self._context_norm(self._fc(features))
        joined = self._context_projection(context)
        joined = joined.view(*context.shape[:2], shape.layers, 2, shape.kv_heads, shape.head_dim)
        angles = place.angles(self._rotary)
        data = self.cache.rows(len(features)) if cache is None else cache
        for index, layer in enumerate(self._stack.layers):
            keys, values = joined[:, :, index].unbind(2)
            if layer.key_norm is not None:
                keys = layer.key_norm(keys)
            place.store(data[index], rotate(keys, *angles), values)

    def forward(self, hidden: Tensor, place: Place) -> Tensor:
        """Fill blocks in.

        Args:
            hidden: the target's embeddings of anchor and masks, [R, b, width].
            place: where the blocks stand; what lies before them is the context.

        Returns:
            Normalised states for block positions 1 .. b - 1, [R, b - 1, width]: the target's head makes logits of them.
        """
        states, _ = self._stack(hidden, place, self.cache.rows(len(hidden)))
        return self._final_norm(states[:, 1:])


def _context_projection(read: Callable[[int, str], Tensor | None], layers: int, is_packed: bool) -> Matrix:
    """Join the key and value projections of all layers: the context is the same for each."""

    def read_any(name: str) -> Tensor | None:
        layer, _, own = name.partition(".")
        return read(int(layer), own)

    names = [f"{index}.self_attn.{part}_proj" for index in range(layers) for part in "kv"]
    return joined(read_any, names, is_packed=is_packed)
