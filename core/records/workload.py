"""What every cell of an experiment has to do: a field for each setting, and what is derived from it.

The field gives type, limits, default and description, its ``Setting`` what else there is to say of it. Plan keys,
flags of commands and settings of the Python API, the worker's job, the record, a cell's identity, the conditions of
comparisons and the plan that measures an experiment again all come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from ... import defaults
from .lengths import Lengths
from .record import refuse_truth_values
from .schema import Sampling
from .service_level import parse_service_level


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _as_values(value: object) -> object:
    """Take ``1,2,4`` apart; one value is a list of one, None is empty."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [] if value is None else _as_list(value)


def _as_lengths(text: str) -> str:
    """Refuse what is no distribution of lengths."""
    Lengths.parse(text)
    return text


LATER: dict[str, JsonValue] = {"is_later": True}
"""``json_schema_extra`` of a backend's option that came after cells had been stored without it.

At its default it adds nothing to their identity."""

OneOrMore = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_as_values)]
Rates = Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], BeforeValidator(_as_values)]
Limits = Annotated[dict[str, float], BeforeValidator(parse_service_level)]
Distribution = Annotated[str, AfterValidator(_as_lengths)]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a workload setting has besides its field; a plain field has all of these defaults.

    Attributes:
        flag: long flag of commands that measure; empty: the field's name with dashes; None: no flag.
        metavar: placeholder of its value in the help.
        is_text: whether its flag takes one text that the field's validator parses, although the type differs.
        is_swept: whether its values become one cell each.
        is_axis: whether a plan may give several values, one per cell; a workload has one.
        is_identity: whether two values make two cells; the model is a dimension of its own.
        is_condition: whether a comparison warns if cells differ in it.
        is_for_generation: whether it has no effect where choices are scored, so that nothing is generated.
        section: heading of the help under which its flag is listed.
        since: version of the record's schema with which it came. One that came later than 1 adds nothing to a cell's
            identity at its default, so that stored cells keep theirs; a record without it ran at its default.
    """

    flag: str | None = ""
    metavar: str | None = None
    is_text: bool = False
    is_swept: bool = False
    is_axis: bool = False
    is_identity: bool = True
    is_condition: bool = True
    is_for_generation: bool = False
    section: str = "Workload"
    since: int = 2


_LOAD_SECTION, _CHAT_SECTION = "Requests under load", "Chat"

_FIRST = Setting(since=1)
_GENERATION = Setting(is_for_generation=True, since=1)
_SAMPLING = Setting(is_for_generation=True, section="Sampling", since=1)
_CHAT = Setting(section=_CHAT_SECTION)
_OF_PROMPTS = Setting(
    is_axis=True, metavar="N1,N2", is_condition=False, since=1
)  # comparisons look at the prompts and limits themselves
_LOAD = Setting(
    is_text=True, is_swept=True, metavar="N1,N2", is_condition=False, is_for_generation=True, section=_LOAD_SECTION
)
_LENGTHS = Setting(metavar="DISTRIBUTION", is_condition=False, section=_LOAD_SECTION)
_OF_LOAD = Setting(is_for_generation=True, section=_LOAD_SECTION)


class PlanModel(BaseModel):
    """Base of the plan's parts: closed, so that a misspelt key is refused instead of ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, content: object) -> object:
        refuse_truth_values(cls, content)
        return content


