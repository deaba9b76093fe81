"""The decoding loop of DFlash (arXiv 2602.06036): draft a block, verify it, commit what the target agrees with.

Invariants between cycles, per row: the target's cache holds positions 0 .. start - 1; the draft's holds what was
absorbed; ``anchor`` stands at ``start`` and is in neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from ...core.contract.generation import Request, Step
from ...core.sdk.torch_layers.place import Rows, Span
from .acceptance import Acceptance, Equality, Rejection
from .accounting import check_sample
from .candidates import Proposal, make_rule
from .clock import clock_for
from .drafters import Drafter
from .options import DFlashOptions
from .published import PublishedTimes
from .row import Row
from .sampler import Sampler
from .schedulers import Observation, make_scheduler
from .target import Target
from .verification import CandidateVerifier, Verdict, Verification, verify_blocks

if TYPE_CHECKING:
    from torch import Tensor

Marked = tuple[Step, tuple[Any, Any], tuple[Any, Any]]
"""A step, and the clock's marks around its drafting and its verification."""


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
        self._target, self._options, self._block_size = target, options, block_size
        self._drafter = drafter
        self._is_published = options.compat == "published"
        self._clock = clock_for(target.device)
        self._candidates: CandidateVerifier | None = None
        if options.candidate_mode != "none" and drafter is not None:
            layout = "published" if self._is_published else options.verify
            self._candidates = CandidateVerifier(make_rule(options), target, self._clock, layout)
        self.times = PublishedTimes(
            self._clock,
            is_candidate=self._candidates is not None,
            mask_token_id=drafter.mask_token_id if drafter else None,
        )
        self._acceptance: Acceptance = Rejection() if options.acceptance == "rejection" else Equality()
        self._pending: Pending | None = None

    @property
    def _taps(self) -> Sequence[int]:
        return self._drafter.taps if self._drafter else ()

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request from an empty cache; a step for each prefill, then one per row and cycle."""
        import torch

        self.times.begin()
        marked: list[Marked] = []
        rows: list[Row] = []
        try:
            self._reserve(batch)
            for index, request in enumerate(batch):
                # Entered anew for each step: left open across a yield it would leak into the caller.
                with torch.inference_mode():
                    rows.append(self._prefill(index, request))
                yield Step((rows[-1].anchor,), row=index, forwards=1)
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
            for step, draft, verify in marked:
                step.draft_s, step.verify_s = self._clock.seconds(*draft), self._clock.seconds(*verify)

    def _reserve(self, batch: Sequence[Request]) -> None:
        widest = make_scheduler(self._options, self._block_size).largest
        nodes = widest * (self._options.max_candidates if self._candidates else 1)
        positions = max(len(request.prompt_ids) + request.max_new_tokens for request in batch) + nodes
        self._target.reserve(len(batch), positions)
        if self._drafter:
            self._drafter.reserve(len(batch), positions)

    def _prefill(self, index: int, request: Request) -> Row:
        import torch

        prompt = torch.tensor([request.prompt_ids], device=self._target.device)
        sampler = Sampler(request, self._target.device)
        logits, features = self._target.prefill_row(prompt, index, self._taps)
        first = int(sampler.choose(logits[0]))
        row = Row.begin(index, request, sampler, first, self._options, self._block_size)
        row.prompt_features = features
        self.times.committed([first])
        return row

    def _without_finished(self, rows: list[Row]) -> list[Row]:
        """Drop the rows that have ended and close the gaps that they leave in the caches."""
        left = [at for at, row in enumerate(rows) if not self._is_finished(row)]
        if len(left) == len(rows):
            return rows
        for row in rows:
            if self._is_finished(row):
                check_sample(row.taus, row.committed, row.request.max_new_tokens, row.is_stopped, self._options.compat)
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

    def _is_finished(self, row: Row) -> bool:
        if self._is_published:  # it looks for a stop token behind a cycle only, and always runs one more at the end
            return (row.cycle > 0 and row.is_stopped) or self._room(row) <= 0
        return row.is_stopped or row.remaining == 0

    def _room(self, row: Row) -> int:
        """Return how long the next block may be."""
        if self._is_published:
            return len(row.request.prompt_ids) + row.request.max_new_tokens - row.start
        return row.remaining

    def _cycle(self, rows: list[Row], marked: list[Marked]) -> list[Step]:
        """Draft, verify and commit a block of every row; one step each."""
        began = time.perf_counter()
        chosen = [row.scheduler.select(row.cycle) for row in rows]
        sizes = [min(size, self._room(row)) for size, row in zip(chosen, rows, strict=True)]
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
            step = self._commit(row, size, wanted, verdict, cycle_s)
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
        seen = self._absorb(drafter, rows)
        if self._is_published and self._options.draft_steps > 1 and isinstance(place, Span):
            place = Span(place.start, place.n, first=place.start - seen)
        for _ in range(self._options.draft_steps - 1):
            blocks[:, 1:] = drafter.logits(blocks, place).argmax(-1)
        logits = drafter.logits(blocks, place)
        if self._candidates:
            return blocks, self._candidates.propose(logits, rows[0])
        blocks[:, 1:] = self._acceptance.draft(logits, [row.sampler for row in rows])
        return blocks, None

    def _absorb(self, drafter: Drafter, rows: Sequence[Row]) -> int:
        """Let the drafter see what was committed since it last drafted; return how many positions of the first row."""
        if self._pending:
            drafter.absorb(self._pending.features, self._pending.place(self._target.device))
            return self._pending.lengths[0]
        for at, row in enumerate(rows):
            if row.prompt_features is not None:
                drafter.absorb(row.prompt_features, Span(0, len(row.request.prompt_ids)), at)
                row.prompt_features = None
        return rows[0].start

    def _verify(
        self,
        rows: Sequence[Row],
        sizes: Sequence[int],
        place: Span | Rows,
        blocks: Tensor,
        proposal: Proposal | None,
    ) -> Verification:
        if self._candidates and proposal:
            return self._candidates.verify(rows[0], proposal, self._taps)
        judge = partial(self._acceptance.judge, samplers=[row.sampler for row in rows])
        return verify_blocks(self._target, judge, blocks, place, sizes, self._taps, self._clock)

    def _commit(self, row: Row, size: int, chosen: int, verdict: Verdict, cycle_s: float) -> Step:
        tau = len(verdict.tokens)
        drafted_length = _length_before_stop(row.request, verdict.block[1:], size)
        observation = Observation(row.cycle, tau, cycle_s, size, drafted_length)
        row.previous_ratio = tau / size
        visible = row.commit(verdict.tokens)
        self.times.committed(visible)
        trace: dict[str, JsonValue] = dict(verdict.trace)
        if tau != len(visible):
            trace["tau"] = tau
        if self._options.scheduler != "fixed":
            row.scheduler.update(observation)
            trace |= {"chosen_block_size": chosen, "l_gen": drafted_length, **row.scheduler.trace()}
        if self._options.seed_mode != "none":
            row.seeder.observe(verdict.block, tau)
            trace |= row.seeder.trace()
        return Step(
            visible,
            row=row.index,
            block_size=size,
            drafted=size - 1,
            accepted=min(tau - 1, len(visible)),
            candidates=verdict.candidates,
            forwards=1,
            engine_s=cycle_s,
            trace=trace or None,
        )


def _length_before_stop(request: Request, drafted: Sequence[int], size: int) -> int:
    """Return the place of the first stop token among the drafted ones, from 1; the block size where there is none."""
    return next((at for at, token in enumerate(drafted, 1) if request.is_stop(token)), size)
