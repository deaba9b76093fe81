"""How likely a given text is: token by token in reading order, and as the published harness scores a choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .network import Network
from .places import BlockCausal, Window
from .variant import Variant

if TYPE_CHECKING:
    from torch import Tensor


def reading_order_logits(
    network: Network, variant: Variant, tokens: Sequence[int], block: int, first: int = 1
) -> Iterator[Tensor]:
    """Yield the logits [1, V] of each token from place ``first`` on, given those before it, all later ones masked.

    That is what decoding from left to right, one token per step, goes by. For v2 the masks end with the block, and
    the first token of a block has the finished blocks before it alone; for LLaDA and Dream they end with the text.
    Costs an evaluation per token.
    """
    import torch

    shift = 1 if variant.is_shifted else 0
    ids, mask = list(tokens), network.mask_id
    room = len(ids) + block
    with torch.inference_mode():
        network.reserve(1, room)
        cache = network.cache.rows(1)
        clean = _states(network, ids, BlockCausal(len(ids), block), cache) if variant.name == "v2" else None
        for at in range(first, len(ids)):
            if clean is None:
                states = _states(network, ids[:at] + [mask] * (len(ids) - at), Window(0, len(ids), len(ids)), cache)
                row = at - shift
            elif at % block == 0:
                # The partly masked blocks wrote over their slots: this block's own keys go back before the next one.
                _states(network, ids[at - block : at], Window(at - block, block, at), cache)
                states, row = clean, at - 1
            else:
                start = at // block * block
                filled = ids[start:at] + [mask] * (block - (at - start))
                states, row = _states(network, filled, Window(start, block, start + block), cache), at - 1 - start
            yield network.logits(states[row : row + 1])


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
