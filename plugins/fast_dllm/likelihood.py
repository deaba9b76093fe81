"""How likely a given text is: token by token in reading order, and as the published harness scores a choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .network import Network
from .places import BlockCausal, Window
from .variant import Variant

if TYPE_CHECKING:
    from torch import Tensor


def window_logits(network: Network, variant: Variant, tokens: Sequence[int], first: int = 1) -> Iterator[Tensor]:
    """Yield the logits [1, V] of each token from place ``first`` on, given those before it, all later ones masked.

    That is what decoding from left to right, one token per step, goes by for LLaDA and Dream, whose masks end with the
    text. Every token sees the masks, so each costs an evaluation of the whole text, and no prompt can be shared.
    """
    import torch

    shift = 1 if variant.is_shifted else 0
    ids, mask = list(tokens), network.mask_id
    with torch.inference_mode():
        network.reserve(1, len(ids))
        cache = network.cache.rows(1)
        for at in range(first, len(ids)):
            states = _states(network, ids[:at] + [mask] * (len(ids) - at), Window(0, len(ids), len(ids)), cache)
            yield network.logits(states[at - shift : at - shift + 1])


class BlockReading:
    """Reading order for v2, whose masks end with the block: see ``core.sdk.scoring.ScoringEngine``.

    The finished blocks of a prompt are evaluated once. The first token of a block has the finished blocks before it
    alone; any other one costs an evaluation of its block, as far as it is read, with masks behind.
    """

    def __init__(self, network: Network, block: int) -> None:
        self._network, self._block = network, block
        self._prompt: list[int] = []

    def prefill(self, prompt_ids: Sequence[int], positions: int) -> Tensor:
        """Evaluate a prompt; return the logits of the token behind it, [1, V]."""
        import torch

        self._prompt, network = list(prompt_ids), self._network
        finished = len(self._prompt) // self._block * self._block
        with torch.inference_mode():
            network.reserve(1, positions + self._block)
            self._cache = network.cache.rows(1)
            if finished:
                place = BlockCausal(finished, self._block)
                states = _states(network, self._prompt[:finished], place, self._cache)
            return network.logits(states[-1:]) if finished == len(self._prompt) else self._next(self._prompt)

    def behind(self, ids: Sequence[int]) -> Iterator[Tensor]:
        """Read ids behind the prompt; yield the logits [1, V] of the token behind each."""
        import torch

        for count in range(1, len(ids) + 1):
            with torch.inference_mode():
                yield self._next([*self._prompt, *ids[:count]])

    def _next(self, read: Sequence[int]) -> Tensor:
        at, block = len(read), self._block
        start = (at - 1) // block * block
        # A block that is finished is evaluated without masks: these are the keys that later blocks see.
        filled = [*read[start:], *[self._network.mask_id] * (start + block - at)]
        states = _states(self._network, filled, Window(start, block, start + block), self._cache)
        return self._network.logits(states[at - 1 - start : at - start])


def padded_length(length: int, block: int) -> int:
    """Return the length that the published harness pads a text to: the next multiple, a whole block more at one."""
    return (length // block + 1) * block


def published_log_likelihood(
    network: Network, prompt: Sequence[int], choice: Sequence[int], stop_id: int, block: int
) -> float:
    """Score a choice behind a prompt as the published v2 harness does, natural logarithm.

    The first token of the choice alone is masked and scored; the rest of it stays visible in the same block, and so
    does the end token behind it (Fast-dLLM v2, its evaluation script). One evaluation, without a cache.
    """
    import torch

    ids = [*prompt, network.mask_id, *choice[1:], stop_id]
    ids += [network.mask_id] * (padded_length(len(ids) - 1, block) - len(ids))
    with torch.inference_mode():
        network.reserve(1, len(ids))
        states = _states(network, ids, BlockCausal(len(ids), block), network.cache.rows(1))
        row = len(prompt) - 1
        return float(network.logits(states[row : row + 1]).log_softmax(-1)[0, choice[0]])


def _states(network: Network, ids: Sequence[int], place: Window, cache: Tensor) -> Tensor:
    import torch

    return network.states(torch.tensor([list(ids)], device=network.device), place, cache)[0]
