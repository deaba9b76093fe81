"""The decoding loop of DFlash (arXiv 2602.06036): draft a block, verify it, commit what the target agrees with.

Invariants between cycles, per row: the target's cache holds positions 0 .. start - 1; the draft's holds what was
absorbed; ``anchor`` stands at ``start`` and is in neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...core.contract.generation import Request, Step
from ...core.sdk.torch_layers.place import Rows, Span
from .acceptance import make_acceptance
from .accounting import check_sample
from .candidates import Proposal, make_rule
from .clock import clock_for
from .cycle import Marked, commit, note_times
from .drafters import Drafter
from .options import DFlashOptions
from .published_times import PublishedTimes
from .row import Row
from .schedulers import make_scheduler
from .target import Target
from .verification import BlockVerifier, CandidateVerifier, Verification

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(slots=True)
class Pending:
    """Features of committed positions that the drafter has not absorbed yet.

    Attributes:
        features: [R, n, taps x width]; a row's first ``lengths[r]`` positions count.
        starts: position of each row's first one.
        lengths: how many there are.
    """

    features: Tensor
    starts: list[int]
    lengths: list[int]

    @classmethod
    def of(cls, features: Tensor | None, starts: list[int], lengths: list[int]) -> Pending | None:
        """Leave out what no row committed."""
        return None if features is None else cls(features[:, : max(lengths)], starts, lengths)

    def of_rows(self, rows: Sequence[int]) -> Pending:
        """Return the part of the given rows, in their order."""
        lengths = [self.lengths[row] for row in rows]
        return Pending(
            self.features[list(rows), : max(lengths, default=0)], [self.starts[row] for row in rows], lengths
        )

    def place(self, device: str) -> Span | Rows:
        """Return where the positions are."""
        if len(self.starts) == 1:
            return Span(self.starts[0], self.lengths[0])
        return Rows(self.starts, self.lengths, device)


class Decoder:
    """A target, a drafter and the rules between them.

    Args:
        target: the model whose text is wanted.
        drafter: proposes; None decodes token by token with the same code.
        options: the rules.
        block_size: positions per cycle where no scheduler chooses, anchor included.
    """

    def __init__(self, target: Target, drafter: Drafter | None, options: DFlashOptions, block_size: int) -> None:
        self._target, self._drafter, self._options, self._block_size = target, drafter, options, block_size
        self._clock = clock = clock_for(target.device)
        self._taps: Sequence[int] = drafter.taps if drafter else ()
        self._blocks = BlockVerifier(target, self._taps, clock)
        self._candidates: CandidateVerifier | None = None
        if options.candidate_mode != "none" and drafter is not None:
            is_tree = options.verify == "tree"
            self._candidates = CandidateVerifier(make_rule(options), target, self._taps, clock, is_tree=is_tree)
        self.times = PublishedTimes(
            clock, is_candidate=self._candidates is not None, mask_token_id=drafter.mask_token_id if drafter else None
        )
        self._acceptance = make_acceptance(options)
        self._pending: Pending | None = None

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request from an empty cache; a step for each prefill, then one per row and cycle."""
        import torch

        if batch[0].depth:
            self._reserve(batch)
            self._fill(batch[0])
            yield Step((), is_depth=True)
        self.times.begin()
        marked: list[Marked] = []
        rows: list[Row] = []
        try:
            self._reserve(batch)
            for index, request in enumerate(batch):
                # Entered anew for each step: left open across a yield it would leak into the caller.
                with torch.inference_mode():
                    row = Row.begin(self._target, index, request, self._taps, self._options, self._block_size)
                rows.append(row)
                self.times.committed([row.anchor])
                yield Step((row.anchor,), row=index, forwards=1)
            self.times.prefilled()
            rows = self._without_finished(rows)
            while rows:
                with torch.inference_mode():
                    steps = self._cycle(rows, marked)
                yield from steps
                rows = self._without_finished(rows)
        finally:
            self._pending = None
            self.times.finish()
            note_times(self._clock, marked)

    def _fill(self, request: Request) -> None:
        """Bring the depth of a request alone into both caches, and wait for the device."""
        import torch

        with torch.inference_mode():
            context = torch.tensor([request.prompt_ids[: request.depth]], device=self._target.device)
            logits, features = self._target.prefill_row(context, 0, self._taps)
            if self._drafter and features is not None:
                self._drafter.absorb(features, Span(0, request.depth), 0)
            float(logits.max())

    def _reserve(self, batch: Sequence[Request]) -> None:
        widest = make_scheduler(self._options, self._block_size).largest
        nodes = widest * (self._options.max_candidates if self._candidates else 1)
        positions = max(len(request.prompt_ids) + request.max_new_tokens for request in batch) + nodes
        self._target.reserve(len(batch), positions)
        if self._drafter:
            self._drafter.reserve(len(batch), positions)

    def _without_finished(self, rows: list[Row]) -> list[Row]:
        """Drop the rows that have ended and close the gaps that they leave in the caches."""
        left = [at for at, row in enumerate(rows) if not row.is_finished]
        if len(left) == len(rows):
            return rows
        for row in rows:
            if row.is_finished:
                check_sample(row.taus, row.committed, row.request.max_new_tokens, row.is_stopped)
        gaps = [at for at in range(len(left)) if at not in left]
        order = list(range(len(left)))
        for gap, source in zip(gaps, [at for at in left if at >= len(left)], strict=True):
            order[gap] = source
            self._target.cache.move_row(source, gap, rows[source].start)
            if self._drafter:
                self._drafter.move_row(source, gap, rows[source].start)
        if self._pending:
            self._pending = self._pending.of_rows(order)
        return [rows[at] for at in order]

    def _cycle(self, rows: list[Row], marked: list[Marked]) -> list[Step]:
        """Draft, verify and commit a block of every row; one step each."""
        began = time.perf_counter()
        chosen = [row.scheduler.select(row.cycle) for row in rows]
        sizes = [min(size, row.remaining) for size, row in zip(chosen, rows, strict=True)]
        start = self._clock.mark()
        place = self._place(rows, sizes)
        blocks, proposal = self._draft(rows, sizes, place)
        drafted = self._clock.mark()
        self.times.drafted()
        verification = self._verify(rows, sizes, place, blocks, proposal)
        if self._drafter:
            lengths = [len(verdict.tokens) for verdict in verification.verdicts]
            self._pending = Pending.of(verification.features, [row.start for row in rows], lengths)
        cycle_s = time.perf_counter() - began
        self.times.cycled()
        steps = []
        for row, size, wanted, verdict in zip(rows, sizes, chosen, verification.verdicts, strict=True):
            step = commit(row, self._options, verdict, wanted, size, cycle_s)
            self.times.committed(step.token_ids)
            marked.append((step, (start, drafted), (verification.began, verification.ended)))
            steps.append(step)
        return steps

    def _place(self, rows: Sequence[Row], sizes: Sequence[int]) -> Span | Rows:
        if len(rows) == 1:
            return Span(rows[0].start, sizes[0])
        return Rows([row.start for row in rows], sizes, self._target.device)

    def _draft(self, rows: Sequence[Row], sizes: Sequence[int], place: Span | Rows) -> tuple[Tensor, Proposal | None]:
        """Return the drafted blocks [R, n], and the candidates where there are some."""
        import torch

        drafter = self._drafter
        mask = drafter.mask_token_id if drafter else 0
        ids = [row.block(place.n, size, mask) for row, size in zip(rows, sizes, strict=True)]
        blocks = torch.tensor(ids, device=self._target.device)
        if drafter is None or place.n == 1:
            return blocks, None
        self._absorb(drafter, rows)
        for _ in range(self._options.draft_steps - 1):
            blocks[:, 1:] = drafter.logits(blocks, place).argmax(-1)
        logits = drafter.logits(blocks, place)
        if self._candidates:
            return blocks, self._candidates.propose(logits, rows[0])
        blocks[:, 1:] = self._acceptance.draft(logits, [row.sampler for row in rows])
        return blocks, None

    def _absorb(self, drafter: Drafter, rows: Sequence[Row]) -> None:
        """Let the drafter see what was committed since it last drafted."""
        if self._pending:
            drafter.absorb(self._pending.features, self._pending.place(self._target.device))
            return
        for at, row in enumerate(rows):
            if row.prompt_features is not None:
                depth = row.request.depth
                drafter.absorb(row.prompt_features, Span(depth, len(row.request.prompt_ids) - depth), at)
                row.prompt_features = None

    def _verify(
        self,
        rows: Sequence[Row],
        sizes: Sequence[int],
        place: Span | Rows,
        blocks: Tensor,
        proposal: Proposal | None,
    ) -> Verification:
        if self._candidates and proposal:
            return self._candidates.verify(rows[0], proposal)
        judge = partial(self._acceptance.judge, samplers=[row.sampler for row in rows])
        return self._blocks.verify(judge, blocks, place, sizes)
