"""The published loops, faults and all: ``compat=published`` (AtharvRN/dflash, research code of February 2026) and
``compat=published-original`` (z-lab/dflash, the authors' own of April 2026).

Both commit the same tokens as ``decoder``, one prompt at a time, and differ in how they get there:

- they run until the buffer of prompt and limit is full, so that a last cycle may gain a token that is known already,
  and look for a stop token behind a cycle only, one of the prefill included;
- the last block shrinks to what is left of the buffer in the first, and is a whole one in the second.

The rest is of the first alone:

- several draft steps run without the draft's cache: they see the positions of the last verification alone;
- hints stand one position too late or more;
- candidates are verified on clones of the whole cache, which are made outside what is timed, and chosen by one sum in
  which small differences of the score are lost;
- in multi-round sampling the draft sees a single position, a place too early.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...core.contract.generation import Request, Step
from ...core.sdk.torch_layers.place import Span
from .acceptance import make_acceptance
from .accounting import check_published_sample
from .candidates import Proposal, make_rule
from .clock import clock_for
from .cycle import Marked, commit, note_times
from .drafters import Drafter
from .multi_round import MultiRoundDecoder
from .options import DFlashOptions
from .published_times import PublishedTimes
from .row import Row
from .schedulers import make_scheduler
from .seeding import SuffixSeeder
from .target import Target
from .verification import BlockVerifier, CandidateVerifier, Verification, gained_by

if TYPE_CHECKING:
    from torch import Tensor


class PublishedDecoder:
    """A target, a drafter and the rules between them; arguments as for ``Decoder``."""

    def __init__(self, target: Target, drafter: Drafter | None, options: DFlashOptions, block_size: int) -> None:
        self._target, self._drafter, self._options, self._block_size = target, drafter, options, block_size
        self._clock = clock = clock_for(target.device)
        self._taps: Sequence[int] = drafter.taps if drafter else ()
        self._acceptance = make_acceptance(options)
        self._blocks = BlockVerifier(target, self._taps, clock)
        self._clones: CloneVerifier | None = None
        if options.candidate_mode != "none" and drafter is not None:
            self._clones = CloneVerifier(make_rule(options), target, self._taps, clock, is_tree=False)
        self._has_whole_blocks = options.compat == "published-original"
        self.times = PublishedTimes(
            clock,
            is_candidate=self._clones is not None,
            mask_token_id=drafter.mask_token_id if drafter else None,
            counts_masks=self._has_whole_blocks,
        )

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue the one request of the batch: a step for the prefill, then one per cycle."""
        import torch

        (request,) = batch
        end = len(request.prompt_ids) + request.max_new_tokens
        marked: list[Marked] = []
        self.times.begin()
        try:
            self._reserve(end)
            with torch.inference_mode():
                row = Row.begin(self._target, 0, request, self._taps, self._options, self._block_size)
            row.seeder = LateSeeder(self._options.seed_mode, self._options.seed_max_tokens)
            self.times.committed([row.anchor])
            yield Step((row.anchor,), forwards=1)
            self.times.prefilled()
            features = row.prompt_features  # [1, c, taps x width] of the c positions before the anchor
            while row.start < end and not (row.cycle and row.is_stopped):
                with torch.inference_mode():
                    features, mark = self._cycle(row, features, end)
                marked.append(mark)
                yield mark[0]
            check_published_sample(
                row.taus,
                row.committed,
                request.max_new_tokens,
                row.is_stopped,
                has_whole_blocks=self._has_whole_blocks,
            )
        finally:
            self.times.finish()
            note_times(self._clock, marked)

    def _reserve(self, end: int) -> None:
        widest = make_scheduler(self._options, self._block_size).largest
        self._target.reserve(1, end + widest)
        if self._drafter:
            self._drafter.reserve(1, end + widest)

    def _cycle(self, row: Row, features: Tensor | None, end: int) -> tuple[Tensor | None, Marked]:
        """Draft, verify and commit one block; returns the features of what it gained, and the step."""
        began = time.perf_counter()
        chosen = row.scheduler.select(row.cycle)
        size = chosen if self._has_whole_blocks else min(chosen, end - row.start)
        start = self._clock.mark()
        block, proposal = self._draft(row, size, features)
        drafted = self._clock.mark()
        self.times.drafted()
        verification = self._verify(row, block, proposal)
        (verdict,) = verification.verdicts
        gained = len(verdict.tokens)
        features = None if verification.features is None else verification.features[:, :gained]
        cycle_s = time.perf_counter() - began
        self.times.cycled()
        step = commit(row, self._options, verdict, chosen, size, cycle_s)
        self.times.committed(step.token_ids)
        return features, (step, (start, drafted), (verification.began, verification.ended))

    def _draft(self, row: Row, size: int, features: Tensor | None) -> tuple[Tensor, Proposal | None]:
        """Return the drafted block [1, n], and the candidates where there are some."""
        import torch

        mask = self._drafter.mask_token_id if self._drafter else 0
        block = torch.tensor([row.block(size, size, mask)], device=self._target.device)
        if self._drafter is None or size == 1:
            return block, None
        place = Span(row.start, size)
        if features is not None:
            context = Span(row.start - features.shape[1], features.shape[1])
            self._drafter.absorb(features, context)
            place.first = context.start if self._options.draft_steps > 1 else 0
        for _ in range(self._options.draft_steps - 1):
            block[:, 1:] = self._drafter.logits(block, place).argmax(-1)
        logits = self._drafter.logits(block, place)  # [1, n - 1, V]
        if self._clones:
            return block, self._clones.propose(logits, row)
        block[:, 1:] = self._acceptance.draft(logits, [row.sampler])
        return block, None

    def _verify(self, row: Row, block: Tensor, proposal: Proposal | None) -> Verification:
        if self._clones and proposal:
            return self._clones.verify(row, proposal)
        size = block.shape[1]
        judge = partial(self._acceptance.judge, samplers=[row.sampler])
        return self._blocks.verify(judge, block, Span(row.start, size), [size])


