"""Autoregressive decoding: prefill, then one token at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...core.contract.generation import Request, Step
from ...core.sdk.scoring import SCORED_AT_ONCE
from ...core.sdk.torch_sampling import chooser

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel

_CACHE_GRAIN = 256  # static caches come in multiples of this, so that one allocation serves many requests


class Decoder:
    """A model with its KV cache.

    Args:
        model: a causal language model.
        device: where it lives.
        is_static: allocate the cache once instead of letting it grow.
        is_compiled: compile the decode step; the prefill, whose length varies, stays as it is.
    """

    def __init__(self, model: PreTrainedModel, device: str, *, is_static: bool, is_compiled: bool) -> None:
        import torch

        self._model, self._device, self._is_static = model, device, is_static
        self._static_cache: Cache | None = None
        self._capacity = 0
        self._decode: Callable[..., Any] = torch.compile(model.forward) if is_compiled else model.forward
        self._synchronise = _synchroniser(device)

    def generate(self, request: Request) -> Iterator[Step]:
        """Continue one prompt from an empty cache, a step per token."""
        import torch

        choose = chooser(request, self._device)
        with torch.inference_mode():
            cache = self._empty_cache(len(request.prompt_ids) + request.max_new_tokens)
            prompt = torch.tensor([request.prompt_ids], device=self._device)  # [1, P]
        forward = self._model.forward
        tokens = prompt[:, request.depth :]
        if request.depth:
            with torch.inference_mode():
                forward(input_ids=prompt[:, : request.depth], past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._synchronise()
            yield Step((), row=request.row, is_depth=True)
        for index in range(request.max_new_tokens):
            # Entered anew for each step: left open across a yield it would leak into the caller.
            with torch.inference_mode():
                logits = forward(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[
                    :, -1
                ]  # [1, V]
                tokens = choose(logits)  # [1, 1]
                token = int(tokens)
            self._synchronise()
            yield Step((token,), row=request.row, forwards=1)
            if request.is_stop(token):
                return
            if index == 0:
                forward = self._decode

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> torch.Tensor:
        """Evaluate a prompt whose continuations are to be scored; the growing cache needs no room beforehand."""
        from transformers import DynamicCache

        self._prompt_cache = DynamicCache(config=self._model.config)
        return self._scored(prompt_ids, self._prompt_cache, 1)

    def behind(self, ids: Sequence[int]) -> Iterator[torch.Tensor]:
        """Evaluate ids behind the prompt, over a copy of its cache: not every kind of cache can be cut back."""
        cache = copy.deepcopy(self._prompt_cache)
        for start in range(0, len(ids), SCORED_AT_ONCE):
            yield self._scored(ids[start : start + SCORED_AT_ONCE], cache, 0)

    def together(self, rows: Sequence[Sequence[int]]) -> Sequence[torch.Tensor]:
        """Evaluate rows behind the prompt in one forward, over a copy of its cache for each.

        Shorter ones are padded behind their end, where causal attention hides the padding from them.
        """
        import torch

        longest = max(map(len, rows))
        padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self._device)  # [R, n]
        cache = copy.deepcopy(self._prompt_cache)
        cache.reorder_cache(torch.zeros(len(rows), dtype=torch.long, device=self._device))  # every kind has it
        logits = self._forward(padded, cache, 0)
        return [found[: len(row)].float() for row, found in zip(rows, logits, strict=True)]

    def _scored(self, ids: Sequence[int], cache: Cache, logits: int) -> torch.Tensor:
        """Return the logits behind the last ``logits`` ids, 0 for all: [n, V] in float32."""
        import torch

        return self._forward(torch.tensor([list(ids)], device=self._device), cache, logits)[0].float()

    def _forward(self, tokens: torch.Tensor, cache: Cache, logits: int) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            output = self._model.forward(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=logits)
            found: torch.Tensor = output.logits
        return found

    def _empty_cache(self, length: int) -> Cache:
        from transformers import DynamicCache, StaticCache

        if not self._is_static:
            return DynamicCache(config=self._model.config)
        if self._static_cache is None or length > self._capacity:
            self._capacity = -(-length // _CACHE_GRAIN) * _CACHE_GRAIN
            self._static_cache = StaticCache(config=self._model.config, max_cache_len=self._capacity)
        else:
            self._static_cache.reset()
        return self._static_cache


def _synchroniser(device: str) -> Callable[[], None]:
    """Return what waits for the device; reading the token on a CPU has waited already."""
    import torch

    if device.startswith("cuda"):
        return lambda: torch.cuda.synchronize(device)
    if device.startswith("mps"):
        return torch.mps.synchronize
    return lambda: None
