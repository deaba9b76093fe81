"""A Benchmark Report of llm-d per run: `benchmark_report_<run>.yaml`, version 0.2.

The published schema is that of llm-d/llm-d-benchmark (8bc9f1d),
`llmdbenchmark/analysis/benchmark_report/schema_v0_2.py`, `schema_v0_2_components.py` and `base.py` (units). It is
made for servers: what an engine in a process has and it has no place for (quantisation, tau, accuracy, ...) stands in
the generic component and under `results.profiling.decodebench`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...core.contract.exporter import Exporter
from ...core.contract.hookspecs import hookimpl
from ...core.errors import UsageError
from ...core.files import write_whole
from ...core.records.metrics import METRICS
from ...core.records.store import Store
from ..statistics.noise import percentile

REPORT_VERSION = "0.2"

Json = dict[str, Any]

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_LATENCIES = {
    "time_to_first_token": ("ttft_s", "s"),
    "time_per_output_token": ("tpot_s", "s/token"),
    "inter_token_latency": ("itl_s", "s/token"),
    "request_latency": ("e2e_s", "s"),
}
_RUNS = """
SELECT * FROM run_metrics WHERE status = 'ok' AND experiment = coalesce($experiment, experiment)
ORDER BY experiment, cell_id, round, run_id
"""
_SAMPLES = 'SELECT * FROM sample_metrics WHERE run_id = ? AND NOT is_warmup ORDER BY "index"'


def export_llm_d(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write a report for every finished run.

    Raises:
        UsageError: there is no finished run, or PyYAML is not installed.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        advice = "pip install 'decodebench[llm-d]'"
        raise UsageError(
            f"llm-d's reports need PyYAML, which is not installed: {advice}", code="package-missing"
        ) from error

    runs = store.dicts(_RUNS, {"experiment": experiment})
    if not runs:
        raise UsageError("no finished run to report", code="no-results")
    written = []
    for run in runs:
        report = _report(run, store.dicts(_SAMPLES, [run["run_id"]]))
        name = re.sub(r"[^A-Za-z0-9_-]", "_", run["run_id"])
        text = yaml.safe_dump(report, sort_keys=False, allow_unicode=True)
        written.append(write_whole(folder / f"benchmark_report_{name}.yaml", text))
    return written


def _report(run: Json, samples: Sequence[Json]) -> Json:
    totals = json.loads(run["totals"]) if run["totals"] else {}
    told = {"time": _time(run), "user": json.loads(run["environment"] or "{}").get("username")}
    return {
        "version": REPORT_VERSION,
        "run": {"uid": run["run_id"], "eid": run["experiment"], **_known(told)},
        "scenario": {"stack": [_component(run)], **_load(run, samples)},
        "results": {
            "request_performance": {"aggregate": _aggregate(run, samples, totals)},
            "profiling": {
                "decodebench": {
                    **{name: run[name] for name in METRICS if run[name] is not None},
                    **_known({name: json.loads(run[name]) for name in ("conditions", "extra")}),
                }
            },
        },
    }


def _known(values: Json) -> Json:
    return {name: value for name, value in values.items() if value}


def _time(run: Json) -> Json:
    """Return start and duration as ISO 8601, as far as they are told."""
    try:
        start: datetime | None = datetime.fromisoformat(run["started_at"])
    except ValueError:
        start = None
    wall_s = run["wall_s"]
    end = start + timedelta(seconds=wall_s) if start is not None and wall_s is not None else None
    return _known(
        {
            "start": start.isoformat() if start else None,
            "end": end.isoformat() if end else None,
            "duration": f"PT{wall_s:.6f}S" if wall_s is not None else None,
        }
    )


def _component(run: Json) -> Json:
    """Return the engine as a generic component: the schema's own for engines asks for accelerators and a role."""
    options = json.loads(run["options"])
    about = {name: run[name] for name in ("model", "quantisation", "bits_per_weight", "device", "size", "hostname")}
    return {
        "metadata": {"label": run["backend"], "cfg_id": run["cell_id"]},
        "standardized": {
            "kind": "generic",
            "tool": run["backend"],
            "tool_version": run["backend_version"] or "unknown",
            **{name: value for name, value in about.items() if value is not None},
        },
        "native": {"args": options},
    }


