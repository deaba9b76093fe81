"""Several generations in lockstep: each is the decoding loop of one request in a thread of its own, and what they ask
of a model is evaluated together.

A row's thread stops wherever it needs a model. Once all have stopped, the main thread evaluates: first all that the
draft is asked, and only when no row drafts any more what the target is asked, so that rows of different draft lengths
meet again at the verification. Threads take turns: one of them runs at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ... import Request, RequestSource, Step
from .models import CausalModel, Feed, TokenSequence

if TYPE_CHECKING:
    from torch import Tensor

Loop = Callable[[Request], Iterator[Step]]
"""Generates for one request."""


class _Ended(BaseException):
    """The row is not wanted any more: raised where its thread waits, so that its sequences are given back."""


@dataclass(slots=True)
class _Wish:
    """What a row asks of a model.

    Attributes:
        model: whom; the one with the lowest rank is asked first.
        feed: tokens that may be evaluated together with those of other rows; None where they may not.
        alone: evaluates by itself.
        answered: set once ``result`` is there, or the row is to end.
    """

    model: JoinedModel
    feed: Feed | None
    alone: Callable[[], Tensor]
    answered: threading.Event = field(default_factory=threading.Event)
    result: Tensor | None = None


@dataclass(slots=True)
class _Row:
    """A request that runs."""

    request: Request
    thread: threading.Thread | None = None
    is_wanted: bool = True
    has_ended: bool = False
    error: BaseException | None = None


class Lockstep:
    """Runs rows together.

    Args:
        loop: makes the decoding loop of one request, with models that were joined to this.
        models: those of them that are fed together.
    """

    def __init__(self, loop: Callable[[Lockstep], Loop], models: Sequence[CausalModel]) -> None:
        self._loop, self._models = loop, models
        self._lock = threading.Condition()
        self._turn = threading.Lock()
        self._moving = 0  # rows whose threads run, or wait for their turn
        self._wishes: list[tuple[_Row, _Wish]] = []
        self._steps: deque[tuple[_Row, Step]] = deque()
        self._own = threading.local()

    def answer(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, at most ``max_in_flight`` together."""
        rows: list[_Row] = []
        self._share(True)
        try:
            while rows or not source.ended:
                if not rows:
                    source.wait()
                while len(rows) < max_in_flight and (request := source.poll()) is not None:
                    rows.append(self._start(request))
                self._wait_until_all_stand()
                yield from self._committed(source)
                self._remove_ended(rows)
                self._evaluate()
        finally:
            for row in rows:
                row.is_wanted = False
            while any(not row.has_ended for row in rows):
                self._wait_until_all_stand()
                self._evaluate()
            self._steps.clear()
            self._share(False)

    def _share(self, is_shared: bool) -> None:
        for model in self._models:
            model.share(is_shared)

    def _committed(self, source: RequestSource) -> Iterator[Step]:
        while self._steps:
            row, step = self._steps.popleft()
            yield step
            row.is_wanted = source.wants(row.request.row)

    def _remove_ended(self, rows: list[_Row]) -> None:
        for row in [row for row in rows if row.has_ended]:
            rows.remove(row)
            if row.error is not None:
                raise row.error

    def join(self, model: CausalModel, rank: int) -> JoinedModel:
        """Return a model whose sequences ask through this."""
        return JoinedModel(model, self, rank)

    def _start(self, request: Request) -> _Row:
        row = _Row(request)
        row.thread = threading.Thread(target=self._run, args=(row,), name=f"row {request.row}", daemon=True)
        with self._lock:
            self._moving += 1
        row.thread.start()
        return row

    def _run(self, row: _Row) -> None:
        """Generate for one row, in its thread."""
        self._own.row = row
        with self._turn:
            try:
                for step in self._loop(self)(row.request):
                    step.row = row.request.row
                    self._steps.append((row, step))
            except _Ended:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again where the host waits
                row.error = error
        with self._lock:
            row.has_ended = True
            self._stand()

    def _stand(self) -> None:
        self._moving -= 1
        self._lock.notify_all()

    def _wait_until_all_stand(self) -> None:
        with self._lock:
            while self._moving:
                self._lock.wait()

    def ask(self, wish: _Wish) -> Tensor:
        """Wait, in a row's thread, for what it asks of a model."""
        row: _Row = self._own.row
        self._turn.release()
        with self._lock:
            self._wishes.append((row, wish))
            self._stand()
        wish.answered.wait()
        self._turn.acquire()
        if wish.result is None:
            raise _Ended
        return wish.result

    def _evaluate(self) -> None:
        """Answer the wishes of the model that comes first, and let their rows go on."""
        import torch

        if not self._wishes:
            return
        rank = min(wish.model.rank for _, wish in self._wishes)
        chosen = [(row, wish) for row, wish in self._wishes if wish.model.rank == rank or not row.is_wanted]
        self._wishes = [pair for pair in self._wishes if pair not in chosen]
        wanted = [wish for row, wish in chosen if row.is_wanted]
        together = [wish for wish in wanted if wish.feed is not None]
        try:
            with torch.inference_mode():
                if together:
                    results = together[0].model.inner.feed_together([wish.feed for wish in together if wish.feed])
                    for wish, result in zip(together, results, strict=True):
                        wish.result = result
                for wish in wanted:
                    if wish.feed is None:
                        wish.result = wish.alone()
        except BaseException:
            self._wishes += chosen  # whoever waits for an answer is to be ended
            raise
        with self._lock:
            self._moving += len(chosen)
        for _, wish in chosen:
            wish.answered.set()


class JoinedModel(CausalModel):
    """A model whose sequences ask through a lockstep.

    Args:
        inner: the model.
        lockstep: evaluates for all rows.
        rank: what is asked of a model of a lower rank is answered first.
    """

    def __init__(self, inner: CausalModel, lockstep: Lockstep, rank: int) -> None:
        self.inner, self._lockstep, self.rank = inner, lockstep, rank
        self.vocabulary, self.context, self.device = inner.vocabulary, inner.context, inner.device
        self.parameters, self.weight_bytes = inner.parameters, inner.weight_bytes

    def begin(self, positions: int = 0) -> TokenSequence:
        """Begin a sequence of the model."""
        return _JoinedSequence(self, self.inner.begin(positions), self._lockstep)


class _JoinedSequence(TokenSequence):
    """A sequence that is fed together with those of other rows."""

    def __init__(self, model: JoinedModel, inner: TokenSequence, lockstep: Lockstep) -> None:
        self._model, self._inner, self._lockstep = model, inner, lockstep

    @property
    def length(self) -> int:  # type: ignore[override]  # the inner one's
        """Positions in the cache."""
        return self._inner.length

    def feed(self, ids: Sequence[int], *, logits: int | None = None) -> Tensor:
        """Wait for the evaluation of all rows."""
        feed = Feed(self._inner, tuple(ids), logits)
        return self._lockstep.ask(_Wish(self._model, feed, lambda: self._inner.feed(ids, logits=logits)))

    def feed_candidates(self, anchor: int, candidates: Sequence[Sequence[int]]) -> Tensor:
        """Wait for an evaluation of this row alone: a tree of candidates has a mask of its own."""
        return self._lockstep.ask(_Wish(self._model, None, lambda: self._inner.feed_candidates(anchor, candidates)))

    def keep(self, candidate: int, count: int) -> None:
        """Keep of the row."""
        self._inner.keep(candidate, count)

    def crop(self, length: int) -> None:
        """Crop the row."""
        self._inner.crop(length)

    def close(self) -> None:
        """Give the row's cache back."""
        self._inner.close()
