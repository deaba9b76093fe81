"""The prompts of an experiment: the same for every cell and round, warm-up prompts apart from measured ones."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..contract.task import Likelihood, Score, Task, TaskSample
from ..errors import DecodebenchError, PluginError, UsageError, described
from ..host.registry import Registry
from .cells import Cell
from .chats import Chats, render_chats
from .job import PromptJob
from .plan import Plan
from .prefixes import with_unique_prefixes
from .streams.arrivals import with_due_times
from .streams.random_requests import random_prompts

_WARMUP_SEED_OFFSET = 1_000_003  # far from any seed that a user counts up by hand


@dataclass(frozen=True, slots=True)
class Prompts:
    """What every round of an experiment is asked.

    Attributes:
        jobs: the prompts as the worker gets them, warm-up first.
        task: scores the answers; None for fixed-length workloads.
        samples: the task's problems by id.
        chats: the prompts of each cell where they are chats, which every model writes in its own way.
        seed: chooses when requests come, where they come at random times.
    """

    jobs: tuple[PromptJob, ...]
    task: Task | None = None
    samples: dict[str, TaskSample] = field(default_factory=dict)
    chats: Chats = field(default_factory=dict)
    seed: int = 0

    @classmethod
    def of(cls, plan: Plan, registry: Registry, cells: Iterable[Cell] = ()) -> Prompts:
        """Choose the prompts of a plan by its seed.

        Args:
            plan: the experiment.
            registry: has its task.
            cells: those whose chats are rendered.

        Raises:
            UsageError: the plan names neither a task nor a prompt length, or the task has no problems.
            ModelError: a model's chat template is missing or cannot be rendered.
        """
        if plan.workload.is_random:
            return cls(tuple(random_prompts(plan.workload, plan.seed)), seed=plan.seed)
        if plan.workload.task is None:
            raise UsageError(
                "no workload: give --task NAME, or --prompt-tokens N for prompts of a fixed length", code="no-workload"
            )
        task = registry.task(plan.workload.task)
        measured = list(task.samples(plan.workload.samples, plan.seed))
        if not measured:
            raise UsageError(f"task {task.name!r} has no problems", code="no-results")
        if plan.workload.attempts > 1 and any(sample.choices for sample in measured):
            raise UsageError(
                f"task {task.name!r} scores choices: every attempt at a problem would be the same", code="not-supported"
            )
        warmup = _warmup(task, plan, {sample.prompt for sample in measured})
        jobs = [_job(sample, is_warmup=True) for sample in warmup]
        jobs += _in_order([sample for sample in measured for _ in range(plan.workload.attempts)])
        chats = render_chats(plan.workload, jobs, cells) if plan.workload.chat else {}
        return cls(tuple(jobs), task, {sample.id: sample for sample in measured}, chats, plan.seed)

    def jobs_of(self, cell: Cell, occasion: str = "") -> tuple[PromptJob, ...]:
        """Return the prompts as a cell's worker gets them.

        Args:
            cell: is asked.
            occasion: experiment and round, see ``occasion_of``; prompts with unique prefixes differ by it.
        """
        jobs = self.chats.get(cell.id, self.jobs)
        if cell.workload.is_random:
            jobs = tuple(random_prompts(cell.workload, self.seed))
        if cell.workload.depth and not cell.has_depth_apart:
            jobs = tuple(job.model_copy(update={"depth": 0}) for job in jobs)
        if cell.workload.unique_prefix:
            load = json.dumps(cell.workload.loads())
            jobs = tuple(with_unique_prefixes(jobs, f"{self.seed}:{occasion}:{load}"))
        return with_due_times(jobs, cell.workload, self.seed)

    @property
    def task_version(self) -> str | None:
        """Version of the task, None for fixed-length workloads."""
        return self.task.version if self.task else None

    def scores(self, answers: Iterable[tuple[int, str, str]]) -> Iterator[dict[str, Any]]:
        """Score answers given as (sample index, sample id, text); warm-up ones are left out.

        Raises:
            PluginError: the task failed.
        """
        if self.task is None:
            return
        asked: deque[tuple[int, TaskSample]] = deque()

        def answered() -> Iterator[tuple[TaskSample, str]]:
            for index, sample_id, text in answers:
                if (sample := self.samples.get(sample_id)) is not None:
                    asked.append((index, sample))
                    yield sample, text

        with _scoring(self.task):
            for score in self.task.score_all(answered()):
                index, sample = asked.popleft()
                if score is not None:
                    yield _score_line(index, score, sample)

    def choice_scores(self, answers: Iterable[tuple[int, str, Sequence[Likelihood]]]) -> Iterator[dict[str, Any]]:
        """Score choices given as (sample index, sample id, how likely each is); warm-up ones are left out.

        Raises:
            PluginError: the task failed.
        """
        for index, sample_id, likelihoods in answers:
            sample = self.samples.get(sample_id)
            if self.task is not None and sample is not None:
                with _scoring(self.task):
                    line = _score_line(index, self.task.score_choices(sample, likelihoods), sample)
                yield line


def occasion_of(experiment: str, index: int) -> str:
    """Name a round of an experiment, the same for all of its cells."""
    return f"{experiment}:{index}"


@contextmanager
def _scoring(task: Task) -> Iterator[None]:
    """Turn whatever a task raises into one error that names it; what is raised on purpose stays as it is worded."""
    try:
        yield
    except DecodebenchError as error:
        raise PluginError(f"task {task.name!r} cannot score: {error}") from error
    except Exception as error:
        raise PluginError(f"task {task.name!r} cannot score: {described(error)}") from error


def _score_line(index: int, score: Score, sample: TaskSample) -> dict[str, Any]:
    line = {"index": index, "score": score.value, "extracted": score.extracted, "reference": sample.reference}
    return line | {"scores": dict(score.further)} if score.further else line


def _warmup(task: Task, plan: Plan, measured: set[str]) -> Sequence[TaskSample]:
    """Take warm-up problems of the measured kind, none of which is measured later."""
    wanted = plan.workload.warmup
    candidates = task.samples(wanted + len(measured), plan.seed + _WARMUP_SEED_OFFSET)
    found: list[TaskSample] = []
    for sample in candidates:
        if len(found) == wanted:
            break
        if sample.prompt not in measured:
            found.append(sample)
    if len(found) < wanted:
        raise UsageError(
            f"task {task.name!r} has too few problems for {wanted} warm-up ones beside {len(measured)} measured ones; "
            "lower --samples or --warmup",
            code="bad-value",
        )
    return found


def _job(sample: TaskSample, *, is_warmup: bool) -> PromptJob:
    sample_id = f"warmup:{sample.id}" if is_warmup else sample.id
    return PromptJob(
        sample_id=sample_id,
        is_warmup=is_warmup,
        text=sample.prompt,
        messages=sample.messages,
        choices=sample.choices,
        contexts=sample.contexts,
        answer_like=sample.answer_like,
    )


def _in_order(samples: Sequence[TaskSample]) -> Iterator[PromptJob]:
    """Yield measured prompts; one that follows another names it by its index, each attempt its own."""
    last: dict[str, deque[int]] = {}
    for index, sample in enumerate(samples):
        last.setdefault(sample.id, deque()).append(index)
        before = last.get(sample.after or "", ())
        job = _job(sample, is_warmup=False)
        yield job.model_copy(update={"after": before[min(len(last[sample.id]), len(before)) - 1]}) if before else job
