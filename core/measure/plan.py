"""The plan of an experiment: one pydantic model, whether it came from a TOML file or from flags."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from ... import defaults
from ..errors import UsageError
from ..host.registry import Registry
from ..host.validation import refusal
from ..records.workload import OneOrMore, PlanModel, Workload
from .streams.trace_file import digest_of_trace
from .sweeps.ranges import is_range, values_of_range
from .sweeps.workloads import NAMES

Interleave = Literal["samples", "rounds"]

_EXPERIMENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_NAME_RULE = "may have letters, digits, '.', '_' and '-', the first a letter or digit"


def check_experiment_name(name: str) -> None:
    """Refuse a name that cannot stand in a path.

    Raises:
        UsageError: it is such a one.
    """
    if not re.fullmatch(_EXPERIMENT_NAME, name):
        raise UsageError(
            f"experiment name {name!r} {_NAME_RULE}",
            code="bad-value",
        )


class Case(PlanModel):
    """What holds of some points of a part of the matrix."""

    model_config = ConfigDict(populate_by_name=True)

    condition: dict[str, JsonValue] = Field(alias="if", description="a value, or a list of values, by axis")
    set: dict[str, JsonValue] = Field(description="values there, by axis; a list is swept")


class CellSpec(PlanModel):
    """A part of the matrix: every list in it is a dimension."""

    backend: str = Field(description="backend name")
    model: OneOrMore | None = Field(None, description="models of this part, instead of the workload's")
    quantisation: OneOrMore | None = Field(None, description="weight formats in the backend's words; None: its first")
    device: OneOrMore = Field(["cpu"], description="devices")
    options: dict[str, JsonValue] = Field(
        {}, description="backend options; a list is swept, and so is a range such as { from = 4, to = 256, factor = 2 }"
    )
    workload: dict[str, JsonValue] = Field(
        {},
        description="axes of the workload whose values in this part are others than the plan's, such as depth, "
        "concurrency or template.enable_thinking",
    )
    zip: list[list[str]] = Field([], description="groups of axes that advance together instead of being crossed")
    when: list[Case] = Field([], description="values of some points alone: overrides and conditional axes")
    exclude: list[dict[str, JsonValue]] = Field([], description="conditions of points that are left out")
    include: list[dict[str, JsonValue]] = Field(
        [], description="further points by their values; axes that they do not name are at their first one"
    )


_NOT_OF_RUNS = {"name", "seed", "rounds", "address", "allow_code_execution", "workload", "axes", "cells"}


class Plan(PlanModel):
    """One experiment: a matrix of cells, each run ``rounds`` times."""

    name: str | None = Field(None, description="name of the experiment")
    seed: int = Field(defaults.SEED, ge=0, description="chooses prompts, order of rounds and sampling")
    rounds: int = Field(defaults.ROUNDS, ge=1, description="executions of every cell, each in a fresh process")
    until: Literal["verdict"] | None = Field(None, description="add rounds until each comparison has a verdict")
    until_ci: float | None = Field(
        None, gt=0, lt=1, description="add rounds until no ratio's interval is wider than this to each side, e.g. 0.02"
    )
    max_rounds: int = Field(
        defaults.MAX_ROUNDS, ge=3, description="rounds at most, where they are added until a question is answered"
    )
    timeout_s: float = Field(defaults.TIMEOUT_S, gt=0, description="a round that takes longer is stopped")
    memory_limit_bytes: int | None = Field(None, ge=2**20, description="address-space limit of each worker")
    anonymise: bool = Field(False, description="record hashes instead of host and user names")
    interleave: Interleave | None = Field(
        None, description="what takes turns: samples or rounds; None: samples where all cells fit into memory together"
    )
    launcher: str = Field(defaults.LAUNCHER, description="what runs the workers, and where")
    address: str | None = Field(
        None, description="of the cluster that the launcher uses; None: its own settings say it"
    )
    across_hosts: bool = Field(
        False, description="let cells of one round run on different hosts; their ratios are then between machines"
    )
    placement_timeout_s: float = Field(
        defaults.PLACEMENT_TIMEOUT_S, gt=0, description="a worker fails once no machine can take it for so long"
    )
    restart_server: bool = Field(
        False,
        description="restart servers for each round; otherwise one server answers consecutive rounds and "
        "differ in their load alone",
    )
    allow_code_execution: bool = Field(False, description="let tasks run code that a model wrote, in a sandbox")
    workload: Workload = Field(default_factory=lambda: Workload(), description="what every cell has to do")
    axes: dict[str, tuple[int, ...]] = Field(
        {}, description="settings of the workload that have several values, each of which makes cells"
    )
    cells: list[CellSpec] = Field(min_length=1, description="the matrix")

    @property
    def looks(self) -> bool:
        """Whether the comparison is looked at after each round, to see whether one more is needed."""
        return self.until is not None or self.until_ci is not None

    @property
    def most_rounds(self) -> int:
        """Rounds of each cell, at most."""
        return self.max_rounds if self.looks else self.rounds

    @property
    def run_settings(self) -> dict[str, JsonValue]:
        """How rounds are run where that is not by default, as JSON: another plan with them gives the same figures.

        Neither the address of a cluster, which is a machine's own, nor leave to run code is among it.
        """
        return self.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_OF_RUNS)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(_EXPERIMENT_NAME, name):
            raise ValueError(f"{name!r} {_NAME_RULE}")
        return name

    @model_validator(mode="after")
    def _check(self) -> Plan:
        if self.until is not None and self.until_ci is not None:
            raise ValueError("until and until_ci exclude each other: give one of them")
        if self.looks and "rounds" in self.model_fields_set:
            raise ValueError(
                "rounds cannot be combined with until or until_ci, which add rounds: give max_rounds instead"
            )
        if self.address is not None and self.launcher == defaults.LAUNCHER:
            raise ValueError("address needs a launcher, such as ray")
        if self.across_hosts and self.interleave == "samples":
            raise ValueError("cells on different hosts cannot take turns by sample: interleave by rounds")
        if self.across_hosts and self.looks:
            raise ValueError(
                "across_hosts measures many rounds at once, until and until_ci look after each: give rounds"
            )
        if not self.looks and self.max_rounds != defaults.MAX_ROUNDS:
            raise ValueError("max_rounds needs until or until_ci; for a fixed number give rounds")
        return self


def load_toml(file: Path) -> dict[str, Any]:
    """Read a plan file into a dictionary that ``build`` takes.

    Raises:
        UsageError: the file cannot be read or is not TOML; names file and line.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read plan {file}: {error.strerror}", code="file-unreadable") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text (byte {error.start})", code="file-unreadable") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{file}: {error}", code="file-unreadable") from error


