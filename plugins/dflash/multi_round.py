"""Multi-round exact sampling: one token per step, proposed by several draft passes in turn, at temperature > 0.

Each round proposes a token from the draft with its own block size (a round of 1 proposes from the target itself) and
accepts it with min(1, residual / proposal); what a rejection leaves of the target's distribution is the residual of
the next round, and after the last one the token is drawn from it. The output follows the target's distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.contract.generation import Request, Step
from ...core.sdk.torch_layers.place import Span
from .acceptance import residual_distribution
from .drafters import Drafter
from .options import DFlashOptions
from .sampler import Sampler
from .target import Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Round:
    """How a token was found: round 1 .. R, or R + 1 for the residual; the rest as at its acceptance."""

    number: int
    block_size: int
    token: int
    proposal: float
    residual: float
    chance: float
    draw: float

    def trace(self, rounds: int) -> dict[str, float | int | bool]:
        """Name the figures as the published traces do."""
        return {
            "round_idx": self.number,
            "proposal_prob": self.proposal,
            "residual_prob": self.residual,
            "accept_prob": self.chance,
            "u": self.draw,
            "accepted": self.number <= rounds,
        }


class MultiRoundDecoder:
    """A target, a drafter and the block sizes of the rounds; batch size 1."""

    times = None  # nothing was published by rules of its own

    def __init__(self, target: Target, drafter: Drafter, options: DFlashOptions) -> None:
        self._target, self._drafter = target, drafter
        self._sizes = options.round_block_sizes

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue the one request of the batch, a step per token."""
        import torch

        (request,) = batch
        sampler = Sampler(request, self._target.device)
        positions = len(request.prompt_ids) + request.max_new_tokens + max(self._sizes)
        self._target.reserve(1, positions)
        self._drafter.reserve(1, positions)
        with torch.inference_mode():
            prompt = torch.tensor([request.prompt_ids], device=self._target.device)
            logits, features = self._target.prefill_row(prompt, 0, self._drafter.taps)
            token = int(sampler.choose(logits[0]))
        yield Step((token,), forwards=1)
        start, absorbed = len(request.prompt_ids), 0
        for _ in range(request.max_new_tokens - 1):
            if request.is_stop(token):
                return
            with torch.inference_mode():
                assert features is not None
                self._drafter.absorb(features, Span(absorbed, features.shape[1]))
                absorbed += features.shape[1]
                logits, features = self._target.evaluate(
                    torch.tensor([[token]], device=self._target.device), Span(start, 1), self._drafter.taps
                )
                assert features is not None
                found = self._token(sampler, sampler.probabilities(logits[0]), token, start, features)
            token, start = found.token, start + 1
            rounds = len(self._sizes)
            yield Step(
                (token,),
                block_size=found.block_size,
                drafted=min(found.number, rounds),
                accepted=int(found.number <= rounds),
                forwards=1,
                trace=found.trace(rounds),
            )

    def _token(self, sampler: Sampler, target: Tensor, anchor: int, start: int, features: Tensor) -> Round:
        """Find the token behind position ``start`` from the target's distribution [1, V]."""
        residual = target
        for number, size in enumerate(self._sizes, 1):
            proposal = target
            if size > 1:
                place = Span(start, size, self._first_seen(start, features))
                proposal = self._proposal(sampler, anchor, place)
            token = sampler.draw(proposal)
            p, q = residual[0, token], proposal[0, token]
            chance = (p / q.clamp_min(1e-12)).clamp_max(1.0)
            draw = sampler.uniform(1)
            if bool(draw < chance):
                return Round(number, size, int(token), float(q), float(p), float(chance), float(draw))
            residual = residual_distribution(residual, proposal)
        token = sampler.draw(residual)
        left = float(residual[0, token])
        return Round(len(self._sizes) + 1, 1, int(token), left, left, 1.0, 0.0)

    def _first_seen(self, start: int, features: Tensor) -> int:
        """Return the first position that the draft sees: all of the context.

        Args:
            start: position of the anchor.
            features: the target's, of the anchor.
        """
        return 0

    def _proposal(self, sampler: Sampler, anchor: int, place: Span) -> Tensor:
        """Return the draft's distribution for the position behind the anchor, [1, V]."""
        import torch

        ids = [[anchor] + [self._drafter.mask_token_id] * (place.n - 1)]
        blocks = torch.tensor(ids, device=self._target.device)
        return sampler.probabilities(self._drafter.logits(blocks, place)[0, :1])
