"""Alternative blocks for one cycle. A further rule is one class in one file, and one line in ``_RULES``.

Rules are plain Python on the few likeliest ids of each position, brought to the host in one transfer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..options import DFlashOptions
from .branch_beam import BranchBeam
from .fixed_prefix_rank import FixedPrefixRank
from .rule import Candidate, CandidateRule, DraftRanks, Proposal
from .uncertainty_sparse_rank import UncertaintySparseRank

__all__ = ["Candidate", "CandidateRule", "DraftRanks", "Proposal", "choose", "clamped_options", "make_rule"]

_RULES: dict[str, type[CandidateRule]] = {
    rule.name: rule for rule in (BranchBeam, FixedPrefixRank, UncertaintySparseRank)
}


def make_rule(options: DFlashOptions) -> CandidateRule:
    """Build the rule that ``candidate_mode`` names."""
    return _RULES[options.candidate_mode](options)


def choose(taus: Sequence[int], scores: Sequence[float]) -> int:
    """Return the candidate that gains most; then the higher score, then the lower index wins."""
    return max(range(len(taus)), key=lambda at: (taus[at], scores[at], -at))


def clamped_options(options: DFlashOptions) -> list[str]:
    """Say which numbers of candidates will be smaller than asked for."""
    if options.candidate_mode == "none":
        return []
    notes = []
    most, ranks = options.max_candidates, options.branch_top_k
    if options.adaptive_candidates and max(options.adaptive_budgets) > most:
        notes.append(f"adaptive_budgets = {list(options.adaptive_budgets)} are clamped to max_candidates = {most}")
    if options.candidate_mode == "fixed_prefix_rank" and most > ranks:
        notes.append(f"max_candidates = {most} is clamped to branch_top_k = {ranks}: there is one candidate per rank")
    return notes
