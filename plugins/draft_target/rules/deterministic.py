"""Accept what equals the target's own greedy choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ....core.contract.generation import Request
from ..draws import Draws
from ..proposal import Judgement, Proposal
from .rule import Rule, RuleName

if TYPE_CHECKING:
    from torch import Tensor


class Deterministic(Rule):
    """The output is the target's greedy one, whatever is drafted; the longest accepted prefix wins, ties the first."""

    name: ClassVar[RuleName] = "deterministic"
    is_greedy: ClassVar[bool] = True

    def judge(self, proposal: Proposal, logits: Tensor, sampling: Request, draws: Draws, position: int) -> Judgement:
        """Compare ids; waits for the device, once."""
        chosen: list[list[int]] = logits.argmax(-1).tolist()
        lengths = [_agreement(ids, own) for ids, own in zip(proposal.candidates, chosen, strict=True)]
        best = lengths.index(max(lengths))
        return Judgement(best, lengths[best], chosen[best][lengths[best]])


def _agreement(ids: Sequence[int], own: Sequence[int]) -> int:
    return next((at for at, (drafted, wanted) in enumerate(zip(ids, own, strict=False)) if drafted != wanted), len(ids))
