"""The rule of a public prototype, which looks like rejection sampling and is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from ....core.contract.generation import Request
from ....core.sdk import torch_sampling
from ..draws import Draws, Purpose, pick
from ..proposal import Judgement, Proposal
from .rule import Rule, RuleName

if TYPE_CHECKING:
    from torch import Tensor


class ProbabilisticApprox(Rule):
    """Accept what equals the target's own draw or passes the ratio test; a rejection commits the target's draw.

    It knows the drafted token's probability only. It accepts more than min(1, p / q) allows and does not draw from the
    residual, so the output is not distributed as the target's: it is here for comparison.
    """

    name: ClassVar[RuleName] = "probabilistic-approx"
    is_greedy: ClassVar[bool] = False
    needs_logprobs: ClassVar[bool] = True
    takes_candidates: ClassVar[bool] = False

    def judge(self, proposal: Proposal, logits: Tensor, sampling: Request, draws: Draws, position: int) -> Judgement:
        """Go along the one candidate."""
        target = torch_sampling.probabilities(logits[0], sampling)
        (ids,) = proposal.candidates
        for at, token in enumerate(ids):
            own = pick(target[at], draws.uniform(position + at, Purpose.TARGET))
            drafted = math.exp(proposal.logprobs[0][at]) if proposal.logprobs else 1.0
            if token != own and draws.uniform(position + at, Purpose.ACCEPT) >= float(target[at, token]) / drafted:
                return Judgement(0, at, own)
        return Judgement(0, len(ids), pick(target[-1], draws.uniform(position + len(ids), Purpose.TARGET)))
