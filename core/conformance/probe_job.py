"""What the kit asks of a process that looks at a backend from within."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from ..host.packed_models import ModelJob
from ..measure.job import Job

Generating = Literal["greedy", "limits", "stops", "steps", "sample", "batch", "cancel", "stream"]
"""Questions to a loaded model; one process answers several of them, one after the other."""

Question = Literal["declarations", "options", "memory", "refusals", "residence"]
"""Questions that each take a process of their own."""

GENERATING: tuple[Generating, ...] = get_args(Generating)


class ProbeJob(Job):
    """A job for ``probe_process``; ``action`` is not read."""

    question: Question | None = Field(None, description="None: those of ``generating``")
    generating: tuple[Generating, ...] = Field((), description="asked in this order of one loaded model")
    damaged: ModelJob | None = Field(None, description="refusals: the model with its weight files cut short")
