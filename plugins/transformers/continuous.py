"""Continuous batching: rows join and leave a batch between two decode steps.

Rows of unlike lengths share one KV cache, padded on the left: an attention mask hides the padding, and each row's
positions count its own tokens, so that it computes what it would alone. Models whose cache is more than keys and values
of every position, as with sliding windows or recurrent layers, cannot be padded so: their rows are advanced one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ... import Request, RequestSource, Step
from ...core.sdk.torch_sampling import Chooser, chooser

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel


@dataclass(slots=True)
class _Row:
    """A request that runs.

    Attributes:
        request: what was asked.
        choose: draws its next token.
        token: the last one [1, 1], which is not in the cache yet.
        length: positions in the cache.
        committed: tokens so far.
    """

    request: Request
    choose: Chooser
    token: torch.Tensor
    length: int
    committed: int = 1

    @property
    def has_ended(self) -> bool:
        return self.committed >= self.request.max_new_tokens or self.request.is_stop(int(self.token))


@dataclass(slots=True)
class _Lane:
    """Rows that share a cache, and so each forward."""

    rows: list[_Row]
    cache: Cache


@dataclass(slots=True)
class ContinuousBatch:
    """All rows that run on a model.

    Attributes:
        model: a causal language model.
        device: where it lives.
    """

    model: PreTrainedModel
    device: str
    _lanes: list[_Lane] = field(default_factory=list)

    def answer(self, source: RequestSource, max_in_flight: int) -> Iterator[Step]:
        """Answer requests as they become due, at most ``max_in_flight`` together."""
        while self._lanes or not source.ended:
            if not self._lanes:
                source.wait()
            while self._running < max_in_flight and (request := source.poll()) is not None:
                yield self._admit(request)
            self._drop(source)
            for lane in list(self._lanes):
                yield from self._advance(lane)
            self._drop(source)

    @property
    def _running(self) -> int:
        return sum(len(lane.rows) for lane in self._lanes)

    def _admit(self, request: Request) -> Step:
        """Prefill a prompt and let it join the rows that run."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            cache = DynamicCache(config=self.model.config)
            prompt = torch.tensor([request.prompt_ids], device=self.device)  # [1, P]
            logits = self.model(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            choose = chooser(request, self.device)
            token = choose(logits[:, -1])  # [1, 1]
            row = _Row(request, choose, token, prompt.shape[1])
            committed = int(token)
            if not row.has_ended:
                self._join(row, cache)
        return Step((committed,), row=request.row, forwards=1)

    def _join(self, row: _Row, cache: Cache) -> None:
        lane = self._lanes[0] if self._lanes else None
        if lane is None or not _is_plain(cache):
            self._lanes.append(_Lane([row], cache))
            return
        longest = max(row.length, *(other.length for other in lane.rows))
        for mine, own in zip(lane.cache.layers, cache.layers, strict=True):
            for name in ("keys", "values"):
                parts = [_padded(getattr(layer, name), longest) for layer in (mine, own)]
                setattr(mine, name, _concatenated(parts))  # [B + 1, H, T, D]
        lane.rows.append(row)

    def _advance(self, lane: _Lane) -> Iterator[Step]:
        """Commit one token of every row of a lane."""
        import torch

        rows = lane.rows
        lengths = [row.length for row in rows]
        with torch.inference_mode():
            logits = self.model(
                input_ids=torch.cat([row.token for row in rows]),  # [B, 1]
                attention_mask=_mask(lengths, self.device),
                position_ids=torch.tensor(lengths, device=self.device)[:, None],
                past_key_values=lane.cache,
                use_cache=True,
            ).logits[:, -1]  # [B, V]
            for index, row in enumerate(rows):
                row.token = row.choose(logits[index : index + 1])
            tokens = torch.cat([row.token for row in rows])[:, 0].tolist()  # waits for the device
        for row in rows:
            row.length += 1
            row.committed += 1
        for row, token in zip(list(rows), tokens, strict=True):
            yield Step((token,), row=row.request.row, forwards=1)

    def _drop(self, source: RequestSource) -> None:
        """Take rows that have ended, or are not wanted any more, out of their lanes."""
        for lane in list(self._lanes):
            kept = [index for index, row in enumerate(lane.rows) if not row.has_ended and source.wants(row.request.row)]
            if not kept:
                self._lanes.remove(lane)
            elif len(kept) < len(lane.rows):
                _select(lane, kept, self.device)


def _mask(lengths: Sequence[int], device: str) -> torch.Tensor | None:
    """Return [B, T + 1], 0 where a row is padded, for rows of these lengths and one more token; None: no row is."""
    import torch

    if len(set(lengths)) == 1:
        return None
    longest = max(lengths)
    padding = torch.tensor([longest - length for length in lengths], device=device)
    return (torch.arange(longest + 1, device=device)[None] >= padding[:, None]).long()


def _is_plain(cache: Cache) -> bool:
    """Whether a cache holds the keys and values of all positions and nothing else."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _padded(states: torch.Tensor, length: int) -> torch.Tensor:
    """Pad [B, H, T, D] with zeros on the left to [B, H, ``length``, D]."""
    import torch

    return torch.nn.functional.pad(states, (0, 0, length - states.shape[-2], 0))


def _concatenated(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat(list(parts))


def _select(lane: _Lane, kept: Sequence[int], device: str) -> None:
    """Keep some rows of a lane, and no more columns than the longest of them needs."""
    import torch

    lane.rows = [lane.rows[index] for index in kept]
    longest = max(row.length for row in lane.rows)
    with torch.inference_mode():
        chosen = torch.tensor(kept, device=device)
        for layer in lane.cache.layers:
            layer.keys = layer.keys.index_select(0, chosen)[..., -longest:, :]
            layer.values = layer.values.index_select(0, chosen)[..., -longest:, :]
