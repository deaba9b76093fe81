"""What the kit asks of a process that looks at a backend from within."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..job import Job, ModelJob

Question = Literal[
    "declarations", "load", "options", "limits", "stops", "steps", "cancel", "sample", "batch", "memory", "refusals"
]


class ProbeJob(Job):
    """A job for ``probe_process``; ``action`` is not read."""

    question: Question
    damaged: ModelJob | None = Field(None, description="refusals: the model with its weight files cut short")
