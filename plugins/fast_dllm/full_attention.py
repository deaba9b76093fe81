"""Decoding of LLaDA and Dream: a canvas of masks, filled block by block, every position seeing every other.

Fast-dLLM (arXiv 2505.22618): without a cache each step evaluates the whole canvas. With one, the first step of a
block does and its keys and values stay; later steps evaluate the block and what is behind it (prefix cache, section
3.2), or the block alone, against the stale keys of what is behind it (dual cache).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

from ... import BackendError
from .canvas import Canvas
from .commit import Rule, at_least, best, by_chance, by_factor, quota_table, time_shares, time_table
from .forwards import Forward, Loop
from .options import FastDllmOptions


@dataclass(frozen=True, slots=True)
class FullAttentionPlan:
    """What one canvas is decoded with.

    Attributes:
        length: masks behind the prompt.
        block_length: tokens per block.
        is_shifted: a position is predicted by the row before it (Dream).
    """

    options: FastDllmOptions
    length: int
    block_length: int
    is_shifted: bool

    @classmethod
    def of(
        cls, options: FastDllmOptions, max_new_tokens: int, *, block_length: int, is_shifted: bool
    ) -> FullAttentionPlan:
        """Size a canvas for a token limit.

        Raises:
            BackendError: gen_length, block_length and steps do not fit together or with the limit.
        """
        blocks = -(-(options.gen_length or max_new_tokens) // block_length)
        length = options.gen_length or blocks * block_length
        if length % block_length:
            raise BackendError(
                f"gen_length = {length} is not a multiple of block_length = {block_length}", code="conflicting-flags"
            )
        if length < max_new_tokens:
            raise BackendError(
                f"gen_length = {length} is below max_new_tokens = {max_new_tokens}", code="conflicting-flags"
            )
        plan = cls(options, length, block_length, is_shifted)
        if plan.has_table and options.steps is not None and options.steps % blocks:
            raise BackendError(
                f"steps = {options.steps} is not a multiple of the {blocks} blocks of {block_length} in {length} masks",
                code="conflicting-flags",
            )
        return plan

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.length // self.block_length

    @property
    def has_table(self) -> bool:
        """Whether a table of steps says how many positions each of them commits, rather than their confidence."""
        return self.options.confidence_threshold is None and self.options.factor is None

    def rules(self, masks: int, first: int = 0) -> Iterator[Rule]:
        """Yield the commit rule of each step of a block, from step ``first`` on, where so many masks are left."""
        options = self.options
        if options.factor is not None:
            return repeat(by_factor(options.factor))
        if options.confidence_threshold == 1:
            return repeat(best(1))  # a rounded probability may be 1 at several positions
        if options.confidence_threshold is not None:
            return repeat(at_least(options.confidence_threshold))
        assert options.steps is not None
        steps = options.steps // self.blocks
        if options.remasking == "origin":
            return map(by_chance, time_shares(steps))
        return map(best, time_table(masks, steps, first) if self.is_shifted else quota_table(masks, steps))


def fill(canvas: Canvas, plan: FullAttentionPlan) -> Loop:
    """Fill a canvas; ends as soon as its visible text is fixed."""
    start, end = canvas.prompt_length, canvas.prompt_length + plan.length
    canvas.extend(end)
    for block in range(start, end, plan.block_length):
        yield from _fill_block(canvas, plan, block, end)
        if canvas.is_finished:
            return


def _fill_block(canvas: Canvas, plan: FullAttentionPlan, start: int, end: int) -> Loop:
    stop = start + plan.block_length
    cache = plan.options.cache or "prefix"
    rules = plan.rules(plan.block_length)
    is_first = True
    while (masked := canvas.masked(start, stop)) and not canvas.is_finished:
        if is_first or cache == "none":
            found = yield Forward("full", 0, end, end, masked)
        elif cache == "prefix":
            found = yield Forward("suffix", start, end - start, end, masked)
        else:
            found = yield Forward("block", start, plan.block_length, end, masked)
        if is_first and plan.is_shifted and cache != "none":
            chosen = [0]  # the later, narrower forwards do not compute the row that predicts the block's first token
            rules = plan.rules(plan.block_length - 1, first=1)
        else:
            chosen = next(rules)(found.confidences)
        canvas.put([masked[at] for at in chosen], [found.ids[at] for at in chosen])
        is_first = False
