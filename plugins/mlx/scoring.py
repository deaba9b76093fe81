"""Scoring: continuations of one prompt over copies of its cache."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...core.sdk.scoring import SCORED_AT_ONCE

if TYPE_CHECKING:
    import mlx.core as mx
    import numpy as np


class Scoring:
    """A model of mlx-lm with the cache of one prompt, see ``core.sdk.scoring.ScoringEngine``.

    Args:
        model: maps ids [1, n] and a cache to logits [1, n, V].
        prefill_chunk: prompt tokens evaluated at once.
    """

    def __init__(self, model: Any, prefill_chunk: int) -> None:  # noqa: ANN401 - mlx-lm's models have no common type
        self._model, self._chunk = model, prefill_chunk

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> np.ndarray:
        """Evaluate a prompt; return the logits behind its last id, [1, V]. MLX computes no others: nothing asks."""
        from mlx_lm.models.cache import make_prompt_cache

        self._cache = make_prompt_cache(self._model)
        *before, last = prompt_ids
        fill(self._model, before, self._cache, self._chunk)
        return rows_of(self._model(_ids([last]), cache=self._cache))

    def behind(self, ids: Sequence[int]) -> Iterator[np.ndarray]:
        """Evaluate ids behind the prompt; yield the logits behind each, [n, V] in chunks."""
        cache = copy.deepcopy(self._cache)  # not every kind of cache can be cut back
        for start in range(0, len(ids), SCORED_AT_ONCE):
            yield rows_of(self._model(_ids(ids[start : start + SCORED_AT_ONCE]), cache=cache))

    def together(self, rows: Sequence[Sequence[int]]) -> Sequence[np.ndarray]:
        """Evaluate rows behind the prompt in one forward, over a copy of its cache for each.

        Shorter ones are padded behind their end, where causal attention hides the padding from them.
        """
        import mlx.core as mx
        import numpy as np
        from mlx_lm.models.cache import KVCache, RotatingKVCache

        if any(type(layer) not in (KVCache, RotatingKVCache) for layer in self._cache):
            return [np.concatenate(list(self.behind(row))) for row in rows]
        cache = copy.deepcopy(self._cache)
        for layer in cache:
            layer.keys, layer.values = (mx.repeat(part, len(rows), axis=0) for part in (layer.keys, layer.values))
        longest = max(map(len, rows))
        logits = self._model(mx.array([[*row, *[0] * (longest - len(row))] for row in rows]), cache=cache)  # [R, n, V]
        mx.eval(logits)
        return [rows_of(logits[place : place + 1, : len(row)]) for place, row in enumerate(rows)]


def fill(model: Any, ids: Sequence[int], cache: list[Any], chunk: int) -> None:  # noqa: ANN401 - as above
    """Evaluate ids behind what is in a cache, so many at once; of their logits none is computed."""
    import mlx.core as mx

    for start in range(0, len(ids), chunk):
        model(_ids(ids[start : start + chunk]), cache=cache)
        mx.eval([layer.state for layer in cache])


def _ids(ids: Sequence[int]) -> mx.array:
    import mlx.core as mx

    return mx.array(list(ids))[None]


def rows_of(logits: mx.array) -> np.ndarray:
    """Bring logits [1, n, V] over as [n, V] in float32."""
    import mlx.core as mx
    import numpy as np

    return np.array(logits[0].astype(mx.float32))
