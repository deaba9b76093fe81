"""The figures of the published benchmark scripts, by their own rules, so that published tables can be compared.

They differ from the metrics of decodebench: decode time begins behind the first draft forward (with candidates, behind
the whole first cycle), so that this part of the work is in neither TTFT nor TPOT, and it is divided by all output
tokens, the first included. An output token that equals the mask token is not counted at all by the research fork.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .clock import Clock


class PublishedTimes:
    """Collects the marks of one sample; a batch of several rows has no such figures.

    Args:
        clock: of the device.
        is_candidate: whether candidates are verified, which moves the start of decode time.
        mask_token_id: the id that a drafted block is filled with; None without a draft.
        counts_masks: whether an output token of that id is counted, as in the authors' own loop.
    """

    def __init__(
        self, clock: Clock, *, is_candidate: bool, mask_token_id: int | None, counts_masks: bool = False
    ) -> None:
        self._clock, self._is_candidate, self._mask = clock, is_candidate, mask_token_id
        self._counts_masks = counts_masks
        self._figures: dict[str, float] = {}
        self._began: Any = None
        self._prefilled: Any = None
        self._first_draft: Any = None
        self._decode_began: Any = None
        self._output: list[int] = []

    def begin(self) -> None:
        """A sample begins."""
        self._began = self._clock.mark()
        self._prefilled = self._first_draft = self._decode_began = None
        self._output, self._figures = [], {}

    def prefilled(self) -> None:
        """The first token is there."""
        self._prefilled = self._decode_began = self._clock.mark()

    def drafted(self) -> None:
        """A block was drafted."""
        if self._first_draft is None:
            self._first_draft = self._clock.mark()
            if self._mask is not None:
                self._decode_began = self._first_draft

    def cycled(self) -> None:
        """A cycle ended."""
        if self._is_candidate and self._decode_began is self._first_draft:
            self._decode_began = self._clock.mark()

    def committed(self, tokens: Sequence[int]) -> None:
        """Tokens became visible."""
        self._output += tokens

    def finish(self) -> None:
        """The sample ended: take the figures."""
        if self._prefilled is None:
            return
        end = self._clock.mark()
        counted = sum(self._counts_masks or token != self._mask for token in self._output)
        decode_s = self._clock.seconds(self._decode_began, end)
        self._figures = {
            "published_ttft_s": self._clock.seconds(self._began, self._prefilled),
            "published_tpot_s": decode_s / max(1, counted),
            "published_wall_s": self._clock.seconds(self._began, end),
            "published_output_tokens": float(counted),
        }
        if self._mask is not None and self._first_draft is not None:
            self._figures["first_draft_s"] = self._clock.seconds(self._prefilled, self._first_draft)

    def take(self) -> Mapping[str, float]:
        """Return the figures of the last sample, once."""
        figures, self._figures = self._figures, {}
        return figures
