"""Result files of lm-evaluation-harness (`results_<time>.json`): one run per task or group, accuracy alone.

A metric's key is `<metric>,<filter>`. Of several the first of a fixed list is taken, otherwise the first that is
a share. The file has no throughput: its evaluation time holds loading and
scoring.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import Environment, Run, Totals
from ...core.sdk.harness_metrics import PREFERRED_METRICS
from ...core.sdk.logs.fields import Fields, flat
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.runs import UNKNOWN, bare_run
from .lm_eval_samples import LmEvalSamples, generation_of

_NO_METRICS = frozenset({"alias", "name", "sample_len", "sample_count"})
_OWN_MODEL = "decodebench"
_CELL = ("backend", "model", "quantisation", "device", "batch_size")
_NO_CONDITIONS = ("model", "model_args", "model_dtype", "device", "batch_size", "batch_sizes", "model_num_parameters")
_READ = (
    "results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config",
    "date", "model_name", "model_name_sanitized", "pretty_env_info",
)  # fmt: skip
_FURTHER = ("git_hash", "chat_template_sha", "system_instruction_sha", "fewshot_as_multiturn")
_MODEL = ("pretrained", "model_path", "model", "path", "engine")


class LmEvalResults(JsonFormat):
    """Reads one run per task; a task that belongs to a group is left to the group."""

    name = "lm-eval"
    summary = "results_*.json of lm-evaluation-harness"
    version = "4"

    keys = ("results",)
    either = (("n-shot",), ("configs",), ("group_subtasks",), ("versions", "config", "model_args"))

    def records(self, run_id: str, content: Fields) -> Iterator[Run]:
        """Yield the runs."""
        results = content.inner("results")
        tasks = _tasks(content, results)
        scored = [task for task in tasks if share_of(results.inner(task)) is not None]
        for at, task in enumerate(scored or tasks):  # without any, the first says what is missing
            yield _run(f"{run_id}-{at}", task, results.inner(task), content)


def _tasks(content: Fields, results: Fields) -> list[str]:
    groups = content.at("group_subtasks").content
    members = {task for tasks in groups.values() if isinstance(tasks, list) for task in tasks if isinstance(task, str)}
    told = [task for task in results.content if set(results.inner(task).content) - _NO_METRICS - {" ", ""}]
    return [task for task in told if task not in members or not any(group in told for group in groups)]


def _run(run_id: str, task: str, figures: Fields, content: Fields) -> Run:
    config = content.at("config")
    found = share_of(figures)
    if found is None:
        raise figures.fail("results", "no metric with a share from 0 to 1")
    metric, share = found
    arguments = arguments_of(config.content.get("model_args"))
    error = figures.content.get(metric.replace(",", "_stderr,", 1) if "," in metric else f"{metric}_stderr")
    samples = _samples(content, task)
    version = content.at("versions").content.get(task)
    transformers = content.content.get("transformers_version")
    named = next((arguments[name] for name in _MODEL if arguments.get(name)), content.content.get("model_name"))
    return bare_run(
        run_id,
        **_engine(arguments, config),
        started_at=_started_at(content),
        model=str(named or UNKNOWN),
        quantisation=str(config.content.get("model_dtype") or UNKNOWN).removeprefix("torch."),
        task=task,
        task_version=None if version is None else str(version),
        samples=samples,
        batch_size=_batch_size(config),
        **_generation(content, task),
        chat=content.has("chat_template") if "chat_template" in content.content else None,
        parameters=config.optional(config.count, "model_num_parameters") or None,
        environment=None if transformers is None else Environment(packages={"transformers": str(transformers)}),
        settings={"published_metric": metric, **({"published_stderr": str(error)} if error is not None else {})},
        totals=Totals(accuracy=share, samples=samples),
        extra=_extra(content, task, metric),
        notes=("an lm-eval result has no times; its samples are in a file of its own",),
    )


def _batch_size(config: Fields) -> int | None:
    """Return the batch size; None where the harness chose it (`auto`)."""
    text = str(config.content.get("batch_size") or "")
    return int(text) if re.fullmatch("[1-9][0-9]{0,6}", text) else None


def _generation(content: Fields, task: str) -> dict[str, Any]:
    """Return how the task generates, and what else the answers depend on: shots, seeds, the harness's commit, ..."""
    of_task = content.at("configs", task)
    told = of_task.content.get("generation_kwargs")
    found = generation_of(told) if isinstance(told, dict) else {"conditions": {}}
    shots = {"num_fewshot": content.at("n-shot").content.get(task)}
    further = {name: content.content.get(name) for name in _FURTHER}
    settings = flat(of_task.beyond("task", "metadata", "generation_kwargs"), "task.")
    conditions = {**shots, **further, **flat(content.at("config").beyond(*_NO_CONDITIONS)), **settings}
    known = {name: value for name, value in conditions.items() if value is not None}
    return {**found, "conditions": {**known, **found["conditions"]}}


