"""Continuous batching: several sequences in one context, each decode step one evaluation of all of them.

The context is split into equal parts, one for each sequence, so that a sequence attends to its own part alone. A
prompt is evaluated when its request is admitted; then its row joins the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import BackendError, Request, RequestSource, Step
from .sampling import new_chain

if TYPE_CHECKING:
    import numpy as np

_LEAST_PART = 256  # what the engine rounds up to

MakeContext = Callable[[int, int], Any]
"""Given positions for each sequence and the number of sequences, a new context of the engine."""


@dataclass(slots=True)
class _Row:
    """A request that runs.

    Attributes:
        request: what was asked.
        sequence: its part of the context.
        chain: the engine's sampler; None for a greedy one.
        token: the last one, which is not in the cache yet.
        position: where that one goes.
        committed: tokens so far.
    """

    request: Request
    sequence: int
    chain: Any
    token: int
    position: int
    committed: int = 1

    @property
    def has_ended(self) -> bool:
        return self.committed >= self.request.max_new_tokens or self.request.is_stop(self.token)


class ParallelSequences:
    """A context for several sequences; made for a number of them, and anew where a request is longer than its part.

    Args:
        make_context: makes one.
        n_vocab: rows of the output layer.
        n_batch: prompt tokens in one call.
        most_positions: what the model, or the user, allows a sequence.
    """

    def __init__(self, make_context: MakeContext, n_vocab: int, n_batch: int, most_positions: int) -> None:
        self._make, self._n_vocab, self._n_batch, self._most = make_context, n_vocab, n_batch, most_positions
        self.context: Any = None
        self._part = 0  # positions of each sequence
        self._sequences = 0

    def answer(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, at most ``max_in_flight`` together."""
        rows: list[_Row] = []
        waiting: Request | None = None  # too long for its part: it begins when no row runs
        try:
            while rows or waiting is not None or not source.ended:
                if not rows and waiting is None:
                    source.wait()
                while len(rows) < max_in_flight and (request := waiting or source.poll()) is not None:
                    waiting = None
                    if rows and not self._has_room(request, max_in_flight):
                        waiting = request
                        break
                    yield self._admit(rows, request, max_in_flight)
                self._drop(rows, source)
                if rows:
                    yield from self._advance(rows)
                    self._drop(rows, source)
        finally:
            for row in list(rows):
                self._end(rows, row)

    def _has_room(self, request: Request, sequences: int) -> bool:
        return _positions(request) <= self._part and sequences <= self._sequences

    def _admit(self, rows: list[_Row], request: Request, sequences: int) -> Step:
        """Evaluate a prompt in a free part and let its row join the others."""
        if not self._has_room(request, sequences):
            self._grow(_positions(request), sequences)
        taken = {row.sequence for row in rows}
        free = next(number for number in range(self._sequences) if number not in taken)
        prompt, forwards = request.prompt_ids, 0
        for start in range(0, len(prompt), self._n_batch):
            part = prompt[start : start + self._n_batch]
            is_last = start + len(part) == len(prompt)
            places = [(token, start + at, free) for at, token in enumerate(part)]
            self._evaluate(places, wanted={len(part) - 1} if is_last else set())
            forwards += 1
        chain = new_chain(request) if request.temperature else None
        row = _Row(request, free, chain, 0, len(prompt))
        row.token = self._choose(row, -1)
        rows.append(row)
        return Step((row.token,), row=request.row, forwards=forwards)

    def _advance(self, rows: Sequence[_Row]) -> Iterator[Step]:
        """Commit one token of every row."""
        places = [(row.token, row.position, row.sequence) for row in rows]
        self._evaluate(places, wanted=set(range(len(rows))))
        for index, row in enumerate(rows):
            row.token = self._choose(row, index)
            row.position += 1
            row.committed += 1
        for row in list(rows):
            yield Step((row.token,), row=row.request.row, forwards=1)

    def _choose(self, row: _Row, index: int) -> int:
        """Return the next token of a row: the largest logit's smallest id, or what the engine's sampler draws."""
        import llama_cpp

        if row.chain is not None:
            return int(llama_cpp.llama_sampler_sample(row.chain, self.context, index))
        return int(self._logits(index).argmax())

    def _logits(self, index: int) -> np.ndarray:
        import llama_cpp
        import numpy as np

        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, index), (self._n_vocab,))

    def _evaluate(self, places: Sequence[tuple[int, int, int]], wanted: set[int]) -> None:
        """Evaluate tokens, each with its position and sequence; logits are computed of those that are ``wanted``."""
        import llama_cpp

        batch = llama_cpp.llama_batch_init(len(places), 0, 1)
        try:
            batch.n_tokens = len(places)
            for at, (token, position, sequence) in enumerate(places):
                batch.token[at], batch.pos[at], batch.logits[at] = token, position, at in wanted
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
            status = llama_cpp.llama_decode(self.context, batch)
        finally:
            llama_cpp.llama_batch_free(batch)
        if status:
            raise BackendError(f"llama.cpp could not evaluate a batch of {len(places)} tokens (status {status})")

    def _drop(self, rows: list[_Row], source: RequestSource) -> None:
        for row in list(rows):
            if row.has_ended or not source.wants(row.request.row):
                self._end(rows, row)

    def _end(self, rows: list[_Row], row: _Row) -> None:
        """Free a row's part of the context."""
        import llama_cpp

        rows.remove(row)
        if row.chain is not None:
            llama_cpp.llama_sampler_free(row.chain)
        llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(self.context), row.sequence, -1, -1)

    def _grow(self, positions: int, sequences: int) -> None:
        """Make a context whose parts hold ``positions`` each; nothing runs meanwhile."""
        if positions > self._most:
            raise BackendError(
                f"prompt and new tokens need {positions} positions; the context has {self._most}",
                code="context-exceeded",
            )
        self.close()
        grown = max(_LEAST_PART, 1 << (positions - 1).bit_length())
        self._part = max(self._part, min(grown, self._most))
        self._sequences = max(self._sequences, sequences)
        self.context = self._make(self._part, self._sequences)

    def close(self) -> None:
        """Free the context."""
        import llama_cpp

        if self.context is not None:
            llama_cpp.llama_free(self.context)
            self.context = None


def _positions(request: Request) -> int:
    return len(request.prompt_ids) + request.max_new_tokens - 1  # the last token is never evaluated
