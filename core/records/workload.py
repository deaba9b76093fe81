"""What every cell of an experiment has to do: a field for each setting, and what is derived from it.

The field gives type, limits, default and description, its ``Setting`` what else there is to say of it. Plan keys,
flags of commands and settings of the Python API, the worker's job, the record, a cell's identity, the conditions of
comparisons and the plan that measures an experiment again all come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from ... import defaults
from .schema import Sampling


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else [value]


LATER: dict[str, JsonValue] = {"is_later": True}
"""``json_schema_extra`` of a backend's option that came after cells had been stored without it.

At its default it adds nothing to their identity."""

OneOrMore = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Setting:
    """What there is to say of a setting of the workload beside its field; a plain field has all of these defaults.

    Attributes:
        flag: long flag of commands that measure; empty: the field's name with dashes; None: no flag.
        metavar: what the flag's help calls its value.
        is_identity: whether two values make two cells; the model is a dimension of its own.
        is_condition: whether a comparison warns of cells that differ in it.
        is_for_generation: whether it has no effect where choices are scored, so that nothing is generated.
        since: version of the record's schema with which it came. One that came later than 1 adds nothing to a cell's
            identity at its default, so that stored cells keep theirs; a record without it ran at its default.
    """

    flag: str | None = ""
    metavar: str | None = None
    is_identity: bool = True
    is_condition: bool = True
    is_for_generation: bool = False
    since: int = 2


_FIRST = Setting(since=1)
_GENERATION = Setting(is_for_generation=True, since=1)
_OF_PROMPTS = Setting(is_condition=False, since=1)  # comparisons look at the prompts and limits themselves


class PlanModel(BaseModel):
    """Base of the plan's parts: closed, so that a misspelt key is refused instead of ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Workload(PlanModel):
    """What every cell has to do: a task's problems, or prompts of a fixed length."""

    model: Annotated[OneOrMore | None, Setting(flag=None, is_identity=False, is_condition=False, since=1)] = Field(
        None, description="named models, paths or Hub ids"
    )
    task: Annotated[str | None, Setting(metavar="NAME", since=1)] = Field(
        None, description="task that gives prompts and scores answers"
    )
    max_new_tokens: Annotated[int, _GENERATION] = Field(
        defaults.MAX_NEW_TOKENS, ge=1, description="token limit per sample; not given, the task's own where it has one"
    )
    prompt_tokens: Annotated[int | None, _OF_PROMPTS] = Field(
        None, ge=1, description="random prompts of so many tokens, instead of a task"
    )
    output_tokens: Annotated[int | None, _OF_PROMPTS] = Field(
        None, ge=1, description="token limit of fixed-length workloads"
    )
    depth: Annotated[int, _FIRST] = Field(0, ge=0, description="context tokens before each fixed-length prompt")
    batch_size: Annotated[int, _GENERATION] = Field(defaults.BATCH_SIZE, ge=1, description="rows generated together")
    ignore_eos: Annotated[bool, _GENERATION] = Field(False, description="go on past the end token")
    stop: Annotated[tuple[str, ...], _GENERATION] = Field((), description="stop strings, instead of the task's own")
    chat: Annotated[bool, _FIRST] = Field(False, description="apply the model's chat template")
    system: str | None = Field(None, min_length=1, description="system message before each chat")
    template_args: Annotated[
        dict[str, JsonValue], Setting(flag="--template-arg", metavar="NAME=V1,V2", is_condition=False)
    ] = Field({}, description="arguments of the chat template, such as enable_thinking; a list is swept")
    allow_clipped: Annotated[bool, Setting(is_condition=False)] = Field(
        False, description="generate fewer tokens where the context leaves no room for more"
    )
    temperature: Annotated[float, _GENERATION] = Field(0.0, ge=0, description="0 is greedy")
    top_p: Annotated[float, _GENERATION] = Field(1.0, gt=0, le=1, description="nucleus mass")
    top_k: Annotated[int, _GENERATION] = Field(0, ge=0, description="keep the k most likely ids; 0 keeps all")
    attempts: Annotated[int, Setting(is_for_generation=True)] = Field(
        1, ge=1, description="answers to each problem, for pass@k; needs a temperature above 0"
    )
    samples: Annotated[int, _FIRST] = Field(defaults.SAMPLES, ge=1, description="measured problems per round")
    warmup: Annotated[int, _FIRST] = Field(
        defaults.WARMUP, ge=0, description="warm-up samples per round, recorded but marked"
    )

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """Return every setting by name."""
        return {
            name: next((one for one in field.metadata if isinstance(one, Setting)), Setting())
            for name, field in cls.model_fields.items()
        }

    @classmethod
    def defaults(cls) -> dict[str, JsonValue]:
        """Return the default of every setting as JSON has it."""
        content: dict[str, JsonValue] = cls().model_dump(mode="json")
        return content

    def identity(self) -> dict[str, JsonValue]:
        """Return as JSON what two cells must agree in to be the same."""
        content = self.model_dump(mode="json")
        changed = self.model_dump(mode="json", exclude_defaults=True)
        return {
            name: content[name]
            for name, setting in self.settings().items()
            if setting.is_identity and (setting.since == 1 or name in changed)
        }

    def recorded(self) -> dict[str, JsonValue]:
        """Return as JSON what the record of a run has of it: all but the models, of which the run has its own."""
        content: dict[str, JsonValue] = self.model_dump(mode="json", exclude={"model"})
        return content

    def sampling(self, seed: int) -> Sampling:
        """Return how tokens are drawn."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, seed=seed)

    @property
    def idle_in_scoring(self) -> dict[str, Any]:
        """The settings that are not at their default and have no effect where choices are scored, with their values."""
        return {
            name: value
            for name, setting in self.settings().items()
            if setting.is_for_generation and (value := getattr(self, name)) != type(self).model_fields[name].default
        }

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
