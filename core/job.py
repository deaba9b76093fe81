"""What the parent tells a worker: one JSON line on its standard input. Both sides share these models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from .backend import PreparedModel, ResolvedModel
from .schema import Record, Sampling


class ModelJob(Record):
    """A ``ResolvedModel`` on its way to another process."""

    name: str
    path: Path
    content_hash: str
    architecture: str | None
    companions: dict[str, ModelJob] = {}

    @classmethod
    def of(cls, model: ResolvedModel) -> ModelJob:
        """Pack a model."""
        companions = {name: cls.of(other) for name, other in model.companions.items()}
        return cls(
            name=model.name,
            path=model.path,
            content_hash=model.content_hash,
            architecture=model.architecture,
            companions=companions,
        )

    def unpack(self) -> ResolvedModel:
        """Return the model."""
        companions = {name: other.unpack() for name, other in self.companions.items()}
        return ResolvedModel(self.name, self.path, self.content_hash, self.architecture, companions)


class PreparedJob(Record):
    """A ``PreparedModel`` on its way to another process."""

    path: Path
    format: str
    weight_bytes: int | None
    bits_per_weight: float | None
    source: ModelJob
    quantisation: str
    companions: dict[str, PreparedJob] = {}
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: PreparedModel) -> PreparedJob:
        """Pack a prepared model."""
        return cls(
            path=model.path,
            format=model.format,
            weight_bytes=model.weight_bytes,
            bits_per_weight=model.bits_per_weight,
            source=ModelJob.of(model.source),
            quantisation=model.quantisation,
            companions={name: cls.of(other) for name, other in model.companions.items()},
            notes=model.notes,
        )

    def unpack(self) -> PreparedModel:
        """Return the prepared model."""
        companions: Mapping[str, PreparedModel] = {name: other.unpack() for name, other in self.companions.items()}
        return PreparedModel(
            path=self.path,
            format=self.format,
            weight_bytes=self.weight_bytes,
            bits_per_weight=self.bits_per_weight,
            source=self.source.unpack(),
            quantisation=self.quantisation,
            companions=companions,
            notes=self.notes,
        )


class PromptJob(Record):
    """One prompt: text, chat turns, or nothing where the workload asks for random ids."""

    sample_id: str
    is_warmup: bool
    text: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = Field((), description="texts to score behind the prompt, instead of generating")
    contexts: tuple[str, ...] = Field((), description="a prompt for each choice, where they differ")
    random_tokens: int | None = Field(None, ge=1, description="length of a random prompt, context included")
    random_seed: str = ""


class ContinuationJob(Record):
    """A prompt and what follows it: output ids to be scored, or a text to be encoded first."""

    prompt: PromptJob
    output_ids: tuple[int, ...] = ()
    text: str | None = Field(None, description="what follows the prompt, instead of ids; for `evaluate` only")


class ServeRequest(Record):
    """What a serving worker is asked, a line each; it answers with one value for each prompt."""

    kind: Literal["score", "rolling", "generate"] = Field(
        description="score: (log-probability, is greedy) of each continuation behind its prompt; rolling: "
        "log-probability of each whole text; generate: the text that follows each prompt, all in one batch"
    )
    prompts: tuple[str, ...]
    continuations: tuple[str, ...] = ()
    is_rendered: bool = Field(False, description="prompts have their special tokens already, as rendered chats")
    max_new_tokens: int = Field(1, ge=1)
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()


class Job(Record):
    """Everything a worker needs for one action."""

    action: Literal["prepare", "measure", "devices", "score", "evaluate", "serve"]
    plugin: str = Field(description="entry point to load")
    backend: str
    options: dict[str, JsonValue] = {}
    device: str = "cpu"
    quantisation: str = ""
    model: ModelJob | None = None
    prepared: PreparedJob | None = None
    cache_root: Path | None = None
    memory_limit_bytes: int | None = None
    # measure
    prompts: tuple[PromptJob, ...] = ()
    max_new_tokens: int = 1
    batch_size: int = 1
    ignore_eos: bool = False
    chat: bool = False
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
    # score the last id of each continuation, or evaluate all of them
    continuations: tuple[ContinuationJob, ...] = ()
    top_k: int = 0
    whole_vocabulary_up_to: int = Field(0, description="evaluate: a vocabulary of so many ids is given whole")
