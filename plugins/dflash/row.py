"""One request on its way: what is committed, and the state of the rules that steer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...core.contract.generation import Request
from .candidates.budget import AdaptiveBudget
from .options import DFlashOptions
from .sampler import Sampler
from .schedulers import Scheduler, make_scheduler
from .seeding import SuffixSeeder
from .target import Target

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(slots=True)
class Row:
    """A request.

    Attributes:
        index: its place in the batch.
        request: what was asked for.
        sampler: its choice of tokens.
        scheduler, seeder, budget: its rules.
        anchor: the last committed token: no model has seen it yet.
        start: the anchor's position.
        committed: tokens committed so far, the first one from the prefill included.
        taus: tokens gained by each cycle, before anything was cut off.
        is_stopped: whether a stop token was committed.
        previous_ratio: tau / block size of the last cycle.
        prompt_features: of the prompt behind the request's depth, what the drafter has to absorb before it drafts for
            the first time.
    """

    index: int
    request: Request
    sampler: Sampler
    scheduler: Scheduler
    seeder: SuffixSeeder
    budget: AdaptiveBudget
    anchor: int
    start: int
    committed: int = 1
    taus: list[int] = field(default_factory=list)
    is_stopped: bool = False
    previous_ratio: float | None = None
    prompt_features: Tensor | None = None

    @classmethod
    def begin(
        cls, target: Target, index: int, request: Request, taps: Sequence[int], options: DFlashOptions, block_size: int
    ) -> Row:
        """Prefill a row of the target's cache behind the request's depth, which gives the first token.

        The row's rules are new.
        """
        import torch

        prompt = torch.tensor([request.prompt_ids[request.depth :]], device=target.device)
        sampler = Sampler(request, target.device)
        logits, features = target.prefill_row(prompt, index, taps, start=request.depth)
        first = int(sampler.choose(logits[0]))
        return cls(
            index=index,
            request=request,
            sampler=sampler,
            scheduler=make_scheduler(options, block_size),
            seeder=SuffixSeeder(options.seed_mode, options.seed_max_tokens),
            budget=AdaptiveBudget(options),
            anchor=first,
            start=len(request.prompt_ids),
            is_stopped=request.is_stop(first),
            prompt_features=features,
        )

    @property
    def cycle(self) -> int:
        """Index of the next cycle."""
        return len(self.taus)

    @property
    def remaining(self) -> int:
        """Tokens that may still be committed."""
        return self.request.max_new_tokens - self.committed

    @property
    def is_finished(self) -> bool:
        """Whether nothing more may be committed."""
        return self.is_stopped or self.remaining == 0

    def block(self, n: int, size: int, mask: int) -> list[int]:
        """Return the ids to draft from, n long: the anchor, hints within the first ``size`` positions, masks."""
        ids = [self.anchor] + [mask] * (n - 1)
        for at, token in self.seeder.hints(size).items():
            ids[at] = token
        return ids

    def commit(self, tokens: Sequence[int]) -> list[int]:
        """Move on by the tokens that a cycle gained; return those that are visible.

        What lies behind a stop token or the limit is gained, but not visible.
        """
        self.taus.append(len(tokens))
        self.start += len(tokens)
        self.anchor = tokens[-1]
        visible = list(tokens[: max(0, self.remaining)]) if not self.is_stopped else []
        for at, token in enumerate(visible):
            if self.request.is_stop(token):
                self.is_stopped = True
                visible = visible[: at + 1]
                break
        self.committed += len(visible)
        return visible
