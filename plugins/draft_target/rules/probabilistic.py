"""Rejection sampling: the output is distributed as the target's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ....core.contract.generation import Request
from ....core.sdk import torch_sampling
from ..draws import Draws, Purpose, pick
from ..proposal import Judgement, Proposal
from .rule import Rule, RuleName

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-12


class Probabilistic(Rule):
    """Accept x with probability min(1, p(x) / q(x)), else draw from the positive part of p - q, normalised.

    Leviathan et al. 2023 (arXiv 2211.17192), section 2.3 and appendix A.1; Chen et al. 2023 (arXiv 2302.01318),
    theorem 1. Several candidates, drawn independently, are tried in turn at each position, p being replaced by the
    positive part of p - q after each rejection (recursive rejection sampling, arXiv 2305.09781, section 4.2).
    """

    name: ClassVar[RuleName] = "probabilistic"
    is_greedy: ClassVar[bool] = False
    needs_distributions: ClassVar[bool] = True

    def judge(self, proposal: Proposal, logits: Tensor, sampling: Request, draws: Draws, position: int) -> Judgement:
        """Go down the candidates that share what is accepted so far."""
        target = torch_sampling.probabilities(logits.flatten(0, 1), sampling).view(logits.shape)
        alive = list(range(len(proposal.candidates)))
        for depth in range(proposal.length):
            left = target[alive[0], depth]
            found = self._try(proposal, left, alive, depth, draws, position + depth)
            if isinstance(found, int):
                return Judgement(alive[0], depth, found)
            alive = found
        last = target[alive[0], proposal.length]
        return Judgement(
            alive[0], proposal.length, pick(last, draws.uniform(position + proposal.length, Purpose.TARGET))
        )

    def _try(
        self, proposal: Proposal, left: Tensor, alive: list[int], depth: int, draws: Draws, position: int
    ) -> list[int] | int:
        """Return the candidates that live on with the accepted token, or the token that is drawn instead."""
        for order, candidate in enumerate(alive):
            token = proposal.candidates[candidate][depth]
            drafted = _row(proposal, candidate, depth, left)
            chance = float(left[token]) if drafted is None else float(left[token]) / float(drafted[token])
            if draws.uniform(position, Purpose.ACCEPT, candidate) < chance:
                return [other for other in alive[order:] if proposal.candidates[other][depth] == token]
            left = _without(left, drafted, token)
        return pick(left, draws.uniform(position, Purpose.TARGET))


def _row(proposal: Proposal, candidate: int, depth: int, like: Tensor) -> Tensor | None:
    """Return what a token was drawn from, as long as the target's rows."""
    import torch.nn.functional as F

    if proposal.distributions is None:
        return None
    row = proposal.distributions[candidate, depth]
    return F.pad(row, (0, len(like) - len(row)))


def _without(left: Tensor, drafted: Tensor | None, token: int) -> Tensor:
    """Return max(p - q, 0) normalised; p itself where nothing is left but rounding."""
    if drafted is None:
        rest = left.clone()
        rest[token] = 0.0
    else:
        rest = (left - drafted).clamp_min(0)
    mass = rest.sum()
    return rest / mass if float(mass) > _ROUNDING else left
