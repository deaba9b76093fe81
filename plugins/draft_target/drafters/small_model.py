"""A small language model that drafts token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ....core.contract.generation import Request
from ....core.sdk import torch_sampling
from ..draws import Draws, Purpose, pick
from ..models import CausalModel, TokenSequence
from ..proposal import NOTHING, Proposal
from . import Drafter

if TYPE_CHECKING:
    from torch import Tensor


class SmallModel(Drafter):
    """Drafts with a model of its own; its cache is cut back to what was committed, never computed anew.

    Args:
        model: the draft.
        vocabulary: ids of the target; the draft proposes none beyond them.
        candidates: drafts per round. At temperature 0 the first is greedy and the others are drawn.
        temperature, top_p: of what is drawn where there are several candidates; a single one follows the request.
        needs_logprobs: whether the rule wants the log-probabilities of the drafted tokens.
    """

    def __init__(
        self,
        model: CausalModel,
        vocabulary: int,
        *,
        candidates: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        needs_logprobs: bool = False,
    ) -> None:
        self._model, self._vocabulary = model, min(vocabulary, model.vocabulary)
        self._candidates, self._needs_logprobs = candidates, needs_logprobs
        self._temperature, self._top_p = temperature, top_p
        self._sequence: TokenSequence | None = None

    def begin(self, request: Request) -> None:
        """Open a sequence."""
        positions = min(len(request.prompt_ids) + request.max_new_tokens, self._model.context)
        self._sequence = self._model.begin(positions)
        self._fed: list[int] = []
        self._lengths = (0, 0)  # of the contexts of the last two calls
        self._request, self._draws = request, Draws(request.seed)
        drawn = replace(request, temperature=self._temperature, top_p=self._top_p)
        self._sampling = drawn if self._candidates > 1 else request

    def fill(self, context: Sequence[int]) -> None:
        """Evaluate it and wait for the device, where the draft has room and an embedding for it."""
        import torch

        if len(context) < self._model.context and max(context) < self._model.vocabulary:
            with torch.inference_mode():
                float(self._feed(context).max())

    def draft(self, context: Sequence[int], count: int) -> Proposal:
        """Draft each candidate behind the common context."""
        import torch

        count = min(count, self._model.context - len(context))
        if count < 1:
            return NOTHING
        with torch.inference_mode():
            self._cut_back(context)
            if max(context[len(self._fed) :]) >= self._model.vocabulary:
                return NOTHING  # the target has written an id that the draft has no embedding for
            first = self._feed(context[len(self._fed) :])
            drafts = [self._one(first, len(context), count, index) for index in range(self._candidates)]
        is_drawn = self._request.temperature > 0
        return Proposal(
            tuple(tuple(ids) for ids, _, _ in drafts),
            torch.stack([torch.stack(rows) for _, rows, _ in drafts]) if is_drawn else None,
            tuple(tuple(logprobs) for _, _, logprobs in drafts) if self._needs_logprobs else None,
        )

    def _one(self, first: Tensor, start: int, count: int, index: int) -> tuple[list[int], list[Tensor], list[float]]:
        """Draft one candidate from the logits [V] behind the context; its tokens, distributions, log-probabilities."""
        ids: list[int] = []
        rows: list[Tensor] = []
        logprobs: list[float] = []
        is_drawn = self._request.temperature > 0 or index > 0
        logits = first
        if index > 0:
            self._crop(start)
        while True:
            if is_drawn:
                chances = torch_sampling.probabilities(logits[None], self._sampling)[0]
                token = pick(chances, self._draws.uniform(start + len(ids), Purpose.DRAFT, index))
                rows.append(chances)
            else:
                token = int(logits.argmax(-1))
            ids.append(token)
            if self._needs_logprobs:
                logprobs.append(float(chances[token].log()) if is_drawn else 0.0)
            is_over = self._candidates == 1 and self._request.is_stop(token)
            if len(ids) == count or is_over:
                return ids, rows, logprobs
            logits = self._feed([token])

    def _feed(self, ids: Sequence[int]) -> Tensor:
        """Return the logits [V] behind the last of the given tokens."""
        assert self._sequence is not None, "begin comes first"
        self._fed += ids
        return self._sequence.feed(ids, logits=1)[0, : self._vocabulary]

    def _cut_back(self, context: Sequence[int]) -> None:
        """Keep of the cache what the context begins with, but for its last token, whose logits are needed."""
        before_last, last = self._lengths
        agreed = min(before_last, len(self._fed))
        while agreed < min(len(self._fed), len(context)) and self._fed[agreed] == context[agreed]:
            agreed += 1
        self._crop(min(agreed, len(context) - 1))
        self._lengths = (last, len(context))

    def _crop(self, length: int) -> None:
        assert self._sequence is not None
        self._sequence.crop(length)
        del self._fed[length:]

    def end(self) -> None:
        """Give the cache back."""
        if self._sequence is not None:
            self._sequence.close()
            self._sequence = None
