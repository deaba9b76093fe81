"""The timed loop: takes a timestamp per step of a backend, and nothing else happens between two of them."""

from __future__ import annotations

import gc
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..contract.backend import Backend
from ..contract.generation import Request, Step
from ..errors import PluginError

Clock = Callable[[], int]


@dataclass(slots=True)
class Row:
    """What one request of a batch committed.

    Attributes:
        steps: (nanoseconds since the batch's start, step), in order of time.
        is_cut: whether a stop string ended it, so that what lies behind was trimmed.
        text: the text before the stop string; None where no stop string was met.
        looked_at: ids that are known to hold no stop string.
    """

    steps: list[tuple[int, Step]] = field(default_factory=list)
    is_cut: bool = False
    text: str | None = None
    looked_at: int = 0

    @property
    def is_placed(self) -> bool:
        """Whether the steps say where their tokens landed."""
        return any(step.positions is not None for _, step in self.steps)

    @property
    def ids(self) -> list[int]:
        """The committed ids in order of position, up to the first position that is not filled."""
        if not self.is_placed:
            return [token for _, step in self.steps for token in step.token_ids]
        placed = {at: token for _, step in self.steps for at, token in _placed(step)}
        return [placed[at] for at in itertools.takewhile(placed.__contains__, itertools.count())]

    def keep(self, n: int) -> None:
        """Take the tokens at position ``n`` and beyond off the steps that committed them."""
        before = 0
        for _, step in self.steps:
            if step.positions is None:
                kept = list(step.token_ids)[: max(0, n - before)]
                before += len(step.token_ids)
                step.token_ids = kept
            else:
                within = [(at, token) for at, token in _placed(step) if at < n]
                step.positions, step.token_ids = [at for at, _ in within], [token for _, token in within]


@dataclass(slots=True)
class Batch:
    """One call of ``generate``, measured.

    Attributes:
        rows: by position in the batch.
        start_ns: the clock at the start.
        wall_ns: start until the last step of any row.
    """

    rows: list[Row]
    start_ns: int
    wall_ns: int


def _placed(step: Step) -> Iterable[tuple[int, int]]:
    return zip(step.positions or (), step.token_ids, strict=True)


@contextmanager
def quiet_interpreter() -> Iterator[None]:
    """Keep the garbage collector out of the timed loop."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def measure(backend: Backend, requests: Sequence[Request], clock: Clock = time.perf_counter_ns) -> Batch:
    """Generate one batch and stamp every step on arrival.

    Raises:
        PluginError: the backend broke its contract (row out of range, too many tokens, tokens after the stop, ...).
    """
    stamped: list[tuple[int, Step]] = []
    append = stamped.append
    with quiet_interpreter():
        start = clock()
        for step in backend.generate(requests):
            append((clock(), step))
    rows = [Row() for _ in requests]
    for now, step in stamped:
        _row_of(backend, rows, step).steps.append((now - start, step))
    return _finished(backend, requests, rows, start)


def measure_with_stop(
    backend: Backend,
    requests: Sequence[Request],
    stop: Sequence[str],
    decode: Callable[[Sequence[int]], str],
    clock: Clock = time.perf_counter_ns,
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
                if fault := _step_faults(row):
                    raise _broken(backend, rows.index(row), fault)
                _cut_at_stop(row, stop, decode)
            if all(r.is_cut for r in rows):
                break
            outside += clock() - now
        close = getattr(stream, "close", None)
        if close is not None:
            close()
    return _finished(backend, requests, rows, start)


def answer_of(request: Request, row: Row, decode: Callable[[Sequence[int]], str]) -> str:
    """Return the text of a measured row, without its stop token or stop string."""
    if row.text is not None:
        return row.text
    ids = row.ids
    return decode(ids[:-1] if request.is_stop(ids[-1]) else ids)


def _row_of(backend: Backend, rows: Sequence[Row], step: Step) -> Row:
    if not 0 <= step.row < len(rows):
        raise PluginError(f"backend {backend.name!r} broke its contract: row {step.row} in a batch of {len(rows)}")
    return rows[step.row]


def _cut_at_stop(row: Row, stop: Sequence[str], decode: Callable[[Sequence[int]], str]) -> None:
    ids = row.ids
    text = decode(ids)
    found = [at for at in (text.find(s) for s in stop) if at >= 0]
    if not found:
        row.looked_at = len(ids)
        return
    at = min(found)
    row.is_cut, row.text = True, text[:at]
    # None of the ids looked at before completed a stop string, so only the new ones are tried.
    kept = next(n for n in range(row.looked_at + 1, len(ids) + 1) if any(s in decode(ids[:n]) for s in stop))
    row.keep(kept)


def _finished(backend: Backend, requests: Sequence[Request], rows: list[Row], start: int) -> Batch:
    for index, (request, row) in enumerate(zip(requests, rows, strict=True)):
        fault = _step_faults(row) or _trim(request, row) or _fault(request, row)
        if fault is not None:
            raise _broken(backend, index, fault)
    return Batch(rows, start, max(row.steps[-1][0] for row in rows))


def _broken(backend: Backend, row: int, fault: str) -> PluginError:
    return PluginError(f"backend {backend.name!r} broke its contract: row {row}: {fault}")


def _fault(request: Request, row: Row) -> str | None:
    """Say what is wrong with the steps of a row, None where they keep the contract."""
    ids = row.ids
    if not ids:
        return "no token was committed"
    if len(ids) > request.max_new_tokens:
        return f"{len(ids)} tokens committed, the limit is {request.max_new_tokens}"
    if any(token < 0 for token in ids):
        return "a negative token id was committed"
    stops = [index for index, token in enumerate(ids) if request.is_stop(token)]
    if stops and stops[0] != len(ids) - 1:
        return f"{len(ids) - 1 - stops[0]} tokens committed after the stop token"
    if not stops and not row.is_cut and len(ids) < request.max_new_tokens:
        return f"it ended after {len(ids)} of {request.max_new_tokens} tokens without a stop token"
    return None


def _trim(request: Request, row: Row) -> str | None:
    """Un-count what a decoder that fills positions in any order committed beyond its stop token or limit."""
    if not row.is_placed:
        return None
    places = [at for _, step in row.steps for at in step.positions or ()]
    counted = Counter(places)
    if len(counted) < len(places):
        return f"position {min(at for at, count in counted.items() if count > 1)} was committed twice"
    ids = row.ids
    stop = next((at for at, token in enumerate(ids) if request.is_stop(token)), len(ids))
    end = min(stop + 1, request.max_new_tokens)
    if stop == len(ids) < end and not row.is_cut and any(at > stop for at in places):
        return f"nothing was committed at position {stop}, but behind it"
    row.keep(end)
    return None


def _step_faults(row: Row) -> str | None:
    if row.is_placed and any(step.positions is None for _, step in row.steps):
        return "some steps say where their tokens landed, others do not"
    return next((fault for _, step in row.steps if (fault := _step_fault(step))), None)


def _step_fault(step: Step) -> str | None:
    if step.drafted is not None and step.accepted is not None and step.accepted > step.drafted:
        return f"{step.accepted} tokens accepted of {step.drafted} drafted"
    if step.forwards is not None and step.forwards < 0:
        return f"{step.forwards} forwards in a step"
    if step.positions is not None and len(step.positions) != len(step.token_ids):
        return f"{len(step.positions)} positions for {len(step.token_ids)} tokens"
    if step.positions is not None and any(at < 0 for at in step.positions):
        return f"a token at position {min(step.positions)}"
    return None
