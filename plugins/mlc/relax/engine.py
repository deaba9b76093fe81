"""Running a compiled decoder: one sequence in a paged KV cache, a step per token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....core.contract.generation import Request, Step
from ....core.sdk.sampling import chooser
from ....core.sdk.scoring import SCORED_AT_ONCE
from .heads import PAGE
from .layout import tiled
from .model import Decoder

if TYPE_CHECKING:
    import numpy as np

_SEQUENCE = 0
_CACHE_GRAIN = 2048  # positions; one cache serves every request up to a multiple of it


class Engine:
    """A compiled library with its weights and its cache.

    Args:
        decoder: what the library was compiled for.
        library: the shared object.
        parameters: row-major arrays by our names; taken out of the mapping as they are laid out.
        prefill_chunk: most prompt tokens in one pass.
    """

    def __init__(self, decoder: Decoder, library: Path, parameters: dict[str, np.ndarray], prefill_chunk: int) -> None:
        import tvm
        from tvm import relax

        self._decoder, self._chunk = decoder, prefill_chunk
        self._device = tvm.cpu()
        machine = relax.VirtualMachine(tvm.runtime.load_module(str(library)), self._device)
        self._prefill, self._decode, self._logits = machine["prefill"], machine["decode"], machine["logits"]
        self._create_cache = machine["create_cache"]
        self._parameters = tvm.runtime.convert(_laid_out(decoder, parameters))
        self._add, self._remove, self._begin, self._end, self._pop = (
            tvm.get_global_func(f"vm.builtin.kv_state_{name}")
            for name in ("add_sequence", "remove_sequence", "begin_forward", "end_forward", "popn")
        )
        self._sequence = tvm.runtime.ShapeTuple([_SEQUENCE])
        self._one = tvm.runtime.ShapeTuple([1])
        self._capacity = 0
        self._reserve(min(_CACHE_GRAIN, decoder.context))

    def generate(self, request: Request) -> Iterator[Step]:
        """Continue one prompt from an empty cache."""
        import numpy as np
        import tvm

        choose = chooser(request)
        self._reserve(len(request.prompt_ids) + request.max_new_tokens)
        ids = tvm.runtime.tensor(np.zeros(1, np.int32))
        place = np.from_dlpack(ids)
        self._add(self._cache, _SEQUENCE)
        try:
            if request.depth:
                self._run_prompt(request.prompt_ids[: request.depth], self._prefill)
                yield Step((), is_depth=True)
            logits = self._run_prompt(request.prompt_ids[request.depth :], self._prefill)
            for left in reversed(range(request.max_new_tokens)):
                token = choose(np.from_dlpack(logits)[0, : self._decoder.vocabulary])
                yield Step((token,), forwards=1)
                if left == 0 or request.is_stop(token):
                    return
                place[0] = token
                self._begin(self._cache, self._sequence, self._one)
                logits = self._decode(ids, self._cache, self._parameters)
                self._end(self._cache)
        finally:
            self._remove(self._cache, _SEQUENCE)

    @contextmanager
    def scoring(self) -> Iterator[Scoring]:
        """Give the cache to the scoring of one prompt's continuations, and take it back."""
        scoring = Scoring(self)
        try:
            yield scoring
        finally:
            scoring.end()

    def begin(self, positions: int) -> None:
        """Begin the one sequence of the cache, with room for ``positions``."""
        self._reserve(positions)
        self._add(self._cache, _SEQUENCE)

    def drop(self, positions: int) -> None:
        """Forget the last positions of the sequence."""
        self._pop(self._cache, _SEQUENCE, positions)

    def end(self) -> None:
        """Forget the sequence."""
        self._remove(self._cache, _SEQUENCE)

    def last_logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens; return a copy of the logits behind the last, [1, V]."""
        return self._rows(self._run_prompt(tokens, self._prefill))

    def all_logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens, at most a prefill chunk of them; return a copy of the logits behind each, [n, V]."""
        return self._rows(self._run_prompt(tokens, self._logits))

    def _rows(self, logits: Any) -> np.ndarray:
        import numpy as np

        return np.array(np.from_dlpack(logits)[:, : self._decoder.vocabulary])

    @property
    def prefill_chunk(self) -> int:
        """Most tokens of one pass."""
        return self._chunk

    def _run_prompt(self, tokens: Sequence[int], function: Any) -> Any:
        import numpy as np
        import tvm

        logits = None
        for chunk in self._chunks(tokens):
            self._begin(self._cache, self._sequence, tvm.runtime.ShapeTuple([len(chunk)]))
            logits = function(tvm.runtime.tensor(np.array(chunk, np.int32)), self._cache, self._parameters)
            self._end(self._cache)
        return logits

    def _chunks(self, tokens: Sequence[int]) -> Iterator[Sequence[int]]:
        return (tokens[start : start + self._chunk] for start in range(0, len(tokens), self._chunk))

    def _reserve(self, positions: int) -> None:
        """Make the cache hold ``positions``; the memory that TVM pools between requests is kept."""
        if positions <= self._capacity:
            return
        from tvm.runtime import ShapeTuple

        self._capacity = -(-positions // _CACHE_GRAIN) * _CACHE_GRAIN
        sizes = (1, self._capacity, self._chunk, PAGE, 0)
        self._cache = self._create_cache(*(ShapeTuple([size]) for size in sizes))


class Scoring:
    """Continuations of one prompt, see ``core.sdk.scoring.ScoringEngine``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_begun = False
        self._behind = 0  # positions behind the prompt

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> np.ndarray:
        """Evaluate a prompt; return the logits behind its last id, [1, V]."""
        self._engine.begin(positions)
        self._is_begun = True
        return self._engine.last_logits(prompt_ids)

    def behind(self, ids: Sequence[int]) -> Iterator[np.ndarray]:
        """Evaluate ids behind the prompt alone; yield the logits behind each, [n, V] in chunks."""
        if self._behind:
            self._engine.drop(self._behind)
        self._behind = 0
        size = min(SCORED_AT_ONCE, self._engine.prefill_chunk)
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            self._behind += len(part)
            yield self._engine.all_logits(part)

    def end(self) -> None:
        """Give the cache back."""
        if self._is_begun:
            self._engine.end()


def _laid_out(decoder: Decoder, parameters: dict[str, np.ndarray]) -> list[Any]:
    """Return the library's arguments in order: matrices in tiles, vectors as they are."""
    import numpy as np
    import tvm

    found = []
    vectors = decoder.vectors()
    for name, (shape, dtype) in decoder.stored().items():
        array = parameters.pop(name)
        if name not in vectors:
            array = tiled(array)
        array = np.ascontiguousarray(array, dtype)
        assert array.shape == shape, f"{name}: {array.shape} is not {shape}"
        found.append(tvm.runtime.tensor(array))
    return found
