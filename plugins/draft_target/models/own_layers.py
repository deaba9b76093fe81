"""Llama, Qwen2 and Qwen3 on the layers that decodebench shares: static caches, matrices packed for short blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....core.sdk.torch_layers.causal_lm import CausalLM
from ....core.sdk.torch_layers.kv_cache import KeyValueCache
from ....core.sdk.torch_layers.place import Rows, Span
from ....core.sdk.torch_layers.token_tree import TokenTree, build_tree
from ....core.sdk.torch_layers.tree_place import Tree
from . import CausalModel, Feed, TokenSequence

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LONGEST_TOGETHER = 64
"""Tokens of a block that is evaluated together with those of other sequences; a prompt would leave them padded."""


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
        self._shared: KeyValueCache | None = None
        self._rows: dict[int, _Sequence] = {}  # sequences in the shared cache

    def begin(self, positions: int = 0) -> TokenSequence:
        """Take a cache that an ended sequence left, or a new one; where sequences are fed together, a row of one."""
        if self._shared is None:
            cache = self._free.pop() if self._free else self.network.new_cache()
            return _Sequence(self.network, cache, 0, lambda: self._free.append(cache), positions)
        row = next(row for row in range(len(self._rows) + 1) if row not in self._rows)
        sequence = _Sequence(self.network, self._shared, row, lambda: self._rows.pop(row, None), positions)
        self._rows[row] = sequence
        return sequence

    def share(self, is_shared: bool) -> None:
        """Let the sequences that begin from now on lie in one cache, or each in its own."""
        self._shared = (self._shared or self.network.new_cache()) if is_shared else None

    def feed_together(self, feeds: Sequence[Feed]) -> list[Tensor]:
        """Evaluate short continuations in one forward over the rows of the cache; prompts by themselves."""
        short = [feed for feed in feeds if len(feed.ids) <= _LONGEST_TOGETHER]
        found: dict[int, Tensor] = {}
        if len(short) > 1:
            found = dict(zip(map(id, short), self._forward(short), strict=True))
        return [
            found[id(feed)] if id(feed) in found else feed.sequence.feed(feed.ids, logits=feed.logits) for feed in feeds
        ]

    def _forward(self, feeds: Sequence[Feed]) -> Iterator[Tensor]:
        """Evaluate one block of each sequence; rows that have none, or a shorter one, get rubbish behind their end."""
        import torch

        ids = {feed.sequence.row: feed.ids for feed in feeds if isinstance(feed.sequence, _Sequence)}
        count, longest = max(ids) + 1, max(map(len, ids.values()))
        starts = [self._rows[row].length if row in self._rows else 0 for row in range(count)]
        lengths = [len(ids.get(row, ())) for row in range(count)]
        assert self._shared is not None, "share comes first"
        self._shared.grow(max(starts) + longest)
        self.network.rotary.reserve(self._shared.data.shape[3])
        padded = [[*ids.get(row, ()), *[0] * (longest - lengths[row])] for row in range(count)]
        tokens = torch.tensor(padded, device=self.device)  # [R, n]
        place = Rows(starts, [max(1, length) for length in lengths], self.device)
        logits, _ = self.network.forward(tokens, place, self._shared.rows(count))  # [R, n, V]
        for feed in feeds:
            assert isinstance(feed.sequence, _Sequence)
            end = len(feed.ids)
            feed.sequence.length += end
            yield _wide(logits[feed.sequence.row, 0 if feed.logits is None else end - feed.logits : end])


class _Sequence(TokenSequence):
    """Positions 0 .. length - 1 of one row of the cache; what lies behind is rubbish."""

    def __init__(
        self, network: CausalLM, cache: KeyValueCache, row: int, leave: Callable[[], object], positions: int
    ) -> None:
        self._network, self._cache, self.row, self._leave = network, cache, row, leave
        self._tree: TokenTree | None = None
        self.length = 0
        cache.add_rows(row + 1)
        self._reserve(positions)

    def _reserve(self, positions: int) -> None:
        self._cache.grow(max(positions, 1))
        self._network.rotary.reserve(self._cache.data.shape[3])

    def feed(self, ids: Sequence[int], *, logits: int | None = None) -> Tensor:
        """Evaluate behind the present end; a prompt in chunks."""
        import torch

        self._reserve(self.length + len(ids))
        network, cache = self._network, self._cache.rows(1, self.row)
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
        logits, _ = self._network.forward(tokens, place, self._cache.rows(1, self.row))
        paths = torch.tensor(tree.paths, device=self._network.device)
        return _wide(logits[0][paths])

    def keep(self, candidate: int, count: int) -> None:
        """Move the nodes of the candidate's beginning to where they belong."""
        assert self._tree is not None, "keep follows feed_candidates"
        path = self._tree.paths[candidate][: count + 1]
        if path != list(range(len(path))):
            self._cache.gather(self.row, [self.length + node for node in path], self.length)
        self.length += len(path)
        self._tree = None

    def crop(self, length: int) -> None:
        """Move the end."""
        self.length = min(self.length, length)

    def close(self) -> None:
        """Leave the row to the next sequence."""
        self._leave()
        del self._cache


def _wide(logits: Tensor) -> Tensor:
    import torch

    return logits if logits.dtype == torch.float64 else logits.float()
