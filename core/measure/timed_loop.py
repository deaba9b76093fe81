"""The timed loop: takes a timestamp per step of a backend, and nothing else happens between two of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..contract.backend import Backend
from ..contract.generation import Request, Step
from ..errors import PluginError
from ..sdk.tokenizer import Codec
from .rows import Decode, Row, absorb_end, cut_at_stop, fault_of, retokenise, step_faults

Clock = Callable[[], int]


@dataclass(slots=True)
class Batch:
    """One call of ``generate``, measured.

    Attributes:
        rows: by position in the batch.
        start_ns: the clock at the start.
        wall_ns: start until the last step of any row.
        depth_ns: how long the context took that was there before the start; None where there was none.
    """

    rows: list[Row]
    start_ns: int
    wall_ns: int
    depth_ns: int | None = None


def set_aside_what_was_loaded() -> None:
    """Exempt what is there from the garbage collections before samples: a framework's modules take tenths of a second.

    For a process that measures with what it has loaded until it ends.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def quiet_interpreter() -> Iterator[None]:
    """Keep the garbage collector out of the timed loop."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure(
    backend: Backend,
    requests: Sequence[Request],
    clock: Clock = time.perf_counter_ns,
    *,
    codec: Codec | None = None,
) -> Batch:
    """Generate one batch and stamp every step on arrival.

    Args:
        backend: with its model loaded.
        requests: the batch.
        clock: in nanoseconds.
        codec: encodes the rows of an engine that gives text, after the measurement.

    Raises:
        PluginError: the backend broke its contract (row out of range, too many tokens, tokens after the stop, ...).
    """
    stamped: list[tuple[int, Step]] = []
    append = stamped.append
    with quiet_interpreter():
        start = clock()
        for step in backend.generate(requests):
            append((clock(), step))
    begun = _behind_depth(backend, requests, stamped)
    rows = [Row() for _ in requests]
    for now, step in stamped:
        _row_of(backend, rows, step).steps.append((now - (begun or start), step))
    batch = _finished(backend, requests, rows, begun or start, codec)
    batch.depth_ns = None if begun is None else begun - start
    return batch


def _behind_depth(backend: Backend, requests: Sequence[Request], stamped: list[tuple[int, Step]]) -> int | None:
    """Take off the step with which a context was there, where one was asked for, and return its time."""
    depth = max((request.depth for request in requests), default=0)
    marks = [number for number, (_, step) in enumerate(stamped) if step.is_depth]
    if marks != ([0] if depth else []):
        raise broken(
            backend, f"asked for a depth of {depth}, it marked {len(marks)} steps as such, not the first alone"
        )
    return stamped.pop(0)[0] if depth else None


def measure_with_stop(
    backend: Backend,
    requests: Sequence[Request],
    stop: Sequence[str],
    decode: Decode,
    clock: Clock = time.perf_counter_ns,
    *,
    codec: Codec | None = None,
) -> Batch:
    """Like ``measure``, and end every row at the first stop string in its text.

    Decoding takes time that is not the engine's: the clock stands still meanwhile. Tokens that lie wholly behind
    the stop string are trimmed; the one that completes it stays and counts. A batch runs on until all rows ended.
    """
    rows = [Row() for _ in requests]
    outside = 0  # nanoseconds spent here rather than in the engine
    with quiet_interpreter():
        start = clock()
        stream = backend.generate(requests)
        for step in stream:
            now = clock()
            row = _row_of(backend, rows, step)
            if not row.is_cut:
                row.steps.append((now - start - outside, step))
                if fault := step_faults(row):
                    raise broken(backend, f"row {rows.index(row)}: {fault}")
                cut_at_stop(row, stop, decode)
            if all(r.is_cut for r in rows):
                break
            outside += clock() - now
        close = getattr(stream, "close", None)
        if close is not None:
            close()
    return _finished(backend, requests, rows, start, codec)


def _row_of(backend: Backend, rows: Sequence[Row], step: Step) -> Row:
    if not 0 <= step.row < len(rows):
        raise broken(backend, f"row {step.row} in a batch of {len(rows)}")
    return rows[step.row]


def _finished(backend: Backend, requests: Sequence[Request], rows: list[Row], start: int, codec: Codec | None) -> Batch:
    for index, (request, row) in enumerate(zip(requests, rows, strict=True)):
        settle_row(backend, request, row, codec, index)
    return Batch(rows, start, max(row.steps[-1][0] for row in rows))


def settle_row(backend: Backend, request: Request, row: Row, codec: Codec | None, index: int) -> None:
    """Encode the text of a row that has ended, where it has text, and make sure that the row keeps the contract.

    Raises:
        PluginError: it does not.
    """
    if row.failure is not None:
        return
    absorb_end(row)
    if codec is not None and row.is_text:
        retokenise(row, codec)
    if fault := fault_of(request, row):
        raise broken(backend, f"row {index}: {fault}")


def broken(backend: Backend, fault: str) -> PluginError:
    """Return the error of a backend that does what the contract rules out."""
    return PluginError(f"backend {backend.name!r} broke its contract: {fault}", code="contract-broken")
