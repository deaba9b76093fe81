"""The target's side of one generation: what is committed, its cache, and the verification of drafts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.contract.generation import Request
from .draws import Draws
from .models import CausalModel
from .proposal import Judgement, Proposal
from .rules import Rule

if TYPE_CHECKING:
    from torch import Tensor


class TargetSession:
    """Committed tokens and their cache.

    Between verifications the cache holds all committed tokens but the last, the anchor, or fewer of them: what is
    missing is fed with the next draft.

    Attributes:
        tokens: committed ids, prompt included.
    """

    def __init__(self, model: CausalModel, positions: int = 0) -> None:
        self._sequence = model.begin(positions)
        self.tokens: list[int] = []

    def extend(self, start: int, ids: Sequence[int]) -> None:
        """Let ``ids`` follow the first ``start`` committed tokens; what stood there before is forgotten."""
        if start < len(self.tokens):
            self._sequence.crop(start)
            del self.tokens[start:]
        self.tokens += ids
        self._sequence.crop(max(0, len(self.tokens) - 1))  # the anchor is fed anew: its logits are needed

    def fill(self, count: int) -> None:
        """Bring the first ``count`` committed tokens, not all of them, into the cache and wait for the device."""
        import torch

        with torch.inference_mode():
            float(self._sequence.feed(self.tokens[self._sequence.length : count], logits=1).max())

    def verify(self, proposal: Proposal, rule: Rule, sampling: Request, *, with_logprob: bool = False) -> Judgement:
        """Score every drafted position in one forward, let the rule decide, and commit what it says."""
        import torch

        with torch.inference_mode():
            logits = self._evaluate(proposal)
            found = rule.judge(proposal, logits, sampling, Draws(sampling.seed), len(self.tokens))
            if with_logprob:
                row = logits[found.candidate, found.accepted].log_softmax(-1)
                found = replace(found, logprob=float(row[found.next_id]))
            if len(proposal.candidates) > 1:
                self._sequence.keep(found.candidate, found.accepted)
            else:
                self._sequence.crop(len(self.tokens) + found.accepted)
        self.tokens += [*proposal.candidates[found.candidate][: found.accepted], found.next_id]
        return found

    def _evaluate(self, proposal: Proposal) -> Tensor:
        """Return the logits behind the anchor and every drafted token, [candidates, K + 1, V]."""
        missing = self.tokens[self._sequence.length :]
        if len(missing) > 1 and proposal.length:
            self._sequence.feed(missing[:-1], logits=1)
            missing = missing[-1:]
        if len(proposal.candidates) > 1:
            return self._sequence.feed_candidates(missing[-1], proposal.candidates)
        drafted = proposal.candidates[0]
        return self._sequence.feed([*missing, *drafted], logits=1 + len(drafted))[None]

    def close(self) -> None:
        """Give the cache back."""
        self._sequence.close()
