"""tinygrad's ``Transformer`` with a KV cache and rotary angles that are computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from tinygrad import Tensor, UOp
    from tinygrad.llm.model import Transformer


class Network:
    """A model and its cache.

    tinygrad by itself computes the table of rotary angles anew in every layer of every step, for all positions of the
    context: most of a small model's time. Made here instead, it costs nothing, and rotary scaling goes into it.

    Args:
        model: with its weights in place.
        capacity: positions of the KV cache.
        divisors: what each rotary frequency is divided by, [rotary dimensions / 2]; None for plain ones.
    """

    def __init__(self, model: Transformer, capacity: int, divisors: np.ndarray | None) -> None:
        from tinygrad import Tensor

        self.model, self.capacity = model, capacity
        config = model.blk[0].config
        angles = Tensor(rotary_table(config.rope_dim, capacity, config.rope_theta, divisors)).realize()
        size = (2, 1, config.n_kv_heads, capacity, config.head_dim)
        blocks: list[Any] = model.blk  # their class sets these two only when it is first called
        for block in blocks:
            block.freqs_cis = angles
            block.cache_kv = Tensor.zeros(*size).contiguous().realize()

    def last(self, tokens: Tensor, start: UOp, index: int | UOp) -> tuple[Tensor, Tensor]:
        """Evaluate tokens [1, T] from position ``start``; return the likeliest id after ``index`` [1] and logits [V].

        Of equal logits argmax takes the smallest id.
        """
        hidden = self._hidden(tokens, start)[:, index : index + 1].reshape(1, -1)
        logits = self.model.output(self.model.output_norm(hidden)).float()[0]
        return logits.argmax(-1, keepdim=True), logits

    def all_logits(self, tokens: Tensor, start: UOp) -> Tensor:
        """Evaluate tokens [1, T] from position ``start``; return their logits, [T, V] float32."""
        return self.model.output(self.model.output_norm(self._hidden(tokens, start))).float()[0]

    def _hidden(self, tokens: Tensor, start: UOp) -> Tensor:
        x = self.model.token_embd(tokens).float()
        for block in self.model.blk:
            x = block(x, start)
        return x


def rotary_table(dimensions: int, positions: int, theta: float, divisors: np.ndarray | None) -> np.ndarray:
    """Return cosines and sines side by side, [positions, dimensions] float32."""
    import numpy as np

    frequencies = theta ** (-np.arange(0, dimensions, 2, dtype=np.float64) / dimensions)
    if divisors is not None:
        frequencies = frequencies / divisors
    angles = np.arange(positions, dtype=np.float64)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
