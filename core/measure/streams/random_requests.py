"""Prompts of random ids: of a fixed length, of drawn or recorded lengths, or as the turns of a conversation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from ...records.lengths import Lengths
from ...records.workload import Workload
from ..job import PromptJob
from .trace_file import read_trace


def random_prompts(workload: Workload, seed: int) -> Iterator[PromptJob]:
    """Yield the warm-up prompts, then the measured ones; the same for the same seed.

    Raises:
        UsageError: the trace cannot be read.
    """
    for kind, count in (("warmup", workload.warmup), ("measured", workload.samples)):
        if workload.trace is not None:
            yield from _recorded(workload, Path(workload.trace), seed, kind, count)
        else:
            yield from _drawn(workload, seed, kind, count)


def _drawn(workload: Workload, seed: int, kind: str, count: int) -> Iterator[PromptJob]:
    """Yield prompts of drawn or fixed lengths.

    The ids of a conversation's prompts come from one seed, so that each begins with the one before and as many ids as
    its output may have: a prefix that grows, and is the same for every cell.
    """
    turns = 1 if kind == "warmup" else workload.turns
    prefix = 0
    for index in range(count):
        talk, turn = divmod(index, turns)
        prefix = prefix if turn else workload.depth
        length = prefix + _length(workload.prompt_lengths, f"{seed}:{kind}:prompt:{index}", workload.prompt_tokens or 0)
        output = _length(workload.output_lengths, f"{seed}:{kind}:output:{index}", workload.token_limit)
        name = f"{talk}" if turns == 1 else f"{talk}:{turn}"
        yield PromptJob(
            sample_id=f"random:{kind}:{length}:{seed}:{name}",
            is_warmup=kind == "warmup",
            random_tokens=length,
            random_seed=f"{seed}:{kind}:{talk}",
            depth=0 if turn else workload.depth,
            max_new_tokens=None if output == workload.token_limit else output,
            after=index - 1 if turn else None,
        )
        prefix = length + output


def _length(distribution: str | None, seed: str, otherwise: int) -> int:
    return otherwise if distribution is None else Lengths.parse(distribution).draw(random.Random(seed))


def _recorded(workload: Workload, trace: Path, seed: int, kind: str, count: int) -> Iterator[PromptJob]:
    for index, one in enumerate(read_trace(trace)[:count]):
        yield PromptJob(
            sample_id=f"random:{kind}:{one.prompt_tokens}:{seed}:{index}",
            is_warmup=kind == "warmup",
            random_tokens=one.prompt_tokens,
            random_seed=f"{seed}:{kind}:{index}",
            max_new_tokens=one.output_tokens,
        )
