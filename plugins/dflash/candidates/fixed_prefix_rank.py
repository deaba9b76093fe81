"""Behind a fixed prefix, candidate r takes the r-th likeliest id everywhere."""

from __future__ import annotations

from typing import ClassVar

from .rule import Candidate, CandidateRule, DraftRanks, Proposal


class FixedPrefixRank(CandidateRule):
    """It helps where the greedy block fails right behind the prefix and the target's token is one of the next ranks."""

    name: ClassVar[str] = "fixed_prefix_rank"

    def propose(self, ranks: DraftRanks, budget: int) -> Proposal:
        """Return a candidate per rank."""
        first = self._first_varied(ranks)
        places = range(first, len(ranks.ids))
        count = min(budget, self._options.branch_top_k, len(ranks.ids[0]) if ranks.ids else 1)
        greedy = ranks.greedy
        if not places:
            count = 1
        candidates = [
            Candidate(
                (*greedy[:first], *(ranks.ids[at][rank] for at in places)),
                sum(ranks.logits[at][rank] for at in places),
                rank + 1,
            )
            for rank in range(max(1, count))
        ]
        return Proposal(candidates, [at + 1 for at in places] if len(candidates) > 1 else [])
