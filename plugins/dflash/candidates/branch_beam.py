"""Beam search over the first positions of the block."""

from __future__ import annotations

from typing import ClassVar

from .rule import Candidate, CandidateRule, DraftRanks, Proposal


class BranchBeam(CandidateRule):
    """The best combinations of the likeliest ids at positions 1 .. ``branch_depth``, by summed log-probability.

    The positions are drafted independently of one another, so a beam's score is a sum.
    """

    name: ClassVar[str] = "branch_beam"

    def propose(self, ranks: DraftRanks, budget: int) -> Proposal:
        """Keep ``budget`` beams; the greedy block comes first, the others best first."""
        depth = min(len(ranks.ids), self._options.branch_depth)
        places = [at for at in range(depth) if self._is_uncertain(ranks, at)]
        greedy = ranks.greedy
        first = Candidate(greedy, sum(ranks.logprob(at, 0) for at in places), 1)
        found = {greedy: first}
        for score, chosen in self._beams(ranks, places, budget) if budget > 1 else ():
            tokens = list(greedy)
            for at, rank in zip(places, chosen, strict=True):
                tokens[at] = ranks.ids[at][rank]
            if len(found) < budget:
                found.setdefault(tuple(tokens), Candidate(tuple(tokens), score, 1 + max(chosen, default=0)))
        return Proposal(list(found.values()), [at + 1 for at in places])

    def _beams(self, ranks: DraftRanks, places: list[int], width: int) -> list[tuple[float, tuple[int, ...]]]:
        """Return (score, rank at each place), best first."""
        beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for at in places:
            top = min(self._options.branch_top_k, len(ranks.ids[at]))
            longer = [(score + ranks.logprob(at, rank), (*done, rank)) for score, done in beams for rank in range(top)]
            beams = sorted(longer, key=lambda beam: -beam[0])[:width]
        return beams