class Workload(PlanModel):
    """The work of every cell: a task's problems, or prompts of a fixed length."""

    model: Annotated[OneOrMore | None, Setting(flag=None, is_identity=False, is_condition=False, since=1)] = Field(
        None, description="named models, paths or Hub ids"
    )
    task: Annotated[str | None, Setting(metavar="NAME", since=1)] = Field(
        None, description="task that provides the prompts and scores the answers"
    )
    max_new_tokens: Annotated[int, _GENERATION] = Field(
        defaults.MAX_NEW_TOKENS,
        ge=1,
        description="maximum new tokens per sample; a task's own limit replaces the default",
    )
    prompt_tokens: Annotated[int | None, _OF_PROMPTS] = Field(
        None, ge=1, description="random prompts of this many tokens, instead of a task"
    )
    output_tokens: Annotated[int | None, _OF_PROMPTS] = Field(
        None, ge=1, description="maximum new tokens per random prompt"
    )
    depth: Annotated[int, Setting(is_axis=True, metavar="N1,N2", since=1)] = Field(
        0, ge=0, description="context tokens before each random prompt, prefilled before the clock starts"
    )
    batch_size: Annotated[int, _GENERATION] = Field(defaults.BATCH_SIZE, ge=1, description="prompts generated together")
    prompt_lengths: Annotated[Distribution | None, _LENGTHS] = Field(
        None,
        description="lengths of random prompts in tokens: uniform:LOW:HIGH, normal:MEAN:SD or lognormal:MEDIAN:SIGMA",
    )
    output_lengths: Annotated[Distribution | None, _LENGTHS] = Field(
        None, description="maximum new tokens of each random prompt, drawn from a distribution in the same form"
    )
    concurrency: Annotated[Counts, _LOAD] = Field(
        (), description="requests in flight, instead of batches; several values give one cell each"
    )
    request_rate: Annotated[Rates, _LOAD] = Field(
        (), description="requests per second, open loop with Poisson arrivals; several values give one cell each"
    )
    trace: Annotated[
        str | None, Setting(metavar="FILE", is_identity=False, is_condition=False, section=_LOAD_SECTION)
    ] = Field(None, description="recorded traffic to replay: arrival times, prompt lengths and output lengths")
    trace_hash: Annotated[str | None, Setting(flag=None, is_for_generation=True)] = Field(
        None, description="hash of the trace's content"
    )
    turns: Annotated[int, _OF_LOAD] = Field(
        1, ge=1, description="requests per conversation; each prompt starts with the conversation so far"
    )
    unique_prefix: Annotated[bool, Setting(is_for_generation=True)] = Field(
        False, description="start every prompt with a prefix of its own, so that no prefix cache has a hit"
    )
    slo: Annotated[
        Limits,
        Setting(
            metavar="ttft=500ms,tpot=50ms",
            is_text=True,
            is_identity=False,
            is_condition=False,
            section=_LOAD_SECTION,
        ),
    ] = Field({}, description="service-level objectives that goodput counts by: limits on ttft, tpot and e2e")
    ignore_eos: Annotated[bool, _GENERATION] = Field(
        False, description="keep generating after the end-of-sequence token"
    )
    stop: Annotated[tuple[str, ...], _GENERATION] = Field((), description="stop string, instead of the task's own")
    chat: Annotated[bool, Setting(section=_CHAT_SECTION, since=1)] = Field(
        False, description="apply the model's chat template"
    )
    system: Annotated[str | None, _CHAT] = Field(None, min_length=1, description="system message of every chat")
    template_args: Annotated[
        dict[str, JsonValue],
        Setting(flag="--template-arg", metavar="NAME=V1,V2", is_condition=False, section=_CHAT_SECTION),
    ] = Field(
        {}, description="argument of the chat template, e.g. enable_thinking=false; several values give one cell each"
    )
    allow_clipped: Annotated[bool, Setting(is_condition=False)] = Field(
        False, description="generate fewer tokens instead of failing if the context window is too small"
    )
    temperature: Annotated[float, _SAMPLING] = Field(0.0, ge=0, description="sampling temperature; 0 is greedy")
    top_p: Annotated[float, _SAMPLING] = Field(1.0, gt=0, le=1, description="top-p (nucleus) sampling; 1 turns it off")
    top_k: Annotated[int, _SAMPLING] = Field(0, ge=0, description="top-k sampling; 0 turns it off")
    attempts: Annotated[int, Setting(is_for_generation=True)] = Field(
        1, ge=1, description="answers per problem, for pass@k; needs a temperature above 0"
    )
    samples: Annotated[int, _FIRST] = Field(defaults.SAMPLES, ge=1, description="measured prompts per round")
    warmup: Annotated[int, _FIRST] = Field(
        defaults.WARMUP, ge=0, description="warm-up samples per round; recorded, but not part of the results"
    )

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """Return every setting by name."""
        return _settings_of(cls)

    @classmethod
    @cache
    def swept(cls) -> tuple[str, ...]:
        """Return the names of the settings whose values are those of several cells."""
        return tuple(name for name, setting in cls.settings().items() if setting.is_swept)

    @classmethod
    def defaults(cls) -> dict[str, JsonValue]:
        """Return the default of every setting as JSON has it."""
        content: dict[str, JsonValue] = cls().model_dump(mode="json")
        return content

    def identity(self) -> dict[str, JsonValue]:
        """Return as JSON the settings that identify a cell."""
        content = self.model_dump(mode="json")
        changed = self.model_dump(mode="json", exclude_defaults=True)
        return {
            name: content[name]
            for name, setting in self.settings().items()
            if setting.is_identity and (setting.since == 1 or name in changed)
        }

    def recorded(self) -> dict[str, JsonValue]:
        """Return as JSON what a run records: everything but the models, which the run has itself."""
        content: dict[str, JsonValue] = self.model_dump(mode="json", exclude={"model"})
        return content

    def sampling(self, seed: int) -> Sampling:
        """Return how tokens are sampled."""
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
    def is_random(self) -> bool:
        """Whether prompts are random ids, with fixed, drawn or recorded lengths."""
        return any(one is not None for one in (self.prompt_tokens, self.prompt_lengths, self.trace))

    @property
    def is_stream(self) -> bool:
        """Whether requests arrive while others run, instead of batch by batch."""
        return bool(self.concurrency or self.request_rate or self.trace)

    @property
    def in_flight(self) -> int | None:
        """Requests in flight of a cell's workload; None: as many as the backend takes."""
        return self.concurrency[0] if self.concurrency else None

    @property
    def rate_per_s(self) -> float | None:
        """Requests per second of a cell's workload; None in a closed loop or for a trace."""
        return self.request_rate[0] if self.request_rate else None

    def loads(self) -> dict[str, JsonValue]:
        """Return the one value of each swept setting of a cell's workload that has one."""
        return {name: values[0] for name in self.swept() if (values := getattr(self, name))}

    @property
    def measured(self) -> int:
        """Requested samples: every attempt at every problem."""
        return self.samples * self.attempts

    @property
    def token_limit(self) -> int:
        """Token limit of each sample."""
        return self.output_tokens or self.max_new_tokens

    @model_validator(mode="after")
    def _check_load(self) -> Workload:
        sources = {"prompt_tokens": self.prompt_tokens, "prompt_lengths": self.prompt_lengths, "trace": self.trace}
        given = [name for name, value in sources.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each say how long random prompts are: give one of them")
        if self.output_lengths and (not given or self.trace or self.output_tokens):
            raise ValueError("output_lengths are those of random prompts: give prompt_tokens or prompt_lengths with it")
        if self.trace and (self.output_tokens or self.depth or self.turns > 1):
            raise ValueError("a trace has lengths of its own: output_tokens, depth and turns cannot go with it")
        if self.turns > 1 and not (self.is_stream and given):
            raise ValueError("turns need prompt_tokens and concurrency or request_rate")
        if self.is_stream and self.batch_size > 1:
            raise ValueError("batch_size cannot be combined with concurrency, request_rate or trace")
        if self.slo and not self.is_stream:
            raise ValueError("slo needs concurrency, request_rate or trace")
        return self

    @model_validator(mode="after")
    def _check(self) -> Workload:
        if self.is_random and (self.task or self.chat or self.stop):
            raise ValueError("prompt_tokens makes random prompts: it cannot be combined with task, chat or stop")
        if not self.is_random and (self.output_tokens or self.depth):
            raise ValueError("output_tokens and depth need prompt_tokens")
        if not self.chat and (self.system is not None or self.template_args):
            given = "system" if self.system is not None else "template_args"
            raise ValueError(f"{given} needs chat")
        if self.attempts > 1 and self.is_random:
            raise ValueError("attempts are answers to a task's problem: they cannot go with prompt_tokens")
        if self.attempts > 1 and self.temperature == 0:
            raise ValueError(
                f"attempts = {self.attempts} at temperature 0 would give the same answer {self.attempts} times: "
                "set a temperature above 0"
            )
        if any(not text for text in self.stop):
            raise ValueError("a stop string must not be empty")
        return self


@cache  # every cell of a plan asks
def _settings_of(model: type[Workload]) -> dict[str, Setting]:
    return {
        name: next((one for one in field.metadata if isinstance(one, Setting)), Setting())
        for name, field in model.model_fields.items()
    }
