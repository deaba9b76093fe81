"""Autoregressive decoding over captured kernels: prefill in chunks, then one token at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...core.contract.generation import Request, Step
from ...core.sdk.sampling import chooser

if TYPE_CHECKING:
    import numpy as np
    from tinygrad import Tensor

    from .network import Network

_ONE_BY_ONE = 8  # a chunk costs about as much as an eighth of its tokens one by one
_CAPTURE_CALLS = 3  # tinygrad runs a function once plainly, captures it in the second call, replays it from the third


class Decoder:
    """Three captured functions over one network: a prefill chunk, a decode step, a chunk with all its logits.

    A chunk always has ``chunk`` tokens, the last one padded: kernels of a fixed shape are several times faster than
    those of tinygrad's own loop, which take any number of tokens. What the padding leaves in the cache lies behind
    the prompt and is overwritten before a token looks at it.

    Args:
        network: model and cache; the cache holds a multiple of ``chunk`` positions.
        chunk: tokens of a prefill chunk.
    """

    def __init__(self, network: Network, chunk: int) -> None:
        from tinygrad import TinyJit, UOp

        self._chunk, self._capacity = chunk, network.capacity
        self._start = UOp.variable("start_pos", 0, network.capacity - 1)
        self._index = UOp.variable("last", 0, chunk - 1)
        self._chunk_tokens = _Input(chunk)
        self._one_token = _Input(1)
        self._prefill = TinyJit(network.last)
        self._decode = TinyJit(network.last)
        self._score = TinyJit(network.all_logits)
        self._prompt: list[int] = []  # whose continuations are being scored

    def warm_up(self) -> None:
        """Compile and capture what ``generate`` uses."""
        for _ in range(_CAPTURE_CALLS):
            self._evaluate_chunk((0,) * self._chunk, 0)[0].item()
            self._evaluate_one(0, 0)[0].item()

    def generate(self, request: Request) -> Iterator[Step]:
        """Continue one prompt, a step per token.

        Every request starts at position 0 and attends to nothing but what it has written itself.
        """
        from tinygrad import GlobalCounters as Counters

        clock = time.perf_counter
        pick = _picker(request)
        stops = frozenset() if request.ignore_eos else frozenset(request.stop_token_ids)
        position, left = len(request.prompt_ids), request.max_new_tokens
        if request.depth:
            self._evaluate_prompt(request.prompt_ids[: request.depth])[0][0].item()  # waits for the device
            yield Step((), is_depth=True)
        started, moved = clock(), Counters.global_mem
        output, forwards = self._evaluate_prompt(request.prompt_ids[request.depth :], request.depth)
        while True:
            enqueued = clock()
            token = pick(*output)  # waits for the device
            yield Step(
                (token,),
                forwards=forwards,
                enqueue_s=enqueued - started,
                engine_s=clock() - started,
                bytes_read=int(Counters.global_mem - moved),
            )
            left -= 1
            if left <= 0 or token in stops:
                return
            started, moved = clock(), Counters.global_mem
            output, forwards = self._evaluate_one(token, position), 1
            position += 1

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> np.ndarray:
        """Evaluate a prompt whose continuations are to be scored; return the logits behind its last id, [1, V]."""
        self._prompt = list(prompt_ids)
        output, _ = self._evaluate_prompt(prompt_ids)
        return output[1].numpy().reshape(1, -1).copy()  # the captured function writes to the same place again

    def behind(self, ids: Sequence[int]) -> Iterator[np.ndarray]:
        """Evaluate ids behind the prompt; yield the logits behind each, [n, V] float32.

        A few go one by one. More go in chunks that begin where a prompt's do, with what the prompt has of the first.
        """
        at = len(self._prompt)
        if len(ids) <= self._chunk // _ONE_BY_ONE:
            for place, token in enumerate(ids, at):
                yield self._evaluate_one(token, place)[1].numpy().reshape(1, -1)
            return
        begin = at // self._chunk * self._chunk
        tokens, skipped = [*self._prompt[begin:], *ids], at - begin
        for start in range(0, len(tokens), self._chunk):
            part = tokens[start : start + self._chunk]
            self._chunk_tokens.write(part)
            rows: Tensor = self._score(self._chunk_tokens.tensor, self._start.bind(begin + start))
            yield rows.numpy()[skipped if start == 0 else 0 : len(part)]

    def _evaluate_prompt(self, prompt: Sequence[int], at: int = 0) -> tuple[tuple[Tensor, Tensor], int]:
        """Evaluate chunk by chunk from position ``at`` on; return what follows the last token, and the forwards.

        A chunk that would not fit into the cache, padded as it is, goes token by token.
        """
        forwards = 0
        for start in range(0, len(prompt), self._chunk):
            part, place = prompt[start : start + self._chunk], at + start
            if len(part) > 1 and place + self._chunk <= self._capacity:
                output, forwards = self._evaluate_chunk(part, place), forwards + 1
                continue
            for number, token in enumerate(part):
                output, forwards = self._evaluate_one(token, place + number), forwards + 1
        return output, forwards

    def _evaluate_chunk(self, part: Sequence[int], start: int) -> tuple[Tensor, Tensor]:
        self._chunk_tokens.write(part)
        return self._prefill(self._chunk_tokens.tensor, self._start.bind(start), self._index.bind(len(part) - 1))

    def _evaluate_one(self, token: int, position: int) -> tuple[Tensor, Tensor]:
        self._one_token.write((token,))
        return self._decode(self._one_token.tensor, self._start.bind(position), 0)


class _Input:
    """A device tensor of ids [1, T] that is written in place, so that a captured function need not copy it."""

    def __init__(self, size: int) -> None:
        from tinygrad import Tensor, dtypes

        self.tensor = Tensor.zeros(1, size, dtype=dtypes.int32).contiguous().realize()
        self._size = size

    def write(self, ids: Sequence[int]) -> None:
        """Write ``ids`` and zeros behind them."""
        import numpy as np
        from tinygrad.device import Buffer

        row = np.zeros(self._size, dtype=np.int32)
        row[: len(ids)] = ids
        buffer = self.tensor.uop.base.buffer
        assert isinstance(buffer, Buffer)  # of one device
        buffer.copyin(row.data)


def _picker(request: Request) -> Callable[[Tensor, Tensor], int]:
    """Return a function from the likeliest id and the logits to the token that the request asks for."""
    if request.temperature == 0:
        return lambda likeliest, _: int(likeliest.item())
    choose = chooser(request)
    return lambda _, logits: choose(logits.numpy())
