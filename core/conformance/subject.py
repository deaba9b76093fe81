"""What is under test: one backend with a model, and what its worker processes said, each asked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from ... import defaults
from ..backend import Backend, Kind, ModelFacts, PreparedModel
from ..cache import ModelCache
from ..cells import Cell, expand
from ..errors import BackendError, UsageError
from ..job import ContinuationJob, Job, ModelJob, PreparedJob, PromptJob
from ..launchers import Line, Outcome, run_worker
from ..models import example_model
from ..plan import build
from ..registry import Registry
from .check import Broken, NotApplicable
from .probe_job import ProbeJob, Question

MAX_NEW_TOKENS = 24
PROMPTS = (
    "Question: Sam has 3 apples and buys 4 more. How many apples does Sam have?\nAnswer:",
    "Question: A box holds 12 pens. Mia gives 5 pens to Tom. How many pens are left in the box?\nAnswer:",
    "Once upon a time",
)
_PROBE = "decodebench.core.conformance.probe_process"


@dataclass(frozen=True, slots=True)
class Generation:
    """One sample of a worker process.

    Attributes:
        sample: its line: output ids, text, finish, times.
        steps: the lines of its steps, in order of time.
    """

    sample: Line
    steps: Sequence[Line]

    @property
    def ids(self) -> list[int]:
        """The output's token ids."""
        return list(self.sample["output_ids"])


class Subject:
    """One backend under test.

    Args:
        cell: backend, model, quantisation, device and options.
        registry: the plugins.
        cache: prepared models.
        reference: the backend that exactness is claimed against; None where there is none.
        timeout_s: a process of a check is killed after so many seconds.
    """

    def __init__(
        self, cell: Cell, registry: Registry, cache: ModelCache, reference: type[Backend] | None, timeout_s: float
    ) -> None:
        self.cell, self.registry, self.reference = cell, registry, reference
        self._cache, self._timeout_s = cache, timeout_s

    @classmethod
    def of(
        cls,
        backend: str,
        *,
        model: str | None = None,
        quantisation: str | None = None,
        device: str = "cpu",
        options: Mapping[str, JsonValue] | None = None,
        reference: str | None = None,
        timeout_s: float = defaults.CONFORMANCE_TIMEOUT_S,
        registry: Registry | None = None,
    ) -> Subject:
        """Find everything by name.

        Args:
            backend: name of a registered backend.
            model: a named model, path or Hub id; None: the one that the backend is shown with.
            quantisation: weight format; None: the backend's first.
            device: device name.
            options: values that differ from the defaults.
            reference: backend that exactness is held against; None: the one that declares itself the reference.
            timeout_s: a process of a check is killed after so many seconds.
            registry: the plugins, where they are loaded already.

        Raises:
            UsageError: a name is unknown, or an option is refused.
            ModelError: the model cannot be found.
        """
        registry, cache = registry or Registry(), ModelCache()
        name = model or example_model(backend, registry.models)
        cell = _cell(registry, cache, backend, name, quantisation, device, options or {})
        return cls(cell, registry, cache, _reference(registry, reference), timeout_s)

    @property
    def backend(self) -> type[Backend]:
        """The class under test."""
        return self.cell.backend

    @property
    def kind(self) -> Kind:
        """How it decodes."""
        return self.backend.kind

    def on(self, backend: type[Backend], quantisation: str, options: Mapping[str, JsonValue]) -> Subject:
        """Return a subject with the same model on another backend, or with another quantisation."""
        model = self.cell.model.name
        cell = _cell(self.registry, self._cache, backend.name, model, quantisation, self.cell.device, options)
        return Subject(cell, self.registry, self._cache, self.reference, self._timeout_s)

    @cached_property
    def declarations(self) -> Line:
        """What a fresh process found when it imported the plugin and probed the backend."""
        return self.ask("declarations")[0]

    @cached_property
    def _loading(self) -> ModelFacts | str:
        """Facts of the loaded model, or why it could not be loaded."""
        available = self.backend.probe()
        if not available.available:
            return f"the backend is not available here: {available.reason}; {available.fix}"
        try:
            answer = self._run(self._job("prepare"), "decodebench.core.worker")[0]
            self._prepared = PreparedJob.model_validate(answer["model"]).unpack()
            (facts,) = self.ask("load")
        except BackendError as error:
            return f"the model could not be loaded: {error}"
        return ModelFacts(**{**facts["facts"], "stop_token_ids": tuple(facts["facts"]["stop_token_ids"])})

    @property
    def loading_fault(self) -> str | None:
        """Why the model cannot be loaded; None where it can."""
        return self._loading if isinstance(self._loading, str) else None

    @property
    def facts(self) -> ModelFacts:
        """What the engine says of the model; a check that needs it is not judged where it cannot be loaded."""
        if isinstance(self._loading, str):
            raise NotApplicable(f"not judged: {self._loading}")
        return self._loading

    @cached_property
    def greedy(self) -> Sequence[Generation]:
        """A generation per prompt under greedy decoding, the first prompt once more at the end."""
        return self.generate()

    def generate(self, *, stop: Sequence[str] = ()) -> Sequence[Generation]:
        """Generate greedily in a fresh worker process, a warm-up first, which is left out.

        Raises:
            BackendError: the worker failed, crashed or took too long.
        """
        _ = self.facts
        prompts = [PromptJob(sample_id="warm-up", is_warmup=True, text=PROMPTS[0]), *_prompts()]
        job = self._job("measure", prompts=prompts, max_new_tokens=MAX_NEW_TOKENS, stop=tuple(stop))
        lines = self._run(job, "decodebench.core.worker")
        samples = [line for line in lines if line["type"] == "sample" and not line["is_warmup"]]
        steps = [line for line in lines if line["type"] == "step"]
        found = [Generation(one, [step for step in steps if step["sample"] == one["index"]]) for one in samples]
        if len(found) < len(PROMPTS) + 1:
            raise Broken(f"{len(found)} of {len(PROMPTS) + 1} prompts were answered")
        return found

    def evaluate(self, outputs: Sequence[Sequence[int]], top_k: int) -> Sequence[Line]:
        """Score outputs, one for each prompt, in a worker process; only where the backend can score."""
        _ = self.facts
        continuations = [
            ContinuationJob(prompt=prompt, output_ids=tuple(ids))
            for prompt, ids in zip(_prompts(), outputs, strict=False)
        ]
        job = self._job("evaluate", continuations=continuations, top_k=top_k)
        return [line for line in self._run(job, "decodebench.core.worker") if line["type"] == "evaluation"]

    def ask(self, question: Question, **changes: Any) -> Sequence[Line]:  # noqa: ANN401 - fields of ProbeJob
        """Ask a process that looks at the backend from within.

        Raises:
            BackendError: the process failed, crashed or took too long.
        """
        if question not in ("declarations", "load"):
            _ = self.facts
        needed = {"prompts": _prompts(), "max_new_tokens": MAX_NEW_TOKENS, "question": question}
        return self._run(self._job("measure", kind=ProbeJob, **needed, **changes), _PROBE)

    def _run(self, job: Job, module: str) -> list[Line]:
        lines: list[Line] = []
        outcome: Outcome = run_worker(
            job, engine_text=None, timeout_s=self._timeout_s, on_line=lines.append, module=module
        )
        if outcome.status != "ok":
            raise BackendError(outcome.reason or outcome.status)
        return lines

    def _job(self, action: str, *, kind: type[Job] = Job, **changes: Any) -> Job:  # noqa: ANN401 - fields of Job
        cell = self.cell
        prepared: PreparedModel | None = None if action == "prepare" else getattr(self, "_prepared", None)
        return kind.model_validate(
            {
                "action": action,
                "plugin": cell.plugin,
                "backend": cell.backend.name,
                "options": cell.expanded_options,
                "device": cell.device,
                "quantisation": cell.quantisation,
                "model": ModelJob.of(cell.model),
                "prepared": None if prepared is None else PreparedJob.of(prepared),
                "cache_root": self._cache.root,
                **changes,
            }
        )


