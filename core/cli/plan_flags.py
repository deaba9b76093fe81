"""From flags to a plan: the same dictionary that a TOML plan gives, so that one model validates both."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..contract.backend import Backend
from ..errors import UsageError, unknown_name
from ..host.registry import Registry
from ..measure.plan import load_toml
from .settings import is_given, is_set

WORKLOAD_FLAGS = (
    "task",
    "samples",
    "warmup",
    "max_new_tokens",
    "prompt_tokens",
    "output_tokens",
    "depth",
    "ignore_eos",
    "chat",
    "stop",
    "attempts",
    "batch_size",
    "temperature",
    "top_p",
    "top_k",
)
_VALUE = re.compile(r"(?:\[[^]]*\]|[^,])+")  # values stand between commas; those within brackets belong to a list
PLAN_FLAGS = {
    "name": "name",
    "seed": "seed",
    "rounds": "rounds",
    "timeout": "timeout_s",
    "anonymise": "anonymise",
    "allow_code_execution": "allow_code_execution",
}


@dataclass(slots=True)
class MatrixFlags:
    """The flags that span the matrix.

    Attributes:
        backends, models, quantisations, devices: as given; quantisations apply where a backend offers them.
        settings: ``[BACKEND.]OPTION=V1,V2`` texts.
        left_out: filled with what did not apply, for people.
    """

    backends: Sequence[str]
    models: Sequence[str]
    quantisations: Sequence[str]
    devices: Sequence[str]
    settings: Sequence[str]
    left_out: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether no flag of the matrix was given."""
        return not (self.backends or self.quantisations or self.devices or self.settings)


def plan_content(ctx: click.Context, plan_file: Path | None, flags: MatrixFlags, registry: Registry) -> dict[str, Any]:
    """Merge a plan file and flags into the content of a plan.

    A flag that was given beats the plan; the plan beats environment variables and the config file.

    Raises:
        UsageError: neither a plan nor a backend was given, both were, or a name is unknown.
    """
    content: dict[str, Any] = load_toml(plan_file) if plan_file else {}
    if plan_file is not None and not flags.is_empty:
        raise UsageError("give either a PLAN or -b, -q, -d and --set, not both: a plan spans its own matrix")
    merge_flags(ctx, content, flags.models, str(plan_file))
    if plan_file is None:
        content["cells"] = cell_specs(flags, registry)
        _choose_task(content["workload"], registry, flags.left_out)
    return content


def _choose_task(workload: dict[str, Any], registry: Registry, notes: list[str]) -> None:
    """Where no workload is named, take the task that the first model declares for itself, and say so."""
    source = registry.models.get(next(iter(workload.get("model", ())), ""))
    if source is not None and source.task and "task" not in workload and "prompt_tokens" not in workload:
        workload["task"] = source.task
        notes.append(f"no workload is named: {source.name} comes with the task {source.task}")


def merge_flags(ctx: click.Context, content: dict[str, Any], models: Sequence[str], source: str) -> None:
    """Put the flags of the workload and of the run into the content of a plan; see ``plan_content``."""
    workload = content.setdefault("workload", {})
    if not isinstance(workload, dict):
        raise UsageError(f"{source}: workload = {workload!r}: must be a table")
    for key in WORKLOAD_FLAGS:
        _override(ctx, workload, key, key)
    for parameter, key in PLAN_FLAGS.items():
        _override(ctx, content, parameter, key)
    _override(ctx, content, "memory_limit", "memory_limit_bytes")
    if models:
        workload["model"] = list(models)


def _override(ctx: click.Context, target: dict[str, Any], parameter: str, key: str) -> None:
    value = ctx.params[parameter]
    if is_given(ctx, parameter) or (key not in target and is_set(ctx, parameter)):
        target[key] = list(value) if isinstance(value, tuple) else value


def cell_specs(flags: MatrixFlags, registry: Registry) -> list[dict[str, Any]]:
    """Build one cell specification per backend.

    ``-q`` and ``--set`` apply to every backend that has the quantisation or option; what did not apply is noted.

    Raises:
        UsageError: no backend, or a quantisation or option that none of them has (with the nearest name).
    """
    if not flags.backends:
        raise UsageError("nothing to measure: give a PLAN.toml, or -b BACKEND -m MODEL (see `decodebench backends`)")
    chosen = {name: registry.backend(name) for name in dict.fromkeys(flags.backends)}
    options = set_options(flags, chosen)
    specs: list[dict[str, Any]] = []
    for name, backend in chosen.items():
        spec: dict[str, Any] = {"backend": name, "options": options[name]}
        if flags.quantisations:
            spec["quantisation"] = _quantisations(flags, backend, chosen)
            if not spec["quantisation"]:
                continue
        if flags.devices:
            spec["device"] = list(flags.devices)
        specs.append(spec)
    return specs


def _quantisations(flags: MatrixFlags, backend: type[Backend], chosen: Mapping[str, type[Backend]]) -> list[str]:
    everywhere = {q.name for other in chosen.values() for q in other.quantisations()}
    offered = {q.name for q in backend.quantisations()}
    for name in flags.quantisations:
        if name not in everywhere:
            raise unknown_name("quantisation", name, everywhere)
        if name not in offered:
            flags.left_out.append(f"backend {backend.name!r} has no quantisation {name!r}: left out")
    return [name for name in flags.quantisations if name in offered]


def set_options(flags: MatrixFlags, chosen: Mapping[str, type[Backend]]) -> dict[str, dict[str, Any]]:
    """Return what ``--set`` gives each of the chosen backends; what one of them does not have is noted.

    Raises:
        UsageError: a malformed text, or an option that none of them has (with the nearest name).
    """
    options: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for text in flags.settings:
        left, equals, right = text.partition("=")
        if not equals or not left or not right:
            raise UsageError(f"--set {text!r}: write [BACKEND.]OPTION=VALUE or [BACKEND.]OPTION=V1,V2")
        backend, _, option = left.rpartition(".")
        if backend and backend not in chosen:
            raise unknown_name("backend in --set", backend, chosen)
        targets = [backend] if backend else list(chosen)
        having = [name for name in targets if option in chosen[name].Options.model_fields]
        if not having:
            known = {key for name in targets for key in chosen[name].Options.model_fields}
            raise unknown_name(f"option of {', '.join(targets)}", option, known)
        values = [_value(value) for value in _VALUE.findall(right)]
        is_swept = len(values) > 1 or isinstance(values[0], list)
        for name in targets:
            if name in having:
                options[name][option] = values if is_swept else values[0]
            else:
                flags.left_out.append(f"backend {name!r} has no option {option!r}: left out")
    return options


def _value(text: str) -> Any:  # noqa: ANN401 - any TOML scalar
    """Read a value as TOML would; a bare word is a string."""
    if text == "null":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
