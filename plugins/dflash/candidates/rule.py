"""What a rule that builds candidates is, what it gets and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..options import DFlashOptions


@dataclass(frozen=True, slots=True)
class DraftRanks:
    """The draft's likeliest ids for block positions 1 .. b - 1; entry j is position j + 1.

    Attributes:
        ids: [b - 1][k] token ids by falling logit.
        logits: [b - 1][k] their logits.
        log_norms: [b - 1] logsumexp over the vocabulary.
    """

    ids: Sequence[Sequence[int]]
    logits: Sequence[Sequence[float]]
    log_norms: Sequence[float]

    @property
    def greedy(self) -> tuple[int, ...]:
        """The likeliest block."""
        return tuple(ids[0] for ids in self.ids)

    def logprob(self, at: int, rank: int) -> float:
        """Log-probability of the id of a rank (0 is the likeliest)."""
        return self.logits[at][rank] - self.log_norms[at]

    def margin(self, at: int) -> float:
        """Probability of the likeliest id, less that of the second."""
        from math import exp

        return exp(self.logprob(at, 0)) - exp(self.logprob(at, 1))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block to verify.

    Attributes:
        tokens: ids for positions 1 .. b - 1.
        score: the draft's opinion; comparable within a cycle only.
        rank: rank of the alternative that it takes, from 1; 1 is the greedy block.
    """

    tokens: tuple[int, ...]
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """The candidates of a cycle, the greedy block first, and the block positions that vary."""

    candidates: Sequence[Candidate]
    positions: Sequence[int]


class CandidateRule(ABC):
    """Builds candidates.

    Attributes:
        ranks_needed: how many ids per position it looks at.
    """

    name: ClassVar[str]

    def __init__(self, options: DFlashOptions) -> None:
        self._options = options
        self.ranks_needed = max(2, options.branch_top_k)

    @abstractmethod
    def propose(self, ranks: DraftRanks, budget: int) -> Proposal:
        """Return at most ``budget`` different blocks."""

    def _first_varied(self, ranks: DraftRanks) -> int:
        """Return the first entry that may vary under ``fixed_prefix_len``, which counts the anchor."""
        block_size = len(ranks.ids) + 1
        return max(1, min(self._options.fixed_prefix_len, block_size)) - 1

    def _is_uncertain(self, ranks: DraftRanks, at: int) -> bool:
        threshold = self._options.branch_margin_threshold
        return threshold < 0 or ranks.margin(at) <= threshold
