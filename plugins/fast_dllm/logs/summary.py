"""`summary.json` of the public layer-reuse experiments with Fast-dLLM v2, in every shape it has had.

Now: task, config, accuracy, throughput, machine, commit and the arguments that were written on the command line. Until
November 2025: task, tag, totals and `accuracy_flexible`; and `runtime_metrics_*.json`, totals alone. Each file is one
run without samples. What was not written on the command line is not in the file, and hence not in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from ....core.records.schema import Environment, Run, Totals
from ....core.sdk.logs.fields import Fields, flat
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.runs import bare_run
from ....core.sdk.logs.structure import first_object, holds

_RENAMED = {"bd_size": "block_length"}
_NOT_OPTIONS = (
    "model_path", "show_speed", "experiment_name", "max_new_tokens", "batch_size", "device", "use_block_cache",
)  # fmt: skip
_TOLD = ("task", "config", "timestamp", "accuracy", "model_args", "resolved_args")
_KNOWN = {
    "throughput": ("tokens_generated", "total_time_s", "tokens_per_s"),
    "gpu_info": ("gpu_available", "gpu_name", "cuda_version", "driver_version"),
    "git": ("commit",),
    "environment": ("python_version", "torch_version", "hostname"),
    "eval_params": ("batch_size", "limit"),
}
"""Of each object of the file, what a field of the record is for."""
_TOTALS = {"tokens_generated", "total_time_s", "tokens_per_s"}
_OLDER = ("task", "tag", "timestamp", "accuracy_flexible", "tokens_generated", "total_time_s", "tokens_per_s")
_TIMESTAMP = re.compile(r"(\d{4})(\d{2})(\d{2})[_-](\d{2})(\d{2})(\d{2})")


class Summary(JsonFormat):
    """Reads one run per file."""

    name = "fast-dllm-summary"
    summary = "summary.json of Fast-dLLM v2 experiments, and their older runtime_metrics_*.json"
    version = "2"
    keys = ("task",)
    either = (("config", "accuracy", "throughput", "model_args"), ("tag", "tokens_generated", "total_time_s"))

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the keys of one of the shapes."""
        is_totals = holds(path, head, *_TOTALS) and first_object(path).keys() <= _TOTALS
        return is_totals or super().matches(path, head)

    def records(self, run_id: str, content: Fields) -> Iterator[Run]:
        """Yield the run.

        Raises:
            RawLogError: the file is cut, or a value is of the wrong kind; names the field.
        """
        yield _current(run_id, content) if content.has("model_args") else _older(run_id, content)


def _current(run_id: str, content: Fields) -> Run:
    arguments, evaluation = content.inner("model_args"), content.inner("eval_params")
    told = {name: arguments.scalar(name) for name in arguments.content}
    # A limit below 1 is a share of the task's problems: their number is not in the file.
    limit = evaluation.optional(evaluation.number, "limit")
    options = _options(told)
    return bare_run(
        run_id,
        "fast-dllm",
        kind="diffusion",
        options=options,
        changed_options=tuple(sorted(options)),
        model=str(told.get("model_path") or "unknown"),
        task=content.text("task"),
        started_at=_started(content),
        samples=int(limit) if limit is not None and limit >= 1 else None,
        max_new_tokens=_count(told.get("max_new_tokens")),
        batch_size=_count(evaluation.optional(evaluation.scalar, "batch_size")),
        device=_device(content.inner("gpu_info")),
        environment=_environment(content),
        settings={"published_config": content.text("config")} | _groups(content),
        conditions=_conditions(content),
        extra=_extra(content),
        totals=_totals(content.inner("throughput"), content, "accuracy"),
        notes=("options that were not written on the command line are not in the file: they are not known",),
    )


def _device(gpu: Fields) -> str:
    if gpu.content.get("gpu_available") is not True:
        return "unknown"
    return f"cuda:{gpu.count('cuda_device')}" if gpu.has("cuda_device") else "cuda"