def _load(run: Json, samples: Sequence[Json]) -> Json:
    """Return the workload; the schema has none without prompt lengths."""
    lengths = [sample["prompt_tokens"] for sample in samples if sample["prompt_tokens"] is not None]
    if not lengths:
        return {}
    is_own = run["source_format"] == "decodebench"
    settings = {name: run[name] for name in ("task", "seed", "samples", "warmup", "max_new_tokens", "depth")}
    native = {name: value for name, value in settings.items() if value is not None}
    digest = hashlib.sha256(json.dumps(native, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "load": {
            "metadata": {"cfg_id": digest},
            "standardized": {
                "tool": "decodebench" if is_own else run["source_format"],
                "tool_version": version("decodebench") if is_own else "unknown",
                "source": "sampled" if run["task"] else "unknown",
                "input_seq_len": _lengths(lengths),
                **({"concurrency": run["batch_size"]} if is_own else {}),
            },
            "native": {"config": native},
        }
    }


def _lengths(lengths: Sequence[int]) -> Json:
    return {
        "distribution": "fixed" if min(lengths) == max(lengths) else "other",
        "value": float(np.mean(lengths)),
        "min": min(lengths),
        "max": max(1, *lengths),
    }


def _aggregate(run: Json, samples: Sequence[Json], totals: Json) -> Json:
    done = [sample for sample in samples if sample["status"] == "ok"]
    requests = {
        "total": len(samples) or totals.get("samples") or 0,
        "failures": len(samples) - len(done) if samples else None,
        "input_length": _statistics(done, "prompt_tokens", "count"),
        "output_length": _statistics(done, "output_tokens", "count"),
    }
    latency = {name: _statistics(done, figure, unit) for name, (figure, unit) in _LATENCIES.items()}
    found = {"latency": _told(latency), "throughput": dict(_throughput(run, done, totals))}
    return {"requests": _told(requests), **_known(found)}


def _told(values: Json) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def _statistics(samples: Sequence[Json], name: str, units: str) -> Json | None:
    """Return mean, sample deviation, range, and the percentiles that the number of samples supports."""
    values = [float(sample[name]) for sample in samples if sample[name] is not None]
    if not values:
        return None
    spread = {"stddev": float(np.std(values, ddof=1))} if len(values) > 1 else {}
    shares = {label: percentile(values, q).value for label, q in _PERCENTILES.items()}
    return {
        "units": units,
        "mean": float(np.mean(values)),
        **spread,
        "min": min(values),
        **_told(shares),
        "max": max(values),
    }


def _throughput(run: Json, done: Sequence[Json], totals: Json) -> Iterator[tuple[str, Json]]:
    """Yield rates over the whole run, where its time is known."""
    wall_s = _wall_s(run, done, totals)
    if not wall_s:
        return
    count = len(done) or totals.get("samples")
    tokens = _sum(done, "output_tokens") or totals.get("output_tokens")
    prompts = _sum(done, "prompt_tokens")
    if prompts:
        yield "input_token_rate", {"units": "tokens/s", "mean": prompts / wall_s}
    if tokens:
        yield "output_token_rate", {"units": "tokens/s", "mean": tokens / wall_s}
    if count:
        yield "request_rate", {"units": "queries/s", "mean": count / wall_s}


def _sum(samples: Sequence[Json], name: str) -> int | None:
    values = [sample[name] for sample in samples]
    return sum(values) if values and None not in values else None


def _wall_s(run: Json, done: Sequence[Json], totals: Json) -> float | None:
    """Return the time of all batches; of a run of ours without batches that of its samples, one after the other."""
    if not done:
        return totals.get("wall_s")
    batches = {sample["batch"]: sample["batch_s"] for sample in done}
    if None not in batches and None not in batches.values():
        return float(sum(batches.values()))
    times = [sample["duration_s"] for sample in done]
    return float(sum(times)) if run["source_format"] == "decodebench" and None not in times else None


LLM_D = Exporter("llm-d", "Benchmark Report 0.2 of llm-d-benchmark, YAML, a file per run", export_llm_d)


@hookimpl
def decodebench_exporters() -> Sequence[Exporter]:
    """Return the format."""
    return [LLM_D]
