"""What is counted beside the steps: evaluations by kind, and tokens as the published scripts count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .canvas import Canvas


class Accounts:
    """Counts over one sample; a batch has none, since its forwards are shared."""

    def __init__(self) -> None:
        self._forwards: Counter[str] = Counter()
        self._raw_tokens: int | None = None

    def begin(self) -> None:
        """Start anew."""
        self._forwards, self._raw_tokens = Counter(), None

    def count(self, kind: str) -> None:
        """Count an evaluation."""
        self._forwards[kind] += 1

    def finish(self, raw_canvas_tokens: int | None) -> None:
        """Note the published count, where it exists."""
        self._raw_tokens = raw_canvas_tokens

    def figures(self) -> Mapping[str, float]:
        """Return what was counted."""
        figures = {f"forwards_{kind}": float(count) for kind, count in sorted(self._forwards.items())}
        if self._raw_tokens is not None:
            figures["raw_canvas_tokens"] = float(self._raw_tokens)
        return figures


def block_causal_tokens(canvas: Canvas, block: int) -> int | None:
    """Return what the published v2 harness counts: all ids behind the prompt up to the end of the stop's block.

    Without a stop that is whole blocks for the token limit and the one token that the last finished block gives; None
    where that loop, which counts blocks, would have generated nothing.
    """
    if canvas.stop_position is not None:
        return (canvas.stop_position // block + 1) * block - canvas.prompt_length
    blocks = canvas.request.max_new_tokens // block + canvas.prompt_length // block
    counted = blocks * block + 1 - canvas.prompt_length
    return counted if counted > 0 else None


def full_attention_tokens(canvas: Canvas) -> int:
    """Return what the published v1 harness counts: the text's ids before the stop, without the stop itself."""
    end = canvas.limit if canvas.stop_position is None else canvas.stop_position
    return end - canvas.prompt_length