def build(content: Mapping[str, Any], source: str) -> Plan:
    """Validate a plan.

    Args:
        content: as a TOML file holds it.
        source: file name or ``"command line"``, for messages.

    Raises:
        UsageError: an unknown key or an impossible value; names source, key, value and the nearest valid key.
    """
    try:
        return Plan.model_validate(_with_axes(content))
    except ValidationError as error:
        raise refusal(error, source, Plan) from error


def with_trace_hash(plan: Plan) -> Plan:
    """Return the plan with the hash of its trace's content, by which its cells are known.

    Raises:
        UsageError: the trace cannot be read.
    """
    if plan.workload.trace is None:
        return plan
    known = {"trace_hash": digest_of_trace(Path(plan.workload.trace))}
    return plan.model_copy(update={"workload": plan.workload.model_copy(update=known)})


def _with_axes(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write ranges out, and move lists of lengths out of the workload, which has the first of each.

    A list of one is that one.
    """
    workload = content.get("workload")
    if not isinstance(workload, Mapping):
        return content
    ranges = {name: values_of_range(name, value) for name in NAMES if is_range(value := workload.get(name))}
    workload = {**workload, **ranges}
    lists = {
        name: list(values)
        for name, setting in Workload.settings().items()
        if setting.is_axis and isinstance(values := workload.get(name), (list, tuple)) and values
    }
    axes = {name: values for name, values in lists.items() if len(values) > 1}
    firsts = {name: values[0] for name, values in lists.items()}
    return {**content, "workload": {**workload, **firsts}, **({"axes": axes} if axes else {})}


def with_task_settings(plan: Plan, registry: Registry) -> Plan:
    """Return the plan with its task's stop strings and token limit in place of those that nobody set.

    They count as set from then on: in the cells' identity and in the records they are like any that a user gave.

    Raises:
        UsageError: an unknown task, one that runs code which the plan does not allow, or one that cannot be scored
            on this machine.
    """
    if plan.workload.task is None:
        return plan
    task = registry.task(plan.workload.task)
    if task.executes_code and not plan.allow_code_execution:
        raise UsageError(
            f"task {task.name!r} runs code that the model wrote, in a sandbox without network: allow it with "
            "--allow-code-execution, or allow_code_execution = true in the plan",
            code="code-execution",
        )
    task.check()
    given = plan.workload.model_fields_set
    own: dict[str, Any] = {}
    if "stop" not in given and task.stop and not plan.workload.chat:
        own["stop"] = task.stop
    if "max_new_tokens" not in given and task.max_new_tokens is not None:
        own["max_new_tokens"] = task.max_new_tokens
    return plan.model_copy(update={"workload": plan.workload.model_copy(update=own)})


def scores_choices(plan: Plan, registry: Registry) -> bool:
    """Whether the plan's task gives choices to score instead of prompts to continue."""
    if plan.workload.task is None:
        return False
    first = next(registry.task(plan.workload.task).samples(1, plan.seed), None)
    return first is not None and bool(first.choices)
