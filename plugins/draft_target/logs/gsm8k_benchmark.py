"""`gsm8k_benchmark_<time>.json` of a public draft/target prototype: one object with config, summary and results.

A row of `results` has sums over its speculation rounds, no single round. Rates and averages are not read: they are
computed. What a newer or another program adds is kept, and written back by the exporter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from ....core.records.engine_counters import EngineCounters
from ....core.records.schema import RecordedSampling, Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, Fields, flat
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.runs import bare_run

CONFIG_KEYS = ("draft_model", "target_model", "num_samples", "max_tokens", "temperature")
SUMMARY_KEYS = (
    "avg_acceptance_rate", "avg_speed", "avg_time_per_question", "total_tokens", "total_draft_generated",
    "total_draft_accepted", "total_time", "num_questions",
)  # fmt: skip
RESULT_KEYS = (
    "question_num", "question", "expected_answer", "generated_text", "total_tokens", "draft_generated",
    "draft_accepted", "acceptance_rate", "speculation_rounds", "generation_time_ms", "wall_time_seconds",
    "tokens_per_sec",
)  # fmt: skip
_OPTIONS = {"num_candidates": "num_candidates", "candidate_temperature": "candidate_temperature"}
_OPTIONS |= {"candidate_top_p": "candidate_top_p", "optimistic_prefill": "optimistic"}
_TIME = re.compile(r"_(\d{9,11})\.json$")


class Gsm8kBenchmark(JsonFormat):
    """Reads one run per file."""

    name = "gsm8k-benchmark"
    summary = "gsm8k_benchmark_*.json of a draft/target prototype"
    version = "2"
    keys = ("config", "draft_model", "target_model", "summary", "results")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield the run and a sample per question.

        Raises:
            RawLogError: the file is cut, or a value is missing or of the wrong kind; names the field.
        """
        samples = [_sample(run_id, index, row) for index, row in enumerate(content.rows("results"))]
        yield _run(run_id, content, content.inner("config"), samples)
        yield from samples


def _run(run_id: str, content: Fields, config: Fields, samples: list[Sample]) -> Run:
    failed = [sample for sample in samples if sample.status == "failed"]
    is_lost = bool(samples) and len(failed) == len(samples)
    temperature = config.number("temperature")
    options: dict[str, JsonValue] = {"draft": config.text("draft_model")}
    options |= {ours: config.anything(theirs) for theirs, ours in _OPTIONS.items() if config.has(theirs)}
    return bare_run(
        run_id,
        "draft-target",
        started_at=_started(content.path),
        kind="speculative",
        model=config.text("target_model"),
        options=options,
        changed_options=tuple(sorted(options)),
        task=str(config.content.get("dataset") or "gsm8k"),
        samples=config.optional(config.count, "num_samples"),
        max_new_tokens=config.count("max_tokens", least=1, most=MOST_TOKENS),
        sampling=RecordedSampling(temperature=temperature),
        failure=f"all {len(samples)} questions failed: {failed[0].reason}" if is_lost else None,
        settings={"draft": config.text("draft_model")},
        conditions=flat(config.beyond(*CONFIG_KEYS, *_OPTIONS, "dataset")),
        extra=_extra(content, config),
        notes=(
            "the target is the name that was given to the benchmark; it was not asked of the server",
            "rule, draft length, seed, server and machine are not in the file",
            *([f"{len(failed)} questions failed"] if failed and not is_lost else []),
        ),
    )


def _sample(run_id: str, index: int, row: Fields) -> Sample:
    drafted, accepted = row.count("draft_generated", most=MOST_TOKENS), row.count("draft_accepted", most=MOST_TOKENS)
    if accepted > drafted:
        raise row.fail("draft_accepted", f"{accepted} accepted of {drafted} drafted")
    tokens = row.count("total_tokens", most=MOST_TOKENS)
    is_lost = tokens == 0 and drafted > 0
    counters = EngineCounters(
        speculation_rounds=row.count("speculation_rounds", most=MOST_TOKENS),
        draft_tokens=drafted,
        accepted_draft_tokens=accepted,
        own={"published_wall_s": row.number("wall_time_seconds")} if row.has("wall_time_seconds") else {},
    )
    answer = "expected_answer" if row.has("expected_answer") else "canonical_solution"
    return Sample(
        run_id=run_id,
        index=index,
        sample_id=f"question-{row.count('question_num', least=1)}" if row.has("question_num") else row.text("task_id"),
        prompt=row.text("question" if row.has("question") else "prompt"),
        output_tokens=tokens,
        text=row.text("generated_text"),
        duration_s=row.milliseconds("generation_time_ms"),
        reference=row.optional(row.text, answer),
        status="failed" if is_lost else "ok",
        reason=f"{drafted} tokens were drafted and none came out: the call failed and was recorded as a success"
        if is_lost
        else None,
        engine=counters.figures(),
        extra=row.beyond(*RESULT_KEYS),
    )


def _started(path: Path) -> str:
    """Return the time in the file's name, which is when the file was written."""
    found = _TIME.search(path.name)
    return datetime.fromtimestamp(int(found[1]), UTC).isoformat() if found else ""


def _extra(content: Fields, config: Fields) -> dict[str, JsonValue]:
    """Return what no field is for, by the object that it is in; that of a result is with its sample."""
    found: dict[str, JsonValue] = {
        **content.beyond("config", "summary", "results"),
        "config": config.beyond(*CONFIG_KEYS),
        "summary": content.at("summary").beyond(*SUMMARY_KEYS),
    }
    return {name: value for name, value in found.items() if value}
