"""Decoding of Fast-dLLM v2: finished blocks are read as by an autoregressive model, a block is filled in parallel.

Fast-dLLM v2 (arXiv 2509.26328, section 3.3): the keys and values of a block are kept only from the forward that sees
it finished, which also gives the first token of the next block. Within a block sub-blocks are filled from left to
right; with the sub-block cache only the one in work is evaluated, against stale keys of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from .canvas import Canvas
from .commit import Rule, above, by_factor
from .forwards import REUSED, Forward, Loop, Proposals
from .options import FastDllmOptions


@dataclass(frozen=True, slots=True)
class BlockCausalPlan:
    """What one canvas is decoded with.

    Attributes:
        block: tokens per block.
        sub_block: tokens per sub-block.
        rule: which positions a step commits.
    """

    options: FastDllmOptions
    block: int
    sub_block: int
    rule: Rule

    @classmethod
    def of(cls, options: FastDllmOptions, *, block: int) -> BlockCausalPlan:
        """Take the rule of the options."""
        if options.factor is not None:
            rule = by_factor(options.factor)
        else:
            assert options.confidence_threshold is not None, "steps were refused for this variant"
            rule = above(options.confidence_threshold)
        return cls(options, block, options.small_block_size or min(8, block), rule)


def generate(canvas: Canvas, plan: BlockCausalPlan) -> Loop:
    """Decode block by block; ends as soon as the visible text is fixed."""
    prompt = canvas.prompt_length
    start = prompt // plan.block * plan.block
    if start:
        found = yield Forward("prefill", 0, start, start, [start] if start == prompt else [])
        canvas.put([start] if start == prompt else [], found.ids)
    while not canvas.is_finished:
        canvas.extend(start + plan.block)
        yield from _fill_block(canvas, plan, start)
        if canvas.is_finished:
            return
        end = start + plan.block
        found = yield Forward("commit", start, plan.block, end, [end])
        canvas.put([end], found.ids)
        start = end


def _fill_block(canvas: Canvas, plan: BlockCausalPlan, start: int) -> Loop:
    """Fill the masks of the block that may be visible, sub-block by sub-block."""
    end, options = start + plan.block, plan.options
    keeps_block = options.reuse == "published-january"  # proposals for the whole block serve its later sub-blocks, too
    has_sub_cache = options.cache == "sub-block" and not keeps_block
    is_cached = False  # whether keys and values of the whole block lie in its slots
    step = 0  # counted over the whole block, forwards of any width
    found: Proposals | None = None
    asked: list[int] = []
    for first in range(start, end, plan.sub_block):
        last = min(first + plan.sub_block, end)
        while (masked := canvas.masked(first, min(last, canvas.limit))) and not canvas.is_finished:
            # The row before a sub-block is not in a narrow forward: its first token must be there already.
            is_narrow = has_sub_cache and is_cached and canvas.is_filled(first)
            may_reuse = step % options.reuse_k > 0 and (is_narrow or not has_sub_cache)
            if may_reuse and options.reuse in ("stale-logits", "published-january") and {*masked} <= {*asked}:
                yield REUSED
            elif is_narrow:
                asked, found = masked, (yield Forward("narrow", first, last - first, end, masked, may_reuse))
            else:
                asked = canvas.masked(start, min(end, canvas.limit)) if keeps_block else masked
                found, is_cached = (yield Forward("block", start, plan.block, end, asked)), True
            assert found is not None
            _commit(canvas, plan.rule, masked, asked, found)
            step += 1


def _commit(canvas: Canvas, rule: Rule, masked: list[int], asked: list[int], found: Proposals) -> None:
    by_position = dict(zip(asked, zip(found.ids, found.confidences, strict=True), strict=True))
    chosen = rule([by_position[at][1] for at in masked])
    canvas.put([masked[at] for at in chosen], [by_position[masked[at]][0] for at in chosen])
