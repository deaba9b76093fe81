"""Problems of the harness's tasks, built and scored by the harness itself.

Few-shot examples are drawn in the order of the problems with the seed that the harness takes by default, so a problem
has the same prompt here and there. The main metric is the first of the list by which imported results are read, or else
the first that is a mean over problems; all the others are further ones.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import UsageError
from ...core.contract.task import Score, TaskSample
from ...core.sdk.harness_metrics import PREFERRED_METRICS

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

FIX = 'pip install "decodebench[lm-eval]"'
_SETTINGS = ("num_fewshot", "include_path")
_OUTPUT_TYPES = ("multiple_choice", "loglikelihood", "generate_until")
_ELSEWHERE = "`decodebench lm-eval` runs it with the harness's own loop"


def installed_version() -> str:
    """Return the harness's version; raises ``UsageError`` with what installs it."""
    try:
        return version("lm_eval")
    except PackageNotFoundError:
        raise UsageError(f"lm-evaluation-harness is not installed; {FIX}", code="package-missing") from None


@cache
def load(argument: str) -> Problems:
    """Load the task that stands behind the colon, once.

    Raises:
        UsageError: the harness or the task is not there, its data cannot be had, or it is of a kind that only the
            harness's own loop can run.
    """
    name, settings = _parse(argument)
    release = installed_version()
    import datasets

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    manager = _manager(name, settings.get("include_path"))
    try:
        tasks = manager.load([name])["tasks"]
    except Exception as error:  # the harness and its data sets raise anything
        text = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"task lm-eval:{name} cannot be loaded: {text[:300]}", code="file-unreadable") from error
    shots = int(settings["num_fewshot"]) if "num_fewshot" in settings else None
    return Problems(release, [Leaf.of(label, task, shots) for label, task in tasks.items()])


def _manager(name: str, folder: str | None) -> TaskManager:
    """Return a manager that knows the task; the harness's own thousands are read only where they are needed."""
    from lm_eval.tasks import TaskManager

    if folder is not None and not Path(folder).is_dir():
        raise UsageError(f"lm-eval:{name}: include_path = {folder} is not a folder", code="folder-missing")
    if name.endswith((".yaml", ".yml")):
        return TaskManager(include_defaults=False)
    own = TaskManager(include_path=folder, include_defaults=False)
    if name in own.all_subtasks:
        return own
    every = TaskManager(include_path=folder)
    if name not in every.all_tasks:
        raise UsageError(
            f"lm-eval has no task {name!r}; `decodebench lm-eval ls tasks` lists them, and "
            f"lm-eval:{name},include_path=FOLDER reads tasks of your own",
            code="unknown-name",
        )
    return every


def _parse(argument: str) -> tuple[str, Mapping[str, str]]:
    name, *parts = argument.split(",")
    settings = dict(part.split("=", 1) for part in parts if "=" in part)
    wrong = [part for part in parts if part.split("=")[0] not in _SETTINGS or "=" not in part]
    if wrong or not name or not settings.get("num_fewshot", "0").isdecimal():
        raise UsageError(
            f"lm-eval:{argument}: write lm-eval:TASK, and behind commas num_fewshot=N or include_path=FOLDER",
            code="bad-value",
        )
    return name, settings


@dataclass(slots=True)
class Leaf:
    """One task of the harness, which is no group.

    Attributes:
        label: its name.
        task: the harness's object.
        keys: metric and filter of each figure that is a mean over problems, the main one first.
    """

    label: str
    task: ConfigurableTask
    keys: list[str]

    @classmethod
    def of(cls, label: str, task: ConfigurableTask, num_fewshot: int | None) -> Leaf:
        """Check that a task can be run problem by problem, and settle its examples."""
        from lm_eval.defaults import DEFAULT_OTHER_SEED

        if task.OUTPUT_TYPE not in _OUTPUT_TYPES:
            raise UsageError(
                f"task lm-eval:{label} is of kind {task.OUTPUT_TYPE!r}, which has no answers; {_ELSEWHERE}",
                code="not-supported",
            )
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            what = "runs code that a model wrote, outside a sandbox" if task.UNSAFE_CODE else "needs images or sound"
            raise UsageError(f"task lm-eval:{label} {what}; {_ELSEWHERE}", code="not-supported")
        settings = task.config.generation_kwargs or {}
        if task.config.repeats != 1 or settings.get("do_sample") and float(settings.get("temperature", 1)) > 0:
            raise UsageError(
                f"task lm-eval:{label} samples several answers or at a temperature; {_ELSEWHERE}", code="not-supported"
            )
        if num_fewshot is not None and task.config.num_fewshot != 0:
            task.set_config(key="num_fewshot", value=num_fewshot)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
        return cls(label, task, _means(label, task))

    def problems(self) -> Iterator[tuple[TaskSample, list[Instance]]]:
        """Yield every problem with its requests, in the harness's order."""
        for number, doc in self.task.doc_iterator(rank=0, limit=None, world_size=1):
            context = self.task.fewshot_context(
                doc, num_fewshot=self.task.config.num_fewshot or 0, gen_prefix=self.task.doc_to_prefix(doc)
            )
            made = self.task.construct_requests(doc=doc, ctx=context, metadata=(self.label, number, 1))
            requests = made if isinstance(made, list) else [made]
            yield self._sample(number, doc, requests), requests

    def _sample(self, number: int, doc: Mapping[str, Any], requests: Sequence[Instance]) -> TaskSample:
        name, reference = f"{self.label}/{number}", str(self.task.doc_to_target(doc))
        contexts = tuple(str(request.args[0]) for request in requests)
        if self.task.OUTPUT_TYPE == "generate_until":
            return TaskSample(name, contexts[0], reference)
        choices = tuple(str(request.args[1]) for request in requests)
        differing = contexts if len(set(contexts)) > 1 else ()
        return TaskSample(name, contexts[0], reference, choices=choices, contexts=differing)

    def measures(self, requests: Sequence[Instance], answers: Sequence[Any]) -> tuple[dict[str, float], str | None]:
        """Return every figure of one problem by metric and filter, and what the main filter took from the answer."""
        pairs = zip(requests, answers, strict=True)
        asked = [replace(request, resps=[answer], filtered_resps={}) for request, answer in pairs]
        found: dict[str, float] = {}
        taken: dict[str, object] = {}
        for ensemble in self.task._filters:  # the harness has no public way to filter one problem
            ensemble.apply(asked)
            filtered = [request.filtered_resps[ensemble.name] for request in asked]
            taken[ensemble.name] = filtered[0]
            for metric, value in self.task.process_results(asked[0].doc, filtered).items():
                if f"{metric},{ensemble.name}" in self.keys:
                    found[f"{metric},{ensemble.name}"] = float(value)
        answer = taken[self.keys[0].split(",", 1)[1]]
        return found, answer if isinstance(answer, str) else None


