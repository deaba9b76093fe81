"""The timed loop over a stream: one stamp per step, and as little else as noticing the ends of rows takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ...contract.backend import Backend
from ...contract.generation import Request
from ...errors import BackendError
from ...sdk.tokenizer import Codec
from ..timed_loop import Clock, broken, quiet_interpreter, settle_row
from .source import Asked, Load, TimedSource
from .stop_strings import StopStrings


@dataclass(frozen=True, slots=True)
class Answered:
    """A stream, measured.

    Attributes:
        asked: every request with its times and its row.
        start_ns: the clock when the first request was due.
        wall_ns: from then until the last step.
        broken: why the stream broke off, with the requests that have no end; None where it did not.
    """

    asked: Sequence[Asked]
    start_ns: int
    wall_ns: int
    broken: BackendError | None = None


def measure_stream(
    backend: Backend,
    requests: Sequence[Request],
    load: Load,
    codec: Codec,
    stop: Sequence[str] = (),
    clock: Clock = time.perf_counter_ns,
) -> Answered:
    """Let a backend answer requests as they arrive and stamp every step.

    Args:
        backend: declares ``continuous``.
        requests: in the order of their arrival; ``row`` is the index.
        load: how they arrive.
        codec: encodes the text of an engine that gives no ids, and decodes where stop strings are looked for.
        stop: a row ends at the first of these in its text.
        clock: in nanoseconds.

    Raises:
        PluginError: the backend broke its contract.
    """
    most = min(load.concurrency or len(requests), backend.max_batch_size)
    watch = StopStrings(stop, codec.decode_behind) if stop else None
    fault: BackendError | None = None
    with quiet_interpreter():
        source = TimedSource(backend, requests, load, clock)
        try:
            for step in backend.stream(source, most):
                now = clock()
                one = source.take(step, now)
                if one is not None and watch is not None and watch.cuts(one.row, step) and one.end is None:
                    source.end(one, now)
        except BackendError as error:  # an engine that died: what it had answered is not lost
            fault = error
    for one in source.asked:
        if one.end is not None:
            settle_row(backend, one.request, one.row, codec, one.request.row)
        elif fault is None:
            raise broken(backend, f"its stream ended before request {one.request.row}, after {one.tokens} tokens of it")
    first = min(one.due for one in source.asked if one.due is not None)
    last = max((one.end for one in source.asked if one.end is not None), default=first)
    return Answered(source.asked, first, last - first, fault)
