"""Packing of documents into rows of equal length, with which a training step wastes next to nothing on padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from decodebench.plugins.reference.family import PAD_ID

if TYPE_CHECKING:
    from torch import Tensor

ROW_TOKENS = 256
ROWS_PER_STEP = 16
IGNORED = -100
"""Label of a position that has none."""
_POOL = 64
"""Documents among which a row's packing chooses; enough to leave about two tokens of a row empty."""

Document = tuple[list[int], int]
"""Ids of prompt, answer and end token; number of prompt tokens."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows: every tensor is [rows, row tokens]; `documents` numbers a row's documents (padding: -1)."""

    tokens: Tensor
    positions: Tensor
    labels: Tensor
    documents: Tensor


def batches(documents: Iterator[Document], rows: int = ROWS_PER_STEP) -> Iterator[Batch]:
    """Pack documents into batches of `rows` rows without end; only the tokens of an answer are labels."""
    import torch

    packed = _rows(documents)
    while True:
        data = torch.full((4, rows, ROW_TOKENS), PAD_ID)
        data[1], data[2], data[3] = 0, IGNORED, -1
        for row in range(rows):
            start = 0
            for number, (ids, prompt_tokens) in enumerate(next(packed)):
                end = start + len(ids) - 1
                data[0, row, start:end] = torch.tensor(ids[:-1])
                data[1, row, start:end] = torch.arange(len(ids) - 1)
                data[2, row, start + prompt_tokens - 1 : end] = torch.tensor(ids[prompt_tokens:])
                data[3, row, start:end] = number
                start = end
        yield Batch(data[0], data[1], data[2], data[3])


def _rows(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Fill rows from a pool: its oldest document first (so that none waits for ever), then the longest that fit."""
    pool = [next(documents) for _ in range(_POOL)]
    while True:
        row, room = [], ROW_TOKENS
        chosen: int | None = 0
        while chosen is not None:
            document = pool.pop(chosen)
            pool.append(next(documents))
            row.append(document)
            room -= len(document[0]) - 1
            fitting = [at for at, (ids, _) in enumerate(pool) if len(ids) - 1 <= room]
            chosen = max(fitting, key=lambda at: len(pool[at][0]), default=None)
        yield row


def causal_mask(documents: Tensor) -> Tensor:
    """Return [rows, 1, row tokens, row tokens]: True where a token may look, at its own document and not ahead."""
    import torch

    same_document = documents[:, None, :, None] == documents[:, None, None, :]
    return same_document & torch.ones(ROW_TOKENS, ROW_TOKENS, dtype=torch.bool).tril()