class LateSeeder(SuffixSeeder):
    """Puts the first rejected token behind the anchor, although it was drafted for what is now the anchor's place."""

    def _placed(self, positions: range, rejected: Sequence[int]) -> dict[int, int]:
        return dict(zip(positions, rejected, strict=False))


class CloneVerifier(CandidateVerifier):
    """Evaluates every candidate on a clone of the cache, which is not counted as verification."""

    def verify(self, row: Row, proposal: Proposal) -> Verification:
        """Verify, choose by one float32 sum, and put the chosen clone back."""
        if len(proposal.candidates) == 1:
            return super().verify(row, proposal)
        blocks = [[row.anchor, *candidate.tokens] for candidate in proposal.candidates]
        clones = self._target.cache.rows(1).repeat(1, 1, len(blocks), 1, 1, 1)
        place = Span(row.start, len(blocks[0]))
        began = self._clock.mark()
        logits, features = self._target.forward(self._tokens(blocks), place, clones, self._taps)
        own = logits.argmax(-1).tolist()
        ended = self._clock.mark()
        found = [gained_by(block, after) for block, after in zip(blocks, own, strict=True)]
        chosen = choose_by_sum([len(tokens) for tokens in found], [c.score for c in proposal.candidates])
        self._target.cache.rows(1)[:] = clones[:, :, chosen : chosen + 1]
        features = None if features is None else features[chosen : chosen + 1]
        verdict = self._verdict(row, proposal, found, chosen, len(blocks) * len(blocks[0]))
        return Verification([verdict], features, began, ended)


def choose_by_sum(taus: Sequence[int], scores: Sequence[float]) -> int:
    """Choose by one float32 sum, in which small differences of the score are lost."""
    import numpy as np

    order = np.arange(len(taus), dtype=np.float32)
    total = np.asarray(taus, np.float32) * np.float32(1e6) + np.asarray(scores, np.float32) - np.float32(1e-3) * order
    return int(total.argmax())


class PublishedMultiRoundDecoder(MultiRoundDecoder):
    """The draft sees the target's features of the last token only, as if they were of the position before it."""

    def _first_seen(self, start: int, features: Tensor) -> int:
        self._drafter.absorb(features, Span(start - 1, 1))
        return start - 1
