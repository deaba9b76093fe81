"""The same as ``scoring.score_logits`` on a torch device: of the logits only what was asked for leaves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .scoring import RowScores

if TYPE_CHECKING:
    from torch import Tensor

_ROWS_AT_ONCE = 16  # of them a copy in float64 is made


def score_tensor(rows: Tensor, tokens: Sequence[int], top_k: int) -> Iterator[RowScores]:
    """Yield the scores of each token from the logits before it, [n, V]; in float64 where the device has it."""
    import torch

    ids = torch.tensor(list(tokens), device=rows.device)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part, own = rows[start : start + _ROWS_AT_ONCE], ids[start : start + _ROWS_AT_ONCE]
        wide = part.float() if part.device.type == "mps" else part.double()
        logprobs = wide.log_softmax(-1)  # [n, V]
        chosen = logprobs.gather(-1, own[:, None])[:, 0].tolist()
        best = (part.argmax(-1) == own).tolist()
        found = logprobs.topk(min(top_k, logprobs.shape[-1]), -1) if top_k else None
        top_ids = found.indices.tolist() if found else [[]] * len(part)
        top_logprobs = found.values.tolist() if found else [[]] * len(part)
        yield from zip(chosen, best, top_ids, top_logprobs, strict=True)
