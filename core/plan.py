"""The plan of an experiment: one pydantic model, whether it came from a TOML file or from flags."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from .. import defaults
from .errors import UsageError

_EXPERIMENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def check_experiment_name(name: str) -> None:
    """Refuse a name that cannot stand in a path.

    Raises:
        UsageError: it is such a one.
    """
    if not re.fullmatch(_EXPERIMENT_NAME, name):
        raise UsageError(
            f"experiment name {name!r} may have letters, digits, '.', '_' and '-', the first a letter or digit"
        )


def _as_list(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else [value]


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
    stop: tuple[str, ...] = Field((), description="stop strings")
    attempts: int = Field(1, ge=1, description="answers to each problem, for pass@k; needs a temperature above 0")
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


class CellSpec(PlanModel):
    """A part of the matrix: every list in it is a dimension."""

    backend: str = Field(description="backend name")
    model: OneOrMore | None = Field(None, description="models of this part, instead of the workload's")
    quantisation: OneOrMore | None = Field(None, description="weight formats in the backend's words; None: its first")
    device: OneOrMore = Field(["cpu"], description="devices")
    options: dict[str, JsonValue] = Field({}, description="backend options; a list is swept")


class Plan(PlanModel):
    """One experiment: a matrix of cells, each run ``rounds`` times."""

    name: str | None = Field(None, pattern=_EXPERIMENT_NAME, description="name of the experiment")
    seed: int = Field(defaults.SEED, ge=0, description="chooses prompts, order of rounds and sampling")
    rounds: int = Field(defaults.ROUNDS, ge=1, description="executions of every cell, each in a fresh process")
    timeout_s: float = Field(defaults.TIMEOUT_S, gt=0, description="a round that takes longer is stopped")
    memory_limit_bytes: int | None = Field(None, ge=2**20, description="address-space limit of each worker")
    anonymise: bool = Field(False, description="record hashes instead of host and user names")
    allow_code_execution: bool = Field(False, description="let tasks run code that a model wrote, in a sandbox")
    workload: Workload = Field(default_factory=lambda: Workload(), description="what every cell has to do")
    cells: list[CellSpec] = Field(min_length=1, description="the matrix")


def load_toml(file: Path) -> dict[str, Any]:
    """Read a plan file into a dictionary that ``build`` takes.

    Raises:
        UsageError: the file cannot be read or is not TOML; names file and line.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read plan {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: {error}") from error


def build(content: Mapping[str, Any], source: str) -> Plan:
    """Validate a plan.

    Args:
        content: as a TOML file holds it.
        source: file name or ``"command line"``, for messages.

    Raises:
        UsageError: an unknown key or an impossible value; names source, key, value and the nearest valid key.
    """
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise UsageError(describe(error, source, Plan)) from error


def describe(error: ValidationError, source: str, model: type[BaseModel]) -> str:
    """Word the first two problems of a validation error for people, one line each."""
    return "\n".join(f"{source}: {_problem(dict(entry), model)}" for entry in error.errors()[:2])


def _problem(entry: Mapping[str, Any], model: type[BaseModel]) -> str:
    path = entry["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if entry["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        near = get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {key!r}; {hint}known: {', '.join(known)}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    if entry["type"] in ("missing", "value_error") or not key:
        return f"{key}: {message}" if key else message
    return f"{key} = {entry['input']!r}: {message[0].lower()}{message[1:]}"


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the field names of the model that ``path`` leads to."""
    current = model
    parts: dict[str, type[BaseModel]] = {"workload": Workload, "cells": CellSpec}
    for part in path:
        current = parts.get(str(part), current)
    return sorted(current.model_fields)
