"""From settings to a plan: the same dictionary that a TOML plan gives, so that one model validates both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ..contract.backend import Backend
from ..errors import UsageError, unknown_name
from ..host.registry import Registry
from ..measure.models.formats import named_formats
from ..measure.plan import Plan, load_toml
from ..records.workload import Workload

PlanSource = Plan | Mapping[str, Any] | str | Path
"""A plan, its content as a TOML file holds it, or such a file."""

SPAN = ("backends", "quantisations", "devices", "options")
WORKLOAD = tuple(Workload.model_fields)
_TELLING = {"task", "prompt_tokens", "prompt_lengths", "trace"}  # where prompts come from
PLAN = tuple(name for name in Plan.model_fields if name not in ("workload", "cells"))


@dataclass(slots=True)
class Span:
    """What spans the matrix, the models apart.

    Attributes:
        backends, quantisations, devices: names; quantisations apply where a backend offers them.
        options: value, or list of values to sweep, by ``option`` or ``backend.option``.
        left_out: filled with what did not apply, for people.
    """

    backends: Sequence[str] = ()
    quantisations: Sequence[str] = ()
    devices: Sequence[str] = ()
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Span:
        """Take what of settings spans the matrix; one name may stand for a list of one."""
        backends, quantisations, devices = (_listed(settings.get(name) or ()) for name in SPAN[:3])
        return cls(backends, quantisations, devices, settings.get("options") or {})

    def cells(self, registry: Registry) -> list[dict[str, Any]]:
        """Build one cell specification per backend.

        Quantisations and options apply to every backend that has them; what did not apply is noted.

        Raises:
            UsageError: no backend, or a quantisation or option that none of them has (with the nearest name).
        """
        if not self.backends:
            raise UsageError(
                "nothing to measure: give a PLAN.toml, or -b BACKEND -m MODEL (see `decodebench backends`); in Python "
                "a plan, or backends and a model",
                code="nothing-to-measure",
            )
        chosen = {name: registry.backend(name) for name in dict.fromkeys(self.backends)}
        options = set_options(self.options, chosen, self.left_out)
        specs: list[dict[str, Any]] = []
        for name, backend in chosen.items():
            spec: dict[str, Any] = {"backend": name, "options": options[name]}
            if self.quantisations:
                spec["quantisation"] = self._quantisations(backend, chosen)
                if spec["quantisation"] == []:
                    continue
            if self.devices:
                spec["device"] = list(self.devices)
            specs.append(spec)
        return specs

    def _quantisations(self, backend: type[Backend], chosen: Mapping[str, type[Backend]]) -> list[str] | None:
        """Return what was asked for this backend alone (``BACKEND:FORMAT``), else what was asked for all and it has.

        None: what was asked for concerns other backends alone.
        """
        asked = [_owned(text) for text in self.quantisations]
        everywhere = {name for other in chosen.values() for name in named_formats(other)}
        offered = named_formats(backend)
        for owner, name in asked:
            if owner is not None and owner not in chosen:
                raise unknown_name("backend in -q", owner, chosen)
            if owner is None and name not in everywhere:
                raise unknown_name("quantisation", name, everywhere)
        if own := [name for owner, name in asked if owner == backend.name]:
            return own
        of_all = [name for owner, name in asked if owner is None]
        missing = (name for name in of_all if name not in offered)
        self.left_out += (f"backend {backend.name!r} has no quantisation {name!r}: left out" for name in missing)
        return [name for name in of_all if name in offered] if of_all else None


def _owned(text: str) -> tuple[str | None, str]:
    """Split ``BACKEND:FORMAT``; without a backend the format is for all."""
    owner, colon, name = text.partition(":")
    return (owner, name) if colon else (None, text)


def plan_content(
    plan: PlanSource | None, settings: Mapping[str, Any], registry: Registry, fallbacks: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Merge a plan and settings; return the content of a plan, and notes on what did not apply.

    Args:
        plan: see ``PlanSource``; None where the settings span the matrix.
        settings: of the matrix (``SPAN``), the workload and the run; they beat the plan.
        registry: the plugins.
        fallbacks: settings that the plan beats.

    Raises:
        UsageError: neither a plan nor a backend was given, both were, or a name is unknown.
    """
    content = _content_of(plan)
    span = Span.of(settings)
    if plan is not None and any(settings.get(name) for name in SPAN):
        raise UsageError(
            "give either a PLAN or -b, -q, -d and --set (backends, quantisations, devices and options), not both: a "
            "plan spans its own matrix",
            code="conflicting-flags",
        )
    merge_settings(content, settings, fallbacks or {}, source_of(plan))
    if plan is None:
        content["cells"] = span.cells(registry)
        _choose_task(content["workload"], registry, span.left_out)
    return content, span.left_out


def source_of(plan: PlanSource | None) -> str:
    """Return what messages call a plan."""
    return str(plan) if isinstance(plan, str | Path) else "settings" if plan is None else "plan"


def _content_of(plan: PlanSource | None) -> dict[str, Any]:
    if plan is None:
        return {}
    if isinstance(plan, Plan):
        return plan.model_dump(mode="json", exclude_unset=True)
    if isinstance(plan, Mapping):
        workload = plan.get("workload", {})
        return dict(plan) | ({"workload": dict(workload)} if isinstance(workload, Mapping) else {})
    return load_toml(Path(plan))


def _choose_task(workload: dict[str, Any], registry: Registry, notes: list[str]) -> None:
    """Where no workload is named, take the task that the first model declares for itself, and say so."""
    source = registry.models.get(next(iter(_listed(workload.get("model") or ())), ""))
    if source is not None and source.task and not _TELLING & workload.keys():
        workload["task"] = source.task
        notes.append(f"no workload is named: {source.name} comes with the task {source.task}")


def merge_settings(
    content: dict[str, Any], settings: Mapping[str, Any], fallbacks: Mapping[str, Any], source: str
) -> None:
    """Put settings of the workload and of the run into the content of a plan; see ``plan_content``."""
    workload = content.setdefault("workload", {})
    if not isinstance(workload, dict):
        raise UsageError(f"{source}: workload = {workload!r}: must be a table", code="bad-value")
    for name, value in {**fallbacks, **settings}.items():
        if name in SPAN:
            continue
        if name not in WORKLOAD and name not in PLAN:
            raise unknown_name("setting", name, (*SPAN, *WORKLOAD, *PLAN))
        target = workload if name in WORKLOAD else content
        if name in settings or name not in target:
            target[name] = list(value) if isinstance(value, tuple) else value


def set_options(
    options: Mapping[str, JsonValue], chosen: Mapping[str, type[Backend]], left_out: list[str]
) -> dict[str, dict[str, Any]]:
    """Return what ``options`` give each of the chosen backends.

    Args:
        options: by ``option`` or ``backend.option``.
        chosen: backends by name.
        left_out: gets a note for each backend that does not have an option.

    Raises:
        UsageError: an option that none of them has (with the nearest name).
    """
    made: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for key, value in options.items():
        backend, _, option = key.rpartition(".")
        if backend and backend not in chosen:
            raise unknown_name("backend in --set", backend, chosen)
        targets = [backend] if backend else list(chosen)
        having = [name for name in targets if option in chosen[name].Options.model_fields]
        if not having:
            known = {key for name in targets for key in chosen[name].Options.model_fields}
            raise unknown_name(f"option of {', '.join(targets)}", option, known)
        for name in targets:
            if name in having:
                made[name][option] = value
            else:
                left_out.append(f"backend {name!r} has no option {option!r}: left out")
    return made


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
