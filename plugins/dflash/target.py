"""The target model: a decoder with one cache of its own that also gives the hidden states a draft conditions on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.sdk.scoring import SCORED_AT_ONCE
from ...core.sdk.torch_layers.causal_lm import CausalLM
from ...core.sdk.torch_layers.place import Place, Span

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

    def prefill_row(self, ids: Tensor, row: int, taps: Sequence[int] = ()) -> tuple[Tensor, Tensor | None]:
        """Evaluate a prompt [1, P] in an empty row of the cache; logits and features as ``prefill`` gives."""
        return self.prefill(ids, self.cache.rows(1, row), taps)


class TargetScoring:
    """Continuations of one prompt in the first row of a target's cache, see ``core.sdk.scoring.ScoringEngine``."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._length = 0  # of the prompt

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> Tensor:
        """Evaluate a prompt; return the logits behind its last id, [1, V]."""
        import torch

        self._length = len(prompt_ids)
        with torch.inference_mode():
            self._target.reserve(1, positions)
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

    def _tensor(self, ids: Sequence[int]) -> Tensor:
        import torch

        return torch.tensor([list(ids)], device=self._target.device)
