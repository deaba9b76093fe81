"""Llama, Qwen2 and Qwen3 on the layers that decodebench shares: static caches, matrices packed for short blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.sdk.torch_layers.causal_lm import CausalLM
from ....core.sdk.torch_layers.kv_cache import KeyValueCache
from ....core.sdk.torch_layers.place import Span
from ....core.sdk.torch_layers.token_tree import TokenTree, build_tree
from ....core.sdk.torch_layers.tree_place import Tree
from . import CausalModel, TokenSequence

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class OwnLayers(CausalModel):
    """The network of a Hugging Face folder.

    Args:
        folder: of the Llama, Qwen2 or Qwen3 family.
        dtype: number format of weights and activations.
        device: where it lives.
        is_compiled: fuse what lies between the matrix products with torch.compile.

    Raises:
        ModelError: the folder is not what it should be; names the tensor or field.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, *, is_compiled: bool = False) -> None:
        self.network = network = CausalLM(folder, dtype, device, is_packed=not is_compiled)
        if is_compiled:
            network.compile()
        self.device = device
        self.vocabulary, self.context = network.config.vocab, network.config.context
        self.parameters = network.parameters
        self.weight_bytes = network.parameters * dtype.itemsize
        self.read_weight_bytes = network.read_weight_bytes
        self.kv_bytes_per_token = network.kv_bytes_per_token
        self._free: list[KeyValueCache] = []

    def begin(self, positions: int = 0) -> TokenSequence:
        """Take a cache that an ended sequence left, or a new one."""
        cache = self._free.pop() if self._free else self.network.new_cache()
        return _Sequence(self.network, cache, self._free, positions)


class _Sequence(TokenSequence):
    """Positions 0 .. length - 1 of one cache; what lies behind is rubbish."""

    def __init__(self, network: CausalLM, cache: KeyValueCache, free: list[KeyValueCache], positions: int) -> None:
        self._network, self._cache, self._free = network, cache, free
        self._tree: TokenTree | None = None
        self.length = 0
        self._reserve(positions)

    def _reserve(self, positions: int) -> None:
        self._cache.grow(max(positions, 1))
        self._network.rotary.reserve(self._cache.data.shape[3])

    def feed(self, ids: Sequence[int], *, logits: int | None = None) -> Tensor:
        """Evaluate behind the present end; a prompt in chunks."""
        import torch

        self._reserve(self.length + len(ids))
        network, cache = self._network, self._cache.rows(1)
        tokens = torch.tensor([list(ids)], device=network.device)
        if logits == 1:
            found, _ = network.prefill(tokens, cache, start=self.length)
        else:
            found, _ = network.forward(tokens, Span(self.length, len(ids)), cache)
            found = found if logits is None else found[:, -logits:]
        self.length += len(ids)
        return _wide(found[0])

    def feed_candidates(self, anchor: int, candidates: Sequence[Sequence[int]]) -> Tensor:
        """Evaluate every distinct prefix once, as the nodes of a tree."""
        import torch

        self._tree = tree = build_tree(anchor, candidates)
        self._reserve(self.length + len(tree.tokens))
        tokens = torch.tensor([tree.tokens], device=self._network.device)
        place = Tree(self.length, tree.depths, torch.from_numpy(tree.ancestors))
        logits, _ = self._network.forward(tokens, place, self._cache.rows(1))
        paths = torch.tensor(tree.paths, device=self._network.device)
        return _wide(logits[0][paths])

    def keep(self, candidate: int, count: int) -> None:
        """Move the nodes of the candidate's beginning to where they belong."""
        assert self._tree is not None, "keep follows feed_candidates"
        path = self._tree.paths[candidate][: count + 1]
        if path != list(range(len(path))):
            self._cache.gather(0, [self.length + node for node in path], self.length)
        self.length += len(path)
        self._tree = None

    def crop(self, length: int) -> None:
        """Move the end."""
        self.length = min(self.length, length)

    def close(self) -> None:
        """Leave the cache to the next sequence."""
        self._free.append(self._cache)
        del self._cache


def _wide(logits: Tensor) -> Tensor:
    import torch

    return logits if logits.dtype == torch.float64 else logits.float()