def _extra(content: Fields, task: str, metric: str) -> dict[str, JsonValue]:
    """Return what else the file has: other metrics, the parts of a group, and how long the evaluation took."""
    results = content.inner("results")
    names = [name for name in _parts_of(content, task) if results.has(name)]
    parts: dict[str, JsonValue] = {name: results.inner(name).beyond() for name in names}
    found: dict[str, JsonValue] = {"metrics": results.inner(task).beyond(metric), "group_results": parts}
    shots = content.at("n-shot").content.get(task)
    found |= {"num_fewshot": shots} if shots is not None else {}
    return {**content.beyond(*_READ), **{name: value for name, value in found.items() if value != {}}}


def _parts_of(content: Fields, task: str) -> list[str]:
    """Return the tasks of a group, and those of the groups within it."""
    groups = content.at("group_subtasks").content
    found, waiting = [], [task]
    while waiting:
        members = groups.get(waiting.pop(0))
        new = [name for name in members if isinstance(name, str)] if isinstance(members, list) else []
        waiting += [name for name in new if name not in found]
        found += [name for name in new if name not in found]
    return found


def _engine(arguments: dict[str, Any], config: Fields) -> dict[str, Any]:
    """Say what answered: decodebench's own model in the harness names backend and device among its arguments."""
    model = str(config.content.get("model") or UNKNOWN)
    if model != _OWN_MODEL:
        return {"backend": model, "device": str(config.content.get("device") or UNKNOWN), "options": arguments}
    backend, device = str(arguments.get("backend") or model), str(arguments.get("device") or "cpu")
    options = {name: value for name, value in arguments.items() if name not in _CELL}
    return {"backend": backend, "device": device, "options": options}


def _started_at(content: Fields) -> str:
    """Return the date as ISO 8601."""
    date = content.content.get("date")
    if isinstance(date, bool) or not isinstance(date, int | float):
        return str(date or "")
    try:
        return datetime.fromtimestamp(date, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, OSError, ValueError):
        raise content.fail("date", "no time since 1970") from None


def share_of(figures: Fields) -> tuple[str, float] | None:
    """Return the metric that counts as accuracy, and its value; None where none is a share from 0 to 1."""
    keys = [key for key in (*PREFERRED_METRICS, *figures.content) if figures.has(key) and _is_metric(key)]
    for key in keys:
        value = figures.content[key]
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return key, float(value)
    return None


def _is_metric(key: str) -> bool:
    return "_stderr" not in key and key not in _NO_METRICS


def _samples(content: Fields, task: str) -> int | None:
    counts = content.at("n-samples").content.get(task)
    effective = counts.get("effective") if isinstance(counts, dict) else None
    return effective if isinstance(effective, int) and not isinstance(effective, bool) and effective > 0 else None


def arguments_of(told: object) -> dict[str, Any]:
    """Read the model's arguments: ``name=value,name=value``, or the object that newer versions write."""
    if isinstance(told, dict):
        return {name: value for name, value in told.items() if isinstance(value, str | int | float | bool | None)}
    pairs = [part.split("=", 1) for part in str(told or "").split(",") if "=" in part]
    return {name.strip(): value.strip() for name, value in pairs}


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of lm-eval's results and of its samples."""
    return [LmEvalResults, LmEvalSamples]
