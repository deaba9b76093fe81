"""Runs as `gsm8k_benchmark_<time>.json`: config, summary and a row per question, in the published keys and order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from ... import UsageError, write_whole
from ...core.contract.exporter import Exporter
from ...core.records.engine_counters import EngineCounters
from ...core.records.store import Store

_RUNS = """
SELECT * FROM runs WHERE backend = 'draft-target' AND status = 'ok' AND experiment = coalesce($experiment, experiment)
ORDER BY experiment, cell_id, round
"""
_SAMPLES = """
SELECT s.*, f.t_last_s, f.cycles, c.rounds, c.drafted, c.accepted
FROM samples s LEFT JOIN sample_facts f ON f.run_id = s.run_id AND f.sample = s."index"
LEFT JOIN (
    SELECT run_id, sample, count(*) AS rounds, sum(drafted)::BIGINT AS drafted, sum(accepted)::BIGINT AS accepted
    FROM steps WHERE drafted IS NOT NULL GROUP BY run_id, sample
) c ON c.run_id = s.run_id AND c.sample = s."index"
WHERE s.run_id = $run AND s.status = 'ok' AND NOT s.is_warmup ORDER BY s."index"
"""


def write(store: Store, experiment: str | None, folder: Path) -> list[Path]:
    """Write a file per finished run.

    Raises:
        UsageError: there is no finished round of the backend.
    """
    runs = store.dicts(_RUNS, {"experiment": experiment})
    if not runs:
        raise UsageError("no finished round of backend 'draft-target' to write", code="no-results")
    written: list[Path] = []
    for run in runs:
        run = {**run, **{name: json.loads(run[name] or "{}") for name in ("options", "settings", "sampling", "extra")}}
        content = benchmark(run, store.dicts(_SAMPLES, {"run": run["run_id"]}))
        path = _free(folder, _seconds(run["started_at"]), written)
        written.append(write_whole(path, json.dumps(content, indent=2, ensure_ascii=False)))
    return written


def benchmark(run: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one run in the published keys.

    Args:
        run: its row, JSON columns as objects.
        samples: its measured samples with ``t_last_s``, ``rounds``, ``drafted`` and ``accepted``.
    """
    extra = dict(run["extra"])
    of_config, of_summary = extra.pop("config", {}), extra.pop("summary", {})
    rows = [{**_row(sample, run["warmup"] or 0), **json.loads(sample["extra"] or "{}")} for sample in samples]
    config = {
        "draft_model": run["settings"].get("draft") or run["options"].get("draft") or run["options"].get("drafter"),
        "target_model": run["model"],
        "num_samples": run["samples"],
        "max_tokens": run["max_new_tokens"],
        "temperature": run["sampling"]["temperature"],
    }
    own = {"options": run["options"]} if run["source_format"] == "decodebench" else {}
    return {
        "config": config | own | of_config,
        "summary": _summary(rows) | of_summary,
        "results": rows,
        **extra,
    }


def _row(sample: Mapping[str, Any], warmup: int) -> dict[str, Any]:
    engine = EngineCounters.of(json.loads(sample["engine"] or "{}"))
    seconds = sample["t_last_s"] or sample["duration_s"] or 0.0

    def known(counted: int | None, summed: int | None) -> int:
        return counted if counted is not None else summed or 0

    drafted = known(sample["drafted"], engine.draft_tokens)
    accepted = known(sample["accepted"], engine.accepted_draft_tokens)
    return {
        "question_num": sample["index"] + 1 - warmup,
        "question": sample["prompt"],
        "expected_answer": sample["reference"],
        "generated_text": sample["text"],
        "total_tokens": sample["output_tokens"],
        "draft_generated": drafted,
        "draft_accepted": accepted,
        "acceptance_rate": accepted / drafted if drafted else None,
        "speculation_rounds": known(sample["rounds"], engine.speculation_rounds),
        "generation_time_ms": 1e3 * seconds,
        "wall_time_seconds": engine.own.get("published_wall_s", seconds),
        "tokens_per_sec": sample["output_tokens"] / seconds if seconds else 0.0,
    }


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rates = [row["acceptance_rate"] for row in rows if row["acceptance_rate"] is not None]
    return {
        "avg_acceptance_rate": fmean(rates) if rates else None,
        "avg_speed": fmean(row["tokens_per_sec"] for row in rows) if rows else None,
        "avg_time_per_question": fmean(row["generation_time_ms"] / 1e3 for row in rows) if rows else None,
        "total_tokens": sum(row["total_tokens"] for row in rows),
        "total_draft_generated": sum(row["draft_generated"] for row in rows),
        "total_draft_accepted": sum(row["draft_accepted"] for row in rows),
        "total_time": sum(row["wall_time_seconds"] for row in rows),
        "num_questions": len(rows),
    }


def _seconds(started_at: str) -> int:
    try:
        return int(datetime.fromisoformat(started_at).timestamp())
    except ValueError:  # an imported log that told no time
        return 0


def _free(folder: Path, seconds: int, written: Sequence[Path]) -> Path:
    """Return a name that no other run of this export has."""
    while (path := folder / f"gsm8k_benchmark_{seconds}.json") in written:
        seconds += 1
    return path


EXPORTER = Exporter("gsm8k-benchmark", "gsm8k_benchmark_*.json per run, as a draft/target prototype writes it", write)
