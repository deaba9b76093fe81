"""What a rule is: it says which drafted tokens stay, given the target's logits behind every one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from ....core.contract.generation import Request
from ..draws import Draws
from ..proposal import Judgement, Proposal

if TYPE_CHECKING:
    from torch import Tensor

RuleName = Literal["deterministic", "probabilistic", "probabilistic-approx"]


class Rule(ABC):
    """One way to accept drafts.

    Attributes:
        name: as users type it.
        is_greedy: whether the output is the target's greedy one; otherwise it is drawn, at a temperature above 0.
        needs_distributions: whether the draft's distributions change the result.
        needs_logprobs: whether the log-probabilities of the drafted tokens do.
        takes_candidates: whether several candidates can be judged.
    """

    name: ClassVar[RuleName]
    is_greedy: ClassVar[bool]
    needs_distributions: ClassVar[bool] = False
    needs_logprobs: ClassVar[bool] = False
    takes_candidates: ClassVar[bool] = True

    @abstractmethod
    def judge(self, proposal: Proposal, logits: Tensor, sampling: Request, draws: Draws, position: int) -> Judgement:
        """Hold a proposal against the target.

        Args:
            proposal: what was drafted.
            logits: the target's, [candidates, K + 1, V]; entry i of a candidate is for the token behind its first i.
            sampling: temperature, top-k and top-p of the output.
            draws: random numbers of the request.
            position: of the first drafted token in the whole sequence.
        """
