"""What the kit asks of a process that looks at a backend from within."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, TypeAdapter

from ..host.packed_models import ModelJob
from ..measure.job import Job, LoadedJob, PromptJob

Generating = Literal["greedy", "limits", "stops", "steps", "sample", "batch", "cancel", "stream", "depth"]
"""Questions to a loaded model; one process answers several of them, one after the other."""

Question = Literal["options", "memory", "refusals", "residence"]
"""Questions that each take a process of their own."""

GENERATING: tuple[Generating, ...] = get_args(Generating)


class DeclarationsJob(Job):
    """Import the plugin and probe the backend."""

    action: Literal["declarations"] = "declarations"


class ProbeJob(LoadedJob):
    """Look at a backend with its model."""

    prompts: tuple[PromptJob, ...]


class GeneratingJob(ProbeJob):
    """Answer questions to one loaded model, in this order."""

    action: Literal["generating"] = "generating"
    questions: tuple[Generating, ...]


class QuestionJob(ProbeJob):
    """Answer one question that takes a process."""

    action: Literal["question"] = "question"
    question: Question
    model: ModelJob
    damaged: ModelJob | None = Field(None, description="refusals: the model with its weight files cut short")


AnyProbe = DeclarationsJob | GeneratingJob | QuestionJob

_PROBES: TypeAdapter[AnyProbe] = TypeAdapter(Annotated[AnyProbe, Field(discriminator="action")])


def read_probe(line: str) -> AnyProbe:
    """Return the job that a line holds; its ``action`` says which."""
    return _PROBES.validate_json(line)
