"""Which drafted tokens stay: equality with the target's own choice, or rejection sampling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import DFlashOptions
from .sampler import Sampler

if TYPE_CHECKING:
    from torch import Tensor


class Acceptance(ABC):
    """A rule under which the committed tokens follow the target's distribution, whatever the draft says."""

    @abstractmethod
    def draft(self, logits: Tensor, samplers: Sequence[Sampler]) -> Tensor:
        """Choose drafted tokens: logits [R, n, V] -> ids [R, n]; what the rule needs of them later it keeps."""

    @abstractmethod
    def judge(self, blocks: Tensor, logits: Tensor, samplers: Sequence[Sampler]) -> list[tuple[int, list[int], int]]:
        """Hold blocks against the target; waits for the device, once.

        Args:
            blocks: [R, n] ids: the anchor, then the drafted tokens.
            logits: the target's, [R, n, V]; entry i is for the token behind block position i.
            samplers: one per row.

        Returns:
            Per row: how many of the n - 1 drafted tokens are accepted, the block's ids, and the token behind the
            accepted ones.
        """


class Equality(Acceptance):
    """Accept a token while it equals the target's own: its argmax, or its own draw at a temperature above 0.

    The rule of the published loop: the draft is always greedy, and every token of the output is the target's choice.
    """

    def draft(self, logits: Tensor, samplers: Sequence[Sampler]) -> Tensor:
        """Take the likeliest tokens."""
        return logits.argmax(-1)

    def judge(self, blocks: Tensor, logits: Tensor, samplers: Sequence[Sampler]) -> list[tuple[int, list[int], int]]:
        """Compare with the target's choice at each position."""
        import torch

        if all(sampler.is_greedy for sampler in samplers):
            own = logits.argmax(-1)
        else:
            own = torch.stack([sampler.choose(rows) for sampler, rows in zip(samplers, logits, strict=True)])
        both = torch.cat([blocks, own], dim=1).tolist()
        return [_compare(ids) for ids in both]


def _compare(ids: list[int]) -> tuple[int, list[int], int]:
    block, own = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    accepted = count_accepted(block, own)
    return accepted, block, own[accepted]


def count_accepted(block: Sequence[int], own: Sequence[int]) -> int:
    """Return how many drafted ids of a block equal the target's choices; ``own[i]`` is the one behind id i."""
    accepted = 0
    while accepted < len(block) - 1 and block[accepted + 1] == own[accepted]:
        accepted += 1
    return accepted


class Rejection(Acceptance):
    """Accept token x with probability min(1, p(x) / q(x)), else draw from the positive part of p - q, normalised.

    Leviathan et al. 2023 (arXiv 2211.17192), section 2.3; the draft's tokens are drawn from q position by position,
    each with the request's own temperature, top-k and top-p, as the target's are.
    """

    _proposals: Tensor

    def draft(self, logits: Tensor, samplers: Sequence[Sampler]) -> Tensor:
        """Draw from the draft's distribution."""
        import torch

        self._proposals = torch.stack([s.probabilities(rows) for s, rows in zip(samplers, logits, strict=True)])
        return torch.stack([s.draw(rows) for s, rows in zip(samplers, self._proposals, strict=True)])

    def judge(self, blocks: Tensor, logits: Tensor, samplers: Sequence[Sampler]) -> list[tuple[int, list[int], int]]:
        """Test each position; the first rejected one is drawn anew."""
        return [self._row(row, blocks[row], logits[row], sampler) for row, sampler in enumerate(samplers)]

    def _row(self, row: int, block: Tensor, logits: Tensor, sampler: Sampler) -> tuple[int, list[int], int]:
        import torch

        target = sampler.probabilities(logits)  # [n, V]
        n = len(block)
        if n == 1:
            return 0, block.tolist(), int(sampler.draw(target))
        proposal = self._proposals[row, : n - 1]
        drafted = block[1:, None]
        chance = target[:-1].gather(-1, drafted) / proposal.gather(-1, drafted)
        is_accepted = sampler.uniform(n - 1) < chance[:, 0]
        accepted = is_accepted.long().cumprod(0).sum()
        # Behind a block that was accepted whole the target's own distribution is left: nothing was proposed there.
        padded = torch.cat([proposal, torch.zeros_like(target[-1:])])
        residual = residual_distribution(target, padded)
        last = sampler.draw(residual.index_select(0, accepted[None]))
        numbers = torch.cat([accepted[None], last, block]).tolist()
        return numbers[0], numbers[2:], numbers[1]


def make_acceptance(options: DFlashOptions) -> Acceptance:
    """Build the rule that ``acceptance`` names."""
    return Rejection() if options.acceptance == "rejection" else Equality()


def residual_distribution(target: Tensor, proposal: Tensor) -> Tensor:
    """Return max(p - q, 0) normalised, row by row [n, V]; p itself where nothing is left but rounding."""
    left = (target - proposal).clamp_min(0)
    mass = left.sum(-1, keepdim=True)
    return (left / mass).where(mass > 1e-12, target)