def _means(label: str, task: ConfigurableTask) -> list[str]:
    from lm_eval.api.metrics import mean

    directions = task.higher_is_better()
    names = [name for name, how in task.aggregation().items() if how is mean and directions.get(name, True)]
    keys = [f"{name},{ensemble.name}" for ensemble in task._filters for name in names]
    if not keys:
        known = ", ".join(task.aggregation())
        raise UsageError(
            f"task lm-eval:{label} has no metric that is a mean over problems (it has {known}); {_ELSEWHERE}",
            code="not-supported",
        )
    first = next((key for key in PREFERRED_METRICS if key in keys), keys[0])
    return [first, *(key for key in keys if key != first)]


class Problems:
    """The problems of a task, or in turn those of a group's tasks, built as they are asked for."""

    def __init__(self, release: str, leaves: Sequence[Leaf]) -> None:
        self._leaves = leaves
        kinds = {leaf.task.OUTPUT_TYPE == "generate_until" for leaf in leaves}
        if len(kinds) > 1:
            raise UsageError(
                "this group mixes choices with answers that are generated: run its tasks one by one",
                code="not-supported",
            )
        self._is_generated = kinds.pop()
        self._built: dict[str, tuple[Leaf, TaskSample, list[Instance]]] = {}
        self._source = self._in_turn()
        self.version = f"{release} {_versions(leaves)}"

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings that end an answer."""
        return () if not self._is_generated else tuple(_settings(self._leaves)["until"])

    @property
    def max_new_tokens(self) -> int | None:
        """Token limit of an answer; None where none is generated."""
        return None if not self._is_generated else int(_settings(self._leaves)["max_gen_toks"])

    def samples(self, n: int) -> Iterator[TaskSample]:
        """Yield the first ``n`` problems."""
        for _ in range(n - len(self._built)):
            built = next(self._source, None)
            if built is None:
                break
            self._built[built[1].id] = built
        return (sample for _, sample, _ in itertools.islice(self._built.values(), n))

    def score(self, sample_id: str, answers: Sequence[Any]) -> Score:
        """Score the answers to the requests of one problem: a text, or (log-probability, is greedy) of each choice."""
        leaf, _, requests = self._built[sample_id]
        found, extracted = leaf.measures(requests, answers)
        main, *others = leaf.keys
        further = {key.removesuffix(",none"): found[key] for key in others if key in found}
        return Score(found[main], extracted, further)

    def _in_turn(self) -> Iterator[tuple[Leaf, TaskSample, list[Instance]]]:
        rows = itertools.zip_longest(*(((leaf, *problem) for problem in leaf.problems()) for leaf in self._leaves))
        return (built for row in rows for built in row if built is not None)


def _settings(leaves: Sequence[Leaf]) -> Mapping[str, Any]:
    """Return stop strings and limit of the answers, which a group's tasks must agree on."""
    from lm_eval.models.utils import normalize_gen_kwargs

    found: list[Mapping[str, Any]] = [normalize_gen_kwargs(leaf.task.config.generation_kwargs or {}) for leaf in leaves]
    if any((one["until"], one["max_gen_toks"]) != (found[0]["until"], found[0]["max_gen_toks"]) for one in found):
        raise UsageError(
            "the tasks of this group end their answers in different ways: run them one by one", code="not-supported"
        )
    return found[0]


def _versions(leaves: Sequence[Leaf]) -> str:
    """Return the tasks' versions, with a fingerprint of data and settings: a task of one's own may change silently."""
    content = hashlib.sha256()
    for leaf in leaves:
        shots = leaf.task.config.num_fewshot
        content.update(json.dumps([leaf.label, shots, leaf.task.dump_config()], default=str, sort_keys=True).encode())
        for doc in leaf.task.eval_docs:
            content.update(json.dumps(doc, default=str, sort_keys=True).encode())
    numbers = dict.fromkeys(str(leaf.task.VERSION) for leaf in leaves)
    return f"{'/'.join(numbers)} {content.hexdigest()[:8]}"
