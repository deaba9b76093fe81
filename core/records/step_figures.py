"""What a decoder can report of a step besides its tokens: a row a figure, which backends give and logs have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field

Count = Annotated[int | None, Field(ge=0)]
Seconds = Annotated[float | None, Field(ge=0)]


@dataclass(init=False, repr=False, eq=False, match_args=False)
class StepFigures:
    """The figures of a step; None where they do not apply. Give them by name."""

    __slots__ = ()  # whoever inherits says where its values lie

    block_size: Annotated[Count, Field(description="positions that this cycle could commit")] = None
    drafted: Annotated[Count, Field(description="draft tokens proposed to the verifier in this cycle")] = None
    accepted: Annotated[Count, Field(description="how many of them were accepted")] = None
    discarded: Annotated[Count, Field(description="draft tokens discarded without verification")] = None
    candidates: Annotated[Count, Field(description="alternative continuations verified in this cycle")] = None
    forwards: Annotated[Count, Field(description="evaluations of the (target) model behind this step")] = None
    draft_s: Annotated[Seconds, Field(description="the engine's own time for drafting")] = None
    verify_s: Annotated[Seconds, Field(description="the engine's own time for verifying")] = None
    wire_s: Annotated[
        Seconds, Field(description="network time: waiting for a remote verifier beyond its own verify_s")
    ] = None
    enqueue_s: Annotated[
        Seconds, Field(description="time until the engine's call returned, before the device was synchronised")
    ] = None
    engine_s: Annotated[
        Seconds, Field(description="the engine's own time for this step; in addition to the runner's, never instead")
    ] = None
    bytes_read: Annotated[Count, Field(description="bytes that the engine says it moved for this step")] = None


FIGURES = tuple(one.name for one in fields(StepFigures))
"""Names of all figures, in order."""
