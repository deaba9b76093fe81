"""What a drafter proposes and what a verifier finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Proposal:
    """Continuations of the committed tokens, of one length K.

    Attributes:
        candidates: ids of each.
        distributions: what each token was drawn from, [candidates, K, V]; None where nothing was drawn: the proposal
            was certain, as that of a greedy draft.
        logprobs: log-probability of each token under the draft, [candidates][K]; None where unknown.
    """

    candidates: tuple[tuple[int, ...], ...]
    distributions: Tensor | None = None
    logprobs: tuple[tuple[float, ...], ...] | None = None

    @property
    def length(self) -> int:
        """K."""
        return len(self.candidates[0])


NOTHING = Proposal(candidates=((),))
"""No draft: the target alone says the next token."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a rule decides.

    Attributes:
        candidate: index of the candidate that is taken.
        accepted: how many of its tokens are committed.
        next_id: the target's own token behind them: a correction, or the bonus behind a whole draft.
        logprob: of that token under the target, at temperature 1; None where it was not asked for.
    """

    candidate: int
    accepted: int
    next_id: int
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement and what it took.

    Attributes:
        judgement: what is committed.
        verify_s: the target's time, its rule's included.
        wire_s: what the round trip took beyond it; None where there is no wire.
        reconnects: how often the connection had to be made anew.
        resent: tokens of the prefix that were sent again for it.
    """

    judgement: Judgement
    verify_s: float
    wire_s: float | None = None
    reconnects: int = 0
    resent: int = 0
