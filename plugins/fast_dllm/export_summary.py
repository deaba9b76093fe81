"""Runs as `summary.json` of the public layer-reuse experiments, with every default written out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import UsageError, own_path_part, write_whole
from ...core.contract.exporter import Exporter
from ...core.records.store import Store
from .options import DEFAULT_THRESHOLD

_SQL = """
SELECT m.*, t.raw_tokens, t.visible_tokens, t.seconds, t.counted FROM run_metrics m LEFT JOIN (
    SELECT run_id, sum((engine->>'raw_canvas_tokens')::DOUBLE)::BIGINT AS raw_tokens,
        sum(output_tokens)::BIGINT AS visible_tokens, sum(seconds) AS seconds,
        count(*) FILTER (WHERE (engine->>'raw_canvas_tokens') IS NULL) = 0 AS counted
    FROM (
        SELECT *, coalesce(batch_s, duration_s) / count(*) OVER (PARTITION BY run_id, coalesce(batch, -1 - "index"))
            AS seconds
        FROM samples WHERE status = 'ok' AND NOT is_warmup
    ) GROUP BY run_id
) t ON t.run_id = m.run_id
WHERE m.backend = 'fast-dllm' AND m.status = 'ok' AND m.experiment = coalesce($experiment, m.experiment)
ORDER BY m.experiment, m.cell_id, m.round
"""
_JSON = ("options", "settings", "environment", "totals", "conditions", "extra")
_BLOCK_CACHE = {"sub-block": True, "block": False}
_NO_TASK = "fixed-length"
_WITHIN = ("throughput", "gpu_info", "git", "environment", "eval_params")
"""Objects of the file that may have keys of their own in ``Run.extra``."""


def write(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write ``<task>/<config>/summary.json`` for every finished run.

    ``tokens_generated`` counts as the published scripts do, whole blocks included, where the run tells that;
    ``resolved_args`` says which count it is and holds the visible one, and every option with its value.

    Raises:
        UsageError: there is no finished round of the backend.
    """
    rows = store.dicts(_SQL, {"experiment": experiment})
    if not rows:
        raise UsageError("no finished round of backend 'fast-dllm' to write", code="no-results")
    used: dict[str, int] = {}
    written = []
    for row in rows:
        row = {**row, **{key: json.loads(row[key] or "{}") for key in _JSON}}
        config = _config(row)
        place = f"{own_path_part(row['task'] or _NO_TASK)}/{own_path_part(config)}"
        used[place] = used.get(place, 0) + 1
        target = folder / (place if used[place] == 1 else f"{place}_{used[place]}") / "summary.json"
        written.append(write_whole(target, json.dumps(summary(row, config), indent=2)))
    return written


def summary(row: Mapping[str, Any], config: str) -> dict[str, Any]:
    """Return one run in the published keys and their order.

    Args:
        row: of ``run_metrics`` with the sums of its samples; JSON columns as objects.
        config: name of the configuration.
    """
    environment, extra = row["environment"], row["extra"]
    gpus = environment.get("gpu") or []
    return {
        "task": row["task"] or _NO_TASK,
        "config": config,
        "timestamp": _timestamp(row["started_at"]),
        "accuracy": row["accuracy"],
        "throughput": {**_throughput(row), **extra.get("throughput", {})},
        "gpu_info": {
            "gpu_available": bool(gpus),
            "gpu_name": gpus[0] if gpus else None,
            "cuda_version": (environment.get("packages") or {}).get("cuda"),
            "driver_version": environment.get("gpu_driver"),
            **extra.get("gpu_info", {}),
        },
        "git": {"commit": environment.get("git_commit"), "branch": None, "dirty": None, **extra.get("git", {})},
        "environment": {
            "python_version": environment.get("python"),
            "torch_version": (environment.get("packages") or {}).get("torch"),
            "hostname": environment.get("hostname"),
            **extra.get("environment", {}),
        },
        "model_args": _arguments(row),
        **{name: value for name, value in extra.items() if name not in _WITHIN},
        "eval_params": {
            "num_fewshot": None,
            "batch_size": None if row["batch_size"] is None else str(row["batch_size"]),
            "limit": row["samples"] or row["conditions"].get("limit"),
            **extra.get("eval_params", {}),
        },
        "resolved_args": {
            **_resolved(row),
            "max_new_tokens": row["max_new_tokens"],
            "tokens_counted": "as published" if row["counted"] or row["totals"] else "visible",
            "visible_tokens": row["visible_tokens"],
        },
    }


def _throughput(row: Mapping[str, Any]) -> dict[str, Any]:
    totals = row["totals"]
    tokens = totals.get("output_tokens") if totals else row["raw_tokens"] if row["counted"] else row["visible_tokens"]
    seconds = totals.get("wall_s") if totals else row["seconds"]
    if tokens is None or not seconds:
        return {}
    return {
        "tokens_generated": tokens,
        "total_time_s": round(seconds, 2),
        "tokens_per_s": round(tokens / seconds, 2),
    }


def _arguments(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the published command line knows, by its names."""
    options = _resolved(row)
    known = {name: options.get(name) for name in ("threshold", "small_block_size", "reuse_k", "layer_subset")}
    cache = options.get("cache")
    known |= {"bd_size": options.get("block_length"), "use_block_cache": _BLOCK_CACHE.get(str(cache))}
    arguments = {name: value for name, value in known.items() if value is not None}
    limit = {} if row["max_new_tokens"] is None else {"max_new_tokens": row["max_new_tokens"]}
    return {"model_path": row["model"], **arguments, **limit}


def _resolved(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with what the backend chose where none was asked for."""
    options = dict(row["options"])
    if row["source_format"] != "decodebench":
        return options
    options["block_length"] = options.get("block_length") or _number(row["settings"].get("block_length"))
    if row["settings"].get("variant") == "v2":
        options["cache"] = options.get("cache") or "block"
        options["small_block_size"] = options.get("small_block_size") or min(8, options["block_length"] or 8)
    if options.get("threshold") is None and not (options.get("factor") or options.get("steps")):
        options["threshold"] = DEFAULT_THRESHOLD
    return options


def _number(text: str | None) -> int | None:
    return int(text) if text is not None else None


def _config(row: Mapping[str, Any]) -> str:
    told = row["settings"].get("published_config")
    if told:
        return str(told)
    options = row["options"]
    if options.get("layer_subset"):
        return f"k{options.get('reuse_k', 1)}_{options['layer_subset']}"
    changed = [f"{name}{options.get(name)}" for name in row["changed_options"] or ()]
    return "_".join(changed) or "default"


def _timestamp(started_at: str) -> str:
    digits = re.sub(r"\D", "", started_at)
    return f"{digits[:8]}_{digits[8:14]}"


EXPORTER = Exporter("fast-dllm-summary", "summary.json per run, as the public Fast-dLLM experiments write it", write)
