"""Any causal language model that transformers knows, over its growing cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .... import ModelError
from ....core.sdk.hugging_face import context_length, open_model
from . import CausalModel, TokenSequence

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache

_PREFILL_CHUNK = 512  # tokens per forward of a long prompt: bounds the activations


class HuggingFace(CausalModel):
    """The model in a Hugging Face folder.

    Args:
        folder: what ``AutoModelForCausalLM`` opens; no remote code is run.
        dtype: number format of weights and activations.
        device: where it lives.
        is_compiled: compile the forward.

    Raises:
        ModelError: transformers cannot load it, or its cache cannot be cut back.
    """

    def __init__(self, folder: Path, dtype: str, device: str, *, is_compiled: bool = False) -> None:
        import torch

        self.model = model = open_model(folder, dtype, device)
        config = model.config.get_text_config()
        self.device = device
        self.vocabulary = config.vocab_size
        self.context = context_length(model.config)
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.weight_bytes = sum(parameter.nbytes for parameter in model.parameters())
        self._forward = torch.compile(model.forward) if is_compiled else model.forward
        self.new_cache(folder)

    def new_cache(self, folder: Path | None = None) -> Cache:
        """Return an empty cache; raises ``ModelError`` where a layer's cannot be cut back to any length."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        cache = DynamicCache(config=self.model.config)
        odd = next((layer for layer in cache.layers if type(layer) is not DynamicLayer), None)
        if odd is not None:
            raise ModelError(
                f"{folder}: {type(self.model).__name__} keeps a {type(odd).__name__}, which cannot be cut back to an "
                "earlier position: speculative decoding needs full attention in every layer",
                code="model-unsupported",
            )
        return cache

    def forward(self, ids: Tensor, cache: Cache, logits: int) -> Tensor:
        """Evaluate [R, n] tokens and return the logits of the last ones, [R, logits, V] (0: of all)."""
        output = self._forward(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=logits)
        found: Tensor = output.logits
        return found if found.itemsize == 8 else found.float()

    def begin(self, positions: int = 0) -> TokenSequence:
        """Return a sequence with a cache of its own, which grows as it needs."""
        return _Sequence(self, self.new_cache())


class _Sequence(TokenSequence):
    def __init__(self, model: HuggingFace, cache: Cache) -> None:
        self._model, self._cache = model, cache
        self.length = 0

    def feed(self, ids: Sequence[int], *, logits: int | None = None) -> Tensor:
        """Evaluate behind the present end; a prompt in chunks."""
        tokens = self._tensor([list(ids)])
        while logits is not None and tokens.shape[1] > max(_PREFILL_CHUNK, logits):
            self._model.forward(tokens[:, :_PREFILL_CHUNK], self._cache, 1)
            tokens = tokens[:, _PREFILL_CHUNK:]
        found = self._model.forward(tokens, self._cache, logits or 0)[0]
        self.length += len(ids)
        return found

    def feed_candidates(self, anchor: int, candidates: Sequence[Sequence[int]]) -> Tensor:
        """Evaluate the candidates as a batch over copies of the cache."""
        self._cache.batch_repeat_interleave(len(candidates))
        return self._model.forward(self._tensor([[anchor, *ids] for ids in candidates]), self._cache, 0)

    def keep(self, candidate: int, count: int) -> None:
        """Drop the other copies and what was not accepted."""
        self._cache.batch_select_indices(self._tensor([candidate]))
        self.length += count + 1
        self._drop(self._cache.get_seq_length() - self.length)

    def crop(self, length: int) -> None:
        """Cut the cache."""
        if length < self.length:
            self._drop(self.length - length)
            self.length = length

    def _drop(self, positions: int) -> None:
        if positions > 0:
            self._cache.crop(-positions)

    def close(self) -> None:
        """Drop the cache."""
        del self._cache

    def _tensor(self, values: Sequence[Any]) -> Tensor:
        import torch

        return torch.tensor(values, device=self._model.device)
