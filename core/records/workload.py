"""What every cell of an experiment has to do."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from ... import defaults


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else [value]


LATER: dict[str, JsonValue] = {"is_later": True}
"""``json_schema_extra`` of a setting, or of a backend's option, that came after cells had been stored without it.

At its default it adds nothing to their identity."""

OneOrMore = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


class PlanModel(BaseModel):
    """Base of the plan's parts: closed, so that a misspelt key is refused instead of ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Workload(PlanModel):
    """What every cell has to do: a task's problems, or prompts of a fixed length."""

    model: OneOrMore | None = Field(None, description="named models, paths or Hub ids")
    task: str | None = Field(None, description="task that gives prompts and scores answers")
    samples: int = Field(defaults.SAMPLES, ge=1, description="measured problems per round")
    warmup: int = Field(defaults.WARMUP, ge=0, description="warm-up samples per round, recorded but marked")
    max_new_tokens: int = Field(defaults.MAX_NEW_TOKENS, ge=1, description="token limit per sample")
    prompt_tokens: int | None = Field(None, ge=1, description="fixed prompt length in tokens, instead of a task")
    output_tokens: int | None = Field(None, ge=1, description="fixed output length in tokens")
    depth: int = Field(0, ge=0, description="context tokens before each fixed-length prompt")
    ignore_eos: bool = Field(False, description="go on past the end token")
    chat: bool = Field(False, description="apply the model's chat template")
    system: str | None = Field(
        None, min_length=1, description="system message before each chat", json_schema_extra=LATER
    )
    template_args: dict[str, JsonValue] = Field(
        {}, description="arguments of the chat template, such as enable_thinking; a list is swept"
    )
    allow_clipped: bool = Field(
        False,
        description="generate fewer tokens where the context leaves no room for more",
        json_schema_extra=LATER,
    )
    stop: tuple[str, ...] = Field((), description="stop strings")
    attempts: int = Field(
        1, ge=1, description="answers to each problem, for pass@k; needs a temperature above 0", json_schema_extra=LATER
    )
    batch_size: int = Field(defaults.BATCH_SIZE, ge=1, description="rows generated together")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus mass")
    top_k: int = Field(0, ge=0, description="keep the k most likely ids; 0 keeps all")

    @property
    def is_fixed_length(self) -> bool:
        """Whether prompts are random ids of a fixed length."""
        return self.prompt_tokens is not None

    @property
    def measured(self) -> int:
        """Samples that are asked for: every attempt at every problem."""
        return self.samples * self.attempts

    @property
    def token_limit(self) -> int:
        """Token limit of each sample."""
        return self.output_tokens or self.max_new_tokens

    @model_validator(mode="after")
    def _check(self) -> Workload:
        if self.is_fixed_length and (self.task or self.chat or self.stop):
            raise ValueError("prompt_tokens makes random prompts: it cannot go with task, chat or stop")
        if not self.is_fixed_length and (self.output_tokens or self.depth):
            raise ValueError("output_tokens and depth belong to fixed-length prompts: give prompt_tokens too")
        if not self.chat and (self.system is not None or self.template_args):
            given = "system" if self.system is not None else "template_args"
            raise ValueError(f"{given} belongs to a chat template: set chat too")
        if self.attempts > 1 and self.is_fixed_length:
            raise ValueError("attempts are answers to a task's problem: they cannot go with prompt_tokens")
        if self.attempts > 1 and self.temperature == 0:
            raise ValueError(
                f"attempts = {self.attempts} at temperature 0 would give the same answer {self.attempts} times: "
                "set a temperature above 0"
            )
        if any(not text for text in self.stop):
            raise ValueError("a stop string must not be empty")
        return self
