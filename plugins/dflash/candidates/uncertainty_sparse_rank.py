"""Each candidate changes one position: the draft's least certain ones behind a fixed prefix."""

from __future__ import annotations

from typing import ClassVar

from .rule import Candidate, CandidateRule, DraftRanks, Proposal


class UncertaintySparseRank(CandidateRule):
    """Alternatives at the positions with the smallest logit margin, the least certain first, then the likelier id."""

    name: ClassVar[str] = "uncertainty_sparse_rank"

    def propose(self, ranks: DraftRanks, budget: int) -> Proposal:
        """Return the greedy block and blocks that differ from it in one id."""
        places = [at for at in range(self._first_varied(ranks), len(ranks.ids)) if self._is_uncertain(ranks, at)]
        places = sorted(places, key=lambda at: self._gap(ranks, at))[: self._options.sparse_max_positions]
        greedy = ranks.greedy
        score = sum(ranks.logits[at][0] for at in places)
        top = min(self._options.branch_top_k, len(ranks.ids[0]) if ranks.ids else 1)
        pool = [(at, rank) for at in places for rank in range(1, top)]
        pool.sort(key=lambda one: (self._gap(ranks, one[0]), -ranks.logits[one[0]][one[1]]))
        candidates = [Candidate(greedy, score, 1)]
        for at, rank in pool[: max(0, budget - 1)]:
            changed = score - ranks.logits[at][0] + ranks.logits[at][rank]
            candidates.append(Candidate((*greedy[:at], ranks.ids[at][rank], *greedy[at + 1 :]), changed, rank + 1))
        return Proposal(candidates, [at + 1 for at in places])

    @staticmethod
    def _gap(ranks: DraftRanks, at: int) -> float:
        return ranks.logits[at][0] - ranks.logits[at][1]
