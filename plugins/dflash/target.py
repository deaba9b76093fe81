"""The target model: a decoder with one cache of its own that also gives the hidden states a draft conditions on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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

    def all_logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of a whole sequence, [T, V] in float32 or wider."""
        import torch

        tokens = torch.tensor([list(ids)], device=self.device)
        with torch.inference_mode():
            self.reserve(1, len(ids))
            logits, _ = self.evaluate(tokens, Span(0, len(ids)))
        return logits[0] if logits.dtype == torch.float64 else logits[0].float()
