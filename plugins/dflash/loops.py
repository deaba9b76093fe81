"""Which loop decodes: each is a class of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ...core.contract.generation import Request, Step
from .decoder import Decoder
from .drafters import Drafter
from .multi_round import MultiRoundDecoder
from .options import DFlashOptions
from .published_loop import PublishedDecoder, PublishedMultiRoundDecoder
from .published_times import PublishedTimes
from .target import Target


class Loop(Protocol):
    """What the backend needs of a loop."""

    @property
    def times(self) -> PublishedTimes | None:
        """The figures of the published rules; None where there are none."""
        ...

    def generate(self, batch: Sequence[Request]) -> Iterator[Step]:
        """Continue every request from an empty cache; a step for each prefill, then one per row and cycle."""
        ...


def make_loop(target: Target, drafter: Drafter | None, options: DFlashOptions) -> Loop:
    """Build the loop that the options name; without a drafter it decodes token by token."""
    is_published = options.compat != "none"
    if options.round_block_sizes and drafter is not None:
        return (PublishedMultiRoundDecoder if is_published else MultiRoundDecoder)(target, drafter, options)
    block_size = options.block_size or (drafter.block_size if drafter else 1)
    return (PublishedDecoder if is_published else Decoder)(target, drafter, options, block_size)
