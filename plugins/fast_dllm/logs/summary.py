"""`summary.json` of the public layer-reuse experiments with Fast-dLLM v2, in every shape it has had.

Now: task, config, accuracy, throughput, machine, commit and the arguments that were written on the command line. Until
November 2025: task, tag, totals and `accuracy_flexible`; and `runtime_metrics_*.json`, totals alone. Each file is one
run without samples. What was not written on the command line had the defaults of the harness; they are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Environment, Run, Totals
from ....core.sdk.logs.fields import Fields, check_plain
from ....core.sdk.logs.json_files import is_object_with, read_object
from ....core.sdk.logs.runs import bare_run
from ....core.sdk.logs.text import head_text

_DEFAULTS: dict[str, JsonValue] = {
    "threshold": 0.9,
    "small_block_size": 8,
    "bd_size": 32,
    "reuse_k": 1,
    "use_block_cache": False,
}
_MAX_NEW_TOKENS = 2048
_RENAMED = {"bd_size": "block_length"}
_NOT_OPTIONS = (
    "model_path", "show_speed", "experiment_name", "max_new_tokens", "batch_size", "device", "use_block_cache",
)  # fmt: skip
_TIMESTAMP = re.compile(r"(\d{4})(\d{2})(\d{2})[_-](\d{2})(\d{2})(\d{2})")


class Summary(LogParser):
    """Reads one run per file."""

    name: ClassVar[str] = "fast-dllm-summary"
    summary: ClassVar[str] = "summary.json of Fast-dLLM v2 experiments, and their older runtime_metrics_*.json"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the keys of one of the shapes."""
        return (
            is_object_with(head, "task", "config", "accuracy", "throughput", "model_args")
            or is_object_with(head, "task", "tag", "tokens_generated", "total_time_s")
            or _is_runtime_metrics(head)
        )

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the run.

        Raises:
            RawLogError: the file is cut, or a value is of the wrong kind; names the field.
        """
        content, digest = read_object(path)
        check_plain(content)
        run_id = f"sha256-{digest}"
        yield _current(run_id, content) if content.has("model_args") else _older(run_id, content)


def _is_runtime_metrics(head: bytes) -> bool:
    text = head_text(head).strip()
    keys = set(re.findall(r'"(\w+)"\s*:', text))
    return text.startswith("{") and keys == {"tokens_generated", "total_time_s", "tokens_per_s"}


def _current(run_id: str, content: Fields) -> Run:
    arguments, evaluation = content.inner("model_args"), content.inner("eval_params")
    told = {name: arguments.scalar(name) for name in arguments.content}
    batch = evaluation.scalar("batch_size") if evaluation.has("batch_size") else None
    # A limit below 1 is a share of the task's problems: their number is not in the file.
    limit = evaluation.number("limit") if evaluation.has("limit") else 0
    settings = {"published_config": content.text("config")} | _git(content) | _groups(content)
    return bare_run(
        run_id,
        "fast-dllm",
        kind="diffusion",
        options=_options(told),
        changed_options=tuple(sorted(_options(told, only_told=True))),
        model=str(told.get("model_path") or "unknown"),
        task=content.text("task"),
        started_at=_started(content),
        samples=int(limit) if limit >= 1 else 0,
        max_new_tokens=_count(told.get("max_new_tokens"), _MAX_NEW_TOKENS),
        batch_size=_count(batch, 1),
        device="cuda:0" if content.inner("gpu_info").content.get("gpu_available") is True else "unknown",
        environment=_environment(content),
        settings=settings,
        totals=_totals(content.inner("throughput"), content, "accuracy"),
        notes=("options that were not written on the command line hold the harness's defaults",),
    )


def _older(run_id: str, content: Fields) -> Run:
    has_task = content.has("task")
    return bare_run(
        run_id,
        "fast-dllm",
        kind="diffusion",
        task=content.text("task") if has_task else None,
        started_at=_started(content),
        settings={"published_config": content.text("tag")} if has_task else {},
        totals=_totals(content, content, "accuracy_flexible"),
        notes=("an older shape of summary.json: model, options and machine are not in the file",),
    )


def _options(told: dict[str, JsonValue], *, only_told: bool = False) -> dict[str, JsonValue]:
    """Return the arguments by the backend's own names."""
    full = told if only_told else _DEFAULTS | told
    options = {_RENAMED.get(name, name): value for name, value in full.items() if name not in _NOT_OPTIONS}
    if "use_block_cache" in full:
        options["cache"] = "sub-block" if full["use_block_cache"] else "block"
    if not only_told:
        options["reuse"] = "published" if told.get("layer_subset") is not None else "none"
    return options


def _count(value: JsonValue, default: int) -> int:
    text = str(value)
    return int(text) if re.fullmatch("[1-9][0-9]{0,8}", text) else default


def _totals(figures: Fields, content: Fields, accuracy: str) -> Totals | None:
    """Return what the file has of the figures; a task that generates nothing has accuracy alone."""
    tokens = figures.count("tokens_generated") if figures.has("tokens_generated") else None
    seconds = figures.number("total_time_s") if figures.has("total_time_s") else None
    rate = figures.number("tokens_per_s") if figures.has("tokens_per_s") else None
    share = content.number(accuracy) if content.has(accuracy) else None
    if share is not None and share > 1:
        raise content.fail(accuracy, f"{share} is no share from 0 to 1")
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
    gpu, software = content.inner("gpu_info"), content.inner("environment")
    versions = {"torch": software.content.get("torch_version"), "cuda": gpu.content.get("cuda_version")}
    name = gpu.content.get("gpu_name")
    return Environment(
        hostname=_text(software, "hostname"),
        python=_text(software, "python_version"),
        gpu=(name,) if isinstance(name, str) else (),
        gpu_driver=_text(gpu, "driver_version"),
        packages={name: value for name, value in versions.items() if isinstance(value, str)},
        git_commit=_text(content.inner("git"), "commit"),
    )


def _text(fields: Fields, name: str) -> str | None:
    return fields.text(name) if fields.has(name) else None


def _git(content: Fields) -> dict[str, str]:
    git = content.inner("git").content
    return {f"published_git_{name}": str(git[name]) for name in ("branch", "dirty") if git.get(name) is not None}


def _groups(content: Fields) -> dict[str, str]:
    """Return the accuracy of each part of a task that is a group."""
    if not content.has("group_results"):
        return {}
    groups: Mapping[str, Any] = content.inner("group_results").content
    found = {name: part.get("acc,none") for name, part in groups.items() if isinstance(part, dict)}
    return {f"published_accuracy_{name}": repr(value) for name, value in found.items() if isinstance(value, float)}
