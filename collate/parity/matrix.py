"""Every cell of an experiment against one reference: identical tokens, distance of distributions, perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...core.records.schema import Record
from ..comparison.result import CellLabel, ComparisonRow, Divergence
from ..parsers.parity import ParityCell, ParityFigures

if TYPE_CHECKING:
    import numpy as np

    from ...core.records.store import Store

TOP_K = 64
"""Likeliest ids that a cell gives per position where the vocabulary is too large to give whole."""
WHOLE_VOCABULARY = 1024
"""Vocabularies up to this size are given whole, so that the divergence is exact; a position then takes some 20 kB."""
_LARGEST_EXPONENT = 700.0  # math.exp overflows a little above
_SMALLEST_MASS = 2.0**-23  # of a tail: below, the sum of float32 probabilities tells nothing

Evaluation = Mapping[str, Any]
"""The worker's line on one sequence: ``logprobs`` and ``is_greedy`` [n], ``top_ids`` and ``top_logprobs`` [n][k]."""


class ParityRow(ParityFigures):
    """One cell against the reference, as ``decodebench parity`` shows it."""

    cell: CellLabel
    divergences: tuple[Divergence, ...] = Field(default=(), description="first divergence of each differing prompt")


class ParityMatrix(Record):
    """What ``decodebench parity`` found: one row per cell, the reference first, then by bits per weight."""

    experiment: str = Field(description="name of the experiment")
    reference: str = Field(description="label of the reference cell")
    rows: tuple[ParityRow, ...] = Field(description="one per cell")
    failed: tuple[str, ...] = Field(default=(), description="what could not be measured or scored, and why")
    broken: tuple[str, ...] = Field(
        default=(), description="float32 cells whose outputs differ from a float32 reference beyond numerical ties"
    )


@dataclass(slots=True)
class Tally:
    """Adds up what a cell says of given texts, one sequence at a time, in constant memory."""

    positions: int = 0
    agreements: int = 0
    logprob_sum: float = 0.0
    largest_difference: float | None = None
    kl_positions: int = 0
    kl_sum: float = 0.0
    kl_max: float = 0.0
    is_exact: bool = True

    def add(self, own: Evaluation, theirs: Evaluation | None) -> None:
        """Take one sequence as the cell and, where it can score, the reference see it."""
        self.positions += len(own["logprobs"])
        self.agreements += sum(own["is_greedy"])
        self.logprob_sum += sum(own["logprobs"])
        if theirs is None or not own["logprobs"]:
            return
        gaps = (abs(a - b) for a, b in zip(own["logprobs"], theirs["logprobs"], strict=True))
        self.largest_difference = max(self.largest_difference or 0.0, *gaps)
        if any(own["top_ids"]) and any(theirs["top_ids"]):
            values, is_exact = kl_divergence(theirs, own)
            self.kl_positions += len(values)
            self.kl_sum += float(values.sum())
            self.kl_max = max(self.kl_max, float(values.max()))
            self.is_exact &= is_exact

    @property
    def perplexity(self) -> float | None:
        """exp(-mean log p); None without a token, or where the model rules the text out."""
        mean = self.logprob_sum / self.positions if self.positions else math.nan
        return math.exp(-mean) if mean > -_LARGEST_EXPONENT else None

    def figures(self) -> dict[str, Any]:
        """Return the fields of ``ParityFigures`` that scoring gives, perplexity left out."""
        if not math.isfinite(self.logprob_sum) or not math.isfinite(self.kl_sum):
            return {"positions": self.positions, "reason": "its log-probabilities are not finite"}
        has_kl = self.kl_positions > 0
        return {
            "positions": self.positions,
            "top1_agreement": self.agreements / self.positions if self.positions else None,
            "kl_mean": self.kl_sum / self.kl_positions if has_kl else None,
            "kl_max": self.kl_max if has_kl else None,
            "kl_is_exact": self.is_exact if has_kl else None,
            "max_logprob_diff": self.largest_difference,
        }


def kl_divergence(reference: Evaluation, cell: Evaluation) -> tuple[np.ndarray, bool]:
    """Return KL(reference || cell) of each position's next-token distribution in nats, and whether it is exact.

    It is where both give their whole vocabulary. Otherwise ids that both name stand for themselves and all others
    share a bucket: merging outcomes never raises a divergence, so that the value is a lower bound.
    """
    import numpy as np

    size = reference["vocabulary_size"]
    sides = (reference, cell)
    if all(side["vocabulary_size"] == size and len(side["top_ids"][0]) == size for side in sides):
        p, q = (_whole(side, size) for side in sides)
        with np.errstate(invalid="ignore"):  # a probability of 0 adds nothing, whatever the other side says
            values: np.ndarray = np.where(np.isneginf(p), 0.0, np.exp(p) * (p - q)).sum(axis=1).clip(min=0.0)
        return values, True
    rows = zip(*(side[name] for side in sides for name in ("top_ids", "top_logprobs")), strict=True)
    return np.array([_coarse(*row) for row in rows]), False


def _whole(side: Evaluation, size: int) -> np.ndarray:
    """Return log-probabilities [n, size] in the order of ids, normalised anew: float32 sums are a little off 1."""
    import numpy as np

    rows = np.empty((len(side["top_ids"]), size))
    np.put_along_axis(rows, np.array(side["top_ids"]), np.array(side["top_logprobs"]), axis=1)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def _coarse(
    ids: Sequence[int], logprobs: Sequence[float], other_ids: Sequence[int], other_logprobs: Sequence[float]
) -> float:
    """Return the divergence over the ids that both sides name and one bucket for all the rest."""
    import numpy as np

    _, mine, theirs = np.intersect1d(ids, other_ids, assume_unique=True, return_indices=True)
    p, q = np.array(logprobs)[mine], np.array(other_logprobs)[theirs]
    rest_p, rest_q = (max(1.0 - float(np.exp(part).sum()), _SMALLEST_MASS) for part in (p, q))
    value = float((np.exp(p) * (p - q)).sum()) + rest_p * math.log(rest_p / rest_q)
    return 0.0 if value < 0 else value


def tokens_identical(pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> float | None:
    """Return the share of the reference's tokens before the first divergence.

    Args:
        pairs: output ids of the reference and of the cell, per prompt.
    """
    total = shared = 0
    for theirs, ours in pairs:
        total += len(theirs)
        parting = (i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b)
        shared += next(parting, min(len(theirs), len(ours)))
    return shared / total if total else None


def load_figures(store: Store, experiment: str, reference_cell: str) -> dict[str, ParityCell]:
    """Return the last stored figures of every cell against this reference, by cell id."""
    rows = store.dicts(
        "SELECT * EXCLUDE (source, line) FROM parity_cells WHERE experiment = ? AND reference_cell = ? "
        "ORDER BY source, line",
        [experiment, reference_cell],
    )
    return {row["cell"]: ParityCell.model_validate(row) for row in rows}


def ordered(rows: Iterable[ParityRow], reference: str) -> tuple[ParityRow, ...]:
    """Sort rows: the one labelled ``reference`` first, then most bits per weight first."""
    return tuple(
        sorted(rows, key=lambda row: (row.cell.label != reference, -(row.cell.bits_per_weight or 0.0), row.cell.label))
    )


def parity_row(row: ComparisonRow, figures: ParityFigures) -> ParityRow:
    """Join a cell's figures with its label and its divergences."""
    shared = {name: getattr(figures, name) for name in ParityFigures.model_fields}
    return ParityRow(cell=row.cell, divergences=row.parity.divergences, **shared)
