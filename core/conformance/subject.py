"""What is under test: one backend with a model, and what its worker processes said, each asked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import JsonValue

from ... import defaults
from ..cache import ModelCache
from ..contract.backend import Backend, Kind
from ..contract.launcher import Outcome
from ..contract.model import ModelFacts, PreparedModel, ResolvedModel
from ..contract.preflight import PlannedCell, Preflight
from ..errors import BackendError, UsageError
from ..host.packed_models import ModelJob, PreparedJob
from ..host.registry import Registry
from ..isolation.plugins import all_plugins
from ..isolation.processes.messages import Line
from ..measure.cells import Cell, expand, job_fields
from ..measure.job import ContinuationJob, EvaluateJob, Job, MeasureJob, PrepareJob, PromptJob
from ..measure.plan import build
from ..measure.rounds.conversation import WORKER, run_worker
from ..records.workload import Workload
from ..sdk.models import example_model
from .answers import Answers
from .outcome import Broken, NotApplicable
from .outputs import Generation
from .probe_job import GENERATING, DeclarationsJob, Generating, GeneratingJob, Question, QuestionJob

MAX_NEW_TOKENS = 24
PROMPTS = (
    "Question: Sam has 3 apples and buys 4 more. How many apples does Sam have?\nAnswer:",
    "Question: A box holds 12 pens. Mia gives 5 pens to Tom. How many pens are left in the box?\nAnswer:",
    "Once upon a time",
)
_PROBE = "decodebench.core.conformance.probe_process"


@dataclass(frozen=True, slots=True)
class Setup:
    """What is checked, by name.

    Attributes:
        backend: a registered backend.
        model: a named model, path or Hub id; None: the one that the backend is shown with.
        quantisation: weight format; None: the backend's first.
        device: device name.
        options: values that differ from the defaults.
        reference: backend that exactness is claimed against; None: the one that declares itself the reference.
        timeout_s: a process of a check is killed after so many seconds.
    """

    backend: str
    model: str | None = None
    quantisation: str | None = None
    device: str = "cpu"
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    reference: str | None = None
    timeout_s: float = defaults.CONFORMANCE_TIMEOUT_S


class Subject:
    """One backend under test.

    Args:
        setup: backend, model and the rest, by name.
        registry: the plugins, where they are loaded already.

    Raises:
        UsageError: a name is unknown, or an option is refused.
        ModelError: the model cannot be found.
    """

    def __init__(self, setup: Setup, registry: Registry | None = None) -> None:
        self.setup, self.registry, self._cache = setup, registry or all_plugins(), ModelCache()
        self.cell = _cell(setup, self.registry, self._cache)
        self.reference = _reference(setup, self.registry)
        self._answers = Answers()

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
        setup = replace(self.setup, backend=backend.name, model=model, quantisation=quantisation, options=options)
        return Subject(setup, self.registry)

    @cached_property
    def declarations(self) -> Line:
        """What a fresh process found when it imported the plugin and probed the backend."""
        return self._run(self._job(DeclarationsJob), _PROBE)[0]

    @cached_property
    def _preparing(self) -> PreparedModel | str:
        """The prepared model, or why there is none."""
        available = self.backend.probe()
        if not available.available:
            return f"the backend is not available here: {available.reason}; {available.fix}"
        try:
            (answer,) = self._run(self._job(PrepareJob, model=ModelJob.of(self.cell.model)))
        except BackendError as error:
            return f"the model could not be prepared: {error}"
        return PreparedJob.model_validate(answer["model"]).unpack()

    @property
    def prepared(self) -> PreparedModel:
        """The prepared model; a check that needs it is not judged where there is none."""
        if isinstance(self._preparing, str):
            raise NotApplicable(f"not judged: {self._preparing}")
        return self._preparing

    @property
    def loading_fault(self) -> str | None:
        """Why the model cannot be loaded; None where it can."""
        if isinstance(self._preparing, str):
            return self._preparing
        self._answer_from(GENERATING)
        return self._answers.loading_fault

    @property
    def facts(self) -> ModelFacts:
        """What the engine says of the model; a check that needs it is not judged where it cannot be loaded."""
        if self.loading_fault is not None:
            raise NotApplicable(f"not judged: {self.loading_fault}")
        assert self._answers.facts is not None
        return self._answers.facts

    def refusal_of(self, **workload: Any) -> str | None:  # noqa: ANN401 - fields of Workload
        """Return why the backend refuses a workload with these options; None where it takes it."""
        try:
            return next(iter(self.preflight(workload=Workload(**workload)).errors), None)
        except UsageError as error:
            return str(error)

    def preflight(self, **changes: Any) -> Preflight:  # noqa: ANN401 - fields of PlannedCell
        """Return what the backend says of its cell before anything is measured, with changes."""
        cell = self.cell
        planned = PlannedCell(cell.model, cell.quantisation, cell.device, cell.options, Workload())
        return self.backend.preflight(replace(planned, **changes))

    def generating(self, question: Generating) -> Sequence[Line]:
        """Ask a question of a loaded model, in a process that answers the others too; each is asked once.

        Raises:
            BackendError: the backend failed, crashed or took too long over this very question.
        """
        _ = self.facts
        self._answer_from([question, *GENERATING])
        if question not in self._answers.lines:
            raise BackendError(self._answers.faults.get(question) or self._answers.death or "")
        return self._answers.lines[question]

    def _answer_from(self, questions: Sequence[Generating]) -> None:
        """Have a process answer what is still open, unless the first of it is not; it ends where one kills it."""
        answers = self._answers
        asked = [one for one in dict.fromkeys(questions) if one not in answers.lines and one not in answers.faults]
        if answers.loading_fault is not None or questions[0] not in asked:
            return
        job = self._job(GeneratingJob, prepared=PreparedJob.of(self.prepared), questions=asked, **_WORK)
        outcome = self._listen(job, _PROBE, answers.take)
        if outcome.status != "ok":
            answers.died(outcome.reason or outcome.status)

    @cached_property
    def greedy(self) -> Sequence[Generation]:
        """A generation per prompt under greedy decoding, the first prompt once more at the end."""
        _ = self.facts
        return self.generate()

    def generate(self, *, stop: Sequence[str] = ()) -> Sequence[Generation]:
        """Generate greedily in a fresh worker process, a warm-up first, which is left out.

        Raises:
            BackendError: the worker failed, crashed or took too long.
        """
        prompts = [PromptJob(sample_id="warm-up", is_warmup=True, text=PROMPTS[0]), *_prompts()]
        workload = Workload(max_new_tokens=MAX_NEW_TOKENS, stop=tuple(stop))
        prepared = PreparedJob.of(self.prepared)
        lines = self._run(self._job(MeasureJob, prepared=prepared, prompts=prompts, workload=workload))
        samples = [line for line in lines if line["type"] == "sample" and not line["is_warmup"]]
        steps = [line for line in lines if line["type"] == "step"]
        found = [Generation(one, [step for step in steps if step["sample"] == one["index"]]) for one in samples]
        if len(found) < len(PROMPTS) + 1:
            raise Broken(f"{len(found)} of {len(PROMPTS) + 1} prompts were answered")
        return found

    def evaluate(self, outputs: Sequence[Sequence[int]], top_k: int) -> Sequence[Line]:
        """Score outputs, one for each prompt, in a worker process; only where the backend can score."""
        continuations = [
            ContinuationJob(prompt=prompt, output_ids=tuple(ids))
            for prompt, ids in zip(_prompts(), outputs, strict=False)
        ]
        work: dict[str, Any] = {"continuations": continuations, "top_k": top_k}
        lines = self._run(self._job(EvaluateJob, prepared=PreparedJob.of(self.prepared), **work))
        return [line for line in lines if line["type"] == "evaluation"]

    def ask(self, question: Question, damaged: ResolvedModel | None = None) -> Sequence[Line]:
        """Ask a process of its own that looks at the backend from within.

        Raises:
            BackendError: the process failed, crashed or took too long.
        """
        _ = self.facts
        about: dict[str, Any] = {"model": ModelJob.of(self.cell.model), "prepared": PreparedJob.of(self.prepared)}
        if damaged is not None:
            about["damaged"] = ModelJob.of(damaged)
        return self._run(self._job(QuestionJob, question=question, **about, **_WORK), _PROBE)

    def _run(self, job: Job, module: str = WORKER) -> list[Line]:
        lines: list[Line] = []
        outcome = self._listen(job, module, lines.append)
        if outcome.status != "ok":
            raise BackendError(outcome.reason or outcome.status)
        return lines

    def _listen(self, job: Job, module: str, on_line: Callable[[Line], None]) -> Outcome:
        return run_worker(job, engine_text=None, timeout_s=self.setup.timeout_s, on_line=on_line, module=module)

    def _job(self, kind: type[Job], **changes: Any) -> Job:  # noqa: ANN401 - fields of the kind
        about = {**job_fields(self.cell, self.registry), "cache_root": self._cache.root}
        return kind.model_validate({**about, **changes})


def _prompts() -> list[PromptJob]:
    """Return the prompts as a worker gets them; the first comes back at the end, to show what state has survived."""
    texts = (*PROMPTS, PROMPTS[0])
    return [PromptJob(sample_id=f"prompt {at}", is_warmup=False, text=text) for at, text in enumerate(texts, 1)]


_WORK: Mapping[str, Any] = {"prompts": _prompts(), "workload": Workload(max_new_tokens=MAX_NEW_TOKENS)}


def _cell(setup: Setup, registry: Registry, cache: ModelCache) -> Cell:
    spec: dict[str, Any] = {"backend": setup.backend, "device": [setup.device]}
    spec["options"] = {name: [value] for name, value in setup.options.items()}
    if setup.quantisation is not None:
        spec["quantisation"] = [setup.quantisation]
    model = setup.model or example_model(setup.backend, registry.models)
    plan = build({"workload": {"model": [model], "max_new_tokens": MAX_NEW_TOKENS}, "cells": [spec]}, "check")
    (cell,) = expand(plan, registry, cache).cells
    return cell


def _reference(setup: Setup, registry: Registry) -> type[Backend] | None:
    if setup.reference is not None:
        return registry.backend(setup.reference)
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
                raise UsageError(
                    f"plugin {name!r} provides no backend; only backends are checked", code="not-supported"
                )
            return found
    return [registry.backend(name).name]
