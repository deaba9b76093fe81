"""The target model: a decoder with one cache of its own that also gives the hidden states a draft conditions on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.sdk.scoring import SCORED_AT_ONCE
from ...core.sdk.torch_layers.causal_lm import CausalLM
from ...core.sdk.torch_layers.place import Place, Span
from ...core.sdk.torch_layers.token_tree import build_tree
from ...core.sdk.torch_layers.tree_place import Tree

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Target(CausalLM):
    """The model and its cache; arguments and errors as for ``CausalLM``."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str, *, is_packed: bool = True) -> None:
        super().__init__(folder, dtype, device, is_packed=is_packed)
        self.cache = self.new_cache()

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for sequences."""
        self.cache.reserve(rows, positions)
        self.rotary.reserve(positions)

    def evaluate(self, ids: Tensor, place: Place, taps: Sequence[int] = ()) -> tuple[Tensor, Tensor | None]:
        """Evaluate every token [R, n] in the first R rows of the cache; logits and features as ``forward`` gives."""
        return self.forward(ids, place, self.cache.rows(len(ids)), taps)

    def prefill_row(
        self, ids: Tensor, row: int, taps: Sequence[int] = (), *, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Evaluate a prompt [1, P] in a row of the cache that holds ``start`` positions; returns as ``prefill``."""
        return self.prefill(ids, self.cache.rows(1, row), taps, start)


class TargetScoring:
    """Continuations of one prompt in the first row of a target's cache, see ``core.sdk.scoring.ScoringEngine``."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._length = 0  # of the prompt

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> Tensor:
        """Evaluate a prompt; return the logits behind its last id, [1, V]."""
        import torch

        self._length, self._last = len(prompt_ids), prompt_ids[-1]
        with torch.inference_mode():
            self._target.reserve(1, positions + SCORED_AT_ONCE)
            logits, _ = self._target.prefill_row(self._tensor(prompt_ids), 0)
        return logits[0]

    def behind(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Evaluate ids in the places behind the prompt; yield the logits behind each, [n, V] in chunks."""
        import torch

        for start in range(0, len(ids), SCORED_AT_ONCE):
            part = ids[start : start + SCORED_AT_ONCE]
            with torch.inference_mode():
                logits, _ = self._target.evaluate(self._tensor(part), Span(self._length + start, len(part)))
            yield logits[0]

    def together(self, rows: Sequence[Sequence[int]]) -> Sequence[Tensor]:
        """Evaluate rows as branches of a tree whose root is the prompt's last id."""
        import torch

        tree = build_tree(self._last, rows)
        place = Tree(self._length - 1, tree.depths, torch.from_numpy(tree.ancestors))
        with torch.inference_mode():
            logits, _ = self._target.evaluate(self._tensor(tree.tokens), place)
        return [logits[0, path[1:]] for path in tree.paths]

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        import torch

        return torch.tensor([list(ids)], device=self._target.device)