def _older(run_id: str, content: Fields) -> Run:
    tag = content.text("tag") if content.has("task") else None
    return bare_run(
        run_id,
        "fast-dllm",
        kind="diffusion",
        task=content.optional(content.text, "task"),
        started_at=_started(content),
        settings={"published_config": tag} if tag is not None else {},
        conditions={"config": tag} if tag is not None else {},
        extra=content.beyond(*_OLDER),
        totals=_totals(content, content, "accuracy_flexible"),
        notes=("an older shape of summary.json: model, options and machine are not in the file",),
    )


def _options(told: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the arguments by the backend's own names."""
    options = {_RENAMED.get(name, name): value for name, value in told.items() if name not in _NOT_OPTIONS}
    if "use_block_cache" in told:
        options["cache"] = "sub-block" if told["use_block_cache"] else "block"
    if told.get("layer_subset") is not None:
        options["reuse"] = "published"
    return options


def _count(value: JsonValue) -> int | None:
    text = str(value)
    return int(text) if re.fullmatch("[1-9][0-9]{0,8}", text) else None


def _totals(figures: Fields, content: Fields, accuracy: str) -> Totals | None:
    """Return what the file has of the figures; a task that generates nothing has accuracy alone."""
    tokens = figures.optional(figures.count, "tokens_generated")
    seconds, rate = (figures.optional(figures.number, name) for name in ("total_time_s", "tokens_per_s"))
    share = content.optional(content.number, accuracy)
    if share is not None and share > 1:
        raise content.fail(accuracy, f"{share} is not a share from 0 to 1")
    if (tokens, seconds, rate, share) == (None,) * 4:
        return None
    return Totals(output_tokens=tokens, wall_s=seconds or None, tokens_per_s=rate, accuracy=share)


def _started(content: Fields) -> str:
    if content.content.get("timestamp") in (None, "", "_"):  # a run whose log told no time, exported
        return ""
    found = _TIMESTAMP.fullmatch(content.text("timestamp"))
    if found is None:
        raise content.fail("timestamp", "no date and time such as 20260119_220043")
    year, month, day, hour, minute, second = found.groups()
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}"


def _environment(content: Fields) -> Environment:
    gpu, software, git = (content.inner(name) for name in ("gpu_info", "environment", "git"))
    versions = {"torch": software.content.get("torch_version"), "cuda": gpu.content.get("cuda_version")}
    name = gpu.content.get("gpu_name")
    return Environment(
        hostname=software.optional(software.text, "hostname"),
        python=software.optional(software.text, "python_version"),
        gpu=(name,) if isinstance(name, str) else (),
        gpu_driver=gpu.optional(gpu.text, "driver_version"),
        packages={name: value for name, value in versions.items() if isinstance(value, str)},
        git_commit=git.optional(git.text, "commit"),
    )


def _conditions(content: Fields) -> dict[str, JsonValue]:
    """Return what the figures depend on beside the options: configuration, shots, checkout, batch and share."""
    git, evaluation = content.inner("git"), content.inner("eval_params")
    found = flat(git.beyond("commit"), "git_") | flat(evaluation.beyond())
    return {"config": content.text("config"), **found}


def _extra(content: Fields) -> dict[str, JsonValue]:
    """Return what no field is for, by the object that it is in: shots, memory of the GPU, job, parts of a group."""
    parts = {name: content.inner(name).beyond(*known) for name, known in _KNOWN.items() if content.has(name)}
    return {**content.beyond(*_KNOWN, *_TOLD), **{name: part for name, part in parts.items() if part}}


def _groups(content: Fields) -> dict[str, str]:
    """Return the accuracy of each part of a task that is a group."""
    groups = content.at("group_results").content
    found = {name: part.get("acc,none") for name, part in groups.items() if isinstance(part, dict)}
    return {f"published_accuracy_{name}": repr(value) for name, value in found.items() if isinstance(value, float)}
