"""Continuous batching by mlx-lm's own batch generator: rows join and leave between two of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ... import Request, RequestSource, Step

if TYPE_CHECKING:
    import mlx.nn as nn


def answer(
    model: nn.Module, source: RequestSource, max_in_flight: int, chunk: int, sampler: Callable[[Request], Any]
) -> Iterator[Step]:
    """Answer requests as they become due.

    Prompts are evaluated one at a time, a chunk between two tokens of the other rows: together they would be padded.

    Args:
        model: of mlx-lm.
        source: gives requests.
        max_in_flight: most rows together.
        chunk: prompt tokens in one forward.
        sampler: what chooses the tokens of a request; None: the largest.
    """
    import mlx.core as mx
    from mlx_lm.generate import BatchGenerator, generation_stream

    batch = BatchGenerator(
        model, completion_batch_size=max_in_flight, prefill_batch_size=1, prefill_step_size=chunk, stop_tokens=[]
    )
    running: dict[int, Request] = {}
    try:
        while running or not source.ended:
            if not running:
                source.wait()
            while len(running) < max_in_flight and (request := source.poll()) is not None:
                prompt, limit = [list(request.prompt_ids)], [request.max_new_tokens]
                (number,) = batch.insert(prompt, max_tokens=limit, samplers=[sampler(request)])
                running[number] = request
            for response in batch.next()[1]:
                request = running[response.uid]
                is_over = response.finish_reason is not None
                yield Step((int(response.token),), row=request.row, forwards=1)
                if is_over or request.is_stop(response.token) or not source.wants(request.row):
                    del running[response.uid]
                    if not is_over:
                        batch.remove([response.uid])
    finally:
        batch.remove(list(running))
        batch.close()
        mx.synchronize(generation_stream)  # the tokens after the last ones have been begun
