"""Autoregressive decoding: prefill, then one token at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ...core.contract.generation import Request, Step
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
        tokens = prompt
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

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of a whole sequence in float32: [1, T] -> [T, V]."""
        import torch

        with torch.inference_mode():
            logits: torch.Tensor = self._model.forward(input_ids=tokens, use_cache=False).logits
        return logits[0].float()

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