def _prompts() -> list[PromptJob]:
    """Return the prompts as a worker gets them; the first comes back at the end, to show what state has survived."""
    texts = (*PROMPTS, PROMPTS[0])
    return [PromptJob(sample_id=f"prompt {at}", is_warmup=False, text=text) for at, text in enumerate(texts, 1)]


def _cell(
    registry: Registry,
    cache: ModelCache,
    backend: str,
    model: str,
    quantisation: str | None,
    device: str,
    options: Mapping[str, JsonValue],
) -> Cell:
    spec: dict[str, Any] = {"backend": backend, "device": [device], "options": {k: [v] for k, v in options.items()}}
    if quantisation is not None:
        spec["quantisation"] = [quantisation]
    plan = build({"workload": {"model": [model], "max_new_tokens": MAX_NEW_TOKENS}, "cells": [spec]}, "check")
    (cell,) = expand(plan, registry, cache).cells
    return cell


def _reference(registry: Registry, name: str | None) -> type[Backend] | None:
    if name is not None:
        return registry.backend(name)
    return next((backend for backend in registry.backends.values() if backend.is_reference), None)


def backend_names(registry: Registry, name: str) -> Sequence[str]:
    """Return the backend called ``name``, or all those of the plugin called so.

    Raises:
        UsageError: there is neither; gives the nearest name, or why the plugin was skipped.
    """
    if name in registry.backends:
        return [name]
    for plugin in registry.plugins:
        if plugin.name == name and plugin.status == "ok":
            found = plugin.provides.get("decodebench_backends", ())
            if not found:
                raise UsageError(f"plugin {name!r} provides no backend; only backends are checked")
            return found
    return [registry.backend(name).name]
