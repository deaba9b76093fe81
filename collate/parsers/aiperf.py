"""What AIPerf and its predecessor genai-perf write: a record per request, and the sums and means over all of them.

`profile_export.jsonl` holds `{"metadata": ..., "metrics": {"request_latency": {"value": 297.5, "unit": "ms"}, ...},
"error": null}` a line. `profile_export_aiperf.json` and `profile_export_genai_perf.json` hold `{"request_latency":
{"unit": "ms", "avg": 297.5, "p50": ...}, ..., "input_config": {...}}`. Layout as in ai-dynamo/aiperf (db4f639),
`docs/tutorials/working-with-profile-exports.md` and `aiperf/common/models/export_models.py`, and
triton-inference-server/perf_analyzer (263c5f6), `genai-perf/genai_perf/export_data/json_exporter.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedStep, Run, Sample, Totals
from ...core.sdk.logs.fields import Fields, flat
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.json_files import read_rows
from ...core.sdk.logs.runs import UNKNOWN, bare_run
from .requests import Request, check_times, gaps_note, records

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}
_LENGTHS = ("output_sequence_length", "output_token_count")  # the first counts reasoning too
_SUMS = ("total_osl", "total_output_tokens")
_PRINTED = ("time_to_first_token", "inter_token_latency", "request_latency", "output_token_throughput_per_user")
_SPECULATION = {
    "accepted_draft_tokens": ("accepted", "spec_decode_accepted_draft_tokens"),
    "draft_tokens": ("drafted", "spec_decode_draft_tokens"),
    "speculation_rounds": ("cycles", "spec_decode_steps"),
}
"""Counter -> total, and what 0.14 calls it, where the server reports it."""
_SUMS_OF_SPECULATION = {
    "cycles": "total_spec_decode_steps", "drafted": "total_draft_tokens", "accepted": "total_accepted_draft_tokens",
}  # fmt: skip
_SPAN = ("request_start_ns", "request_end_ns")
_MOST = 2**53  # whole numbers are exact below
_LOAD = ("concurrency", "request_rate")
_PLACES = re.compile(r"(?:file|path|directory|dir|prefix|model_names)$")
"""Of the configuration: names of files and folders, and what is a field of the run."""
_READ = ("input_config", "start_time")


class AiperfRecords(JsonFormat):
    """Reads one run per file, whose requests are samples."""

    name = "aiperf-records"
    summary = "profile_export.jsonl of AIPerf: a record per request"
    version = "3"
    keys = ("metadata", "metrics", "request_start_ns", "request_end_ns")

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield the run and its requests, in the order in which they were sent."""
        found = read_rows(path)
        rows = sorted(found.rows, key=lambda row: row.inner("metadata").count("request_start_ns", most=2**63 - 1))
        requests = [_request(row) for row in rows]
        span_ns = _span_ns(rows, requests)
        wall_s = (span_ns[1] - span_ns[0]) / 1e9 if span_ns else None
        run_id = f"sha256-{found.digest}"
        yield bare_run(
            run_id,
            "aiperf",
            started_at=_utc(span_ns[0]) if span_ns else "",
            warmup=_warm_ups(rows),
            cut=found.cut,
            kind="speculative" if any(request.engine for request in requests) else None,
            wall_s=wall_s,
            totals=_drafts(requests),
            notes=(
                "the records name neither model nor engine; the file beside them, profile_export_aiperf.json, has the "
                "model",
                "times are the client's: time to first token holds waiting in the server's queue",
                *gaps_note(requests),
            ),
        )
        yield from records(run_id, requests, wall_s)


def _utc(time_ns: int) -> str:
    """Return a time since 1970 as text; empty where the calendar has none such."""
    try:
        return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="microseconds")
    except (OverflowError, OSError, ValueError):
        return ""


def _drafts(requests: Sequence[Request]) -> Totals | None:
    """Return the sums of speculation; None where no request tells any."""
    told = [request.engine for request in requests if request.engine and not request.is_warmup]
    sums = {name: sum(int(one.get(counter, 0)) for one in told) for counter, (name, _) in _SPECULATION.items()}
    return Totals.model_validate(sums) if told else None


def _warm_ups(rows: Sequence[Fields]) -> int | None:
    """Return how many records are of the warm-up; None where the records do not say which phase they are of."""
    phases = [row.inner("metadata").content.get("benchmark_phase") for row in rows]
    return None if None in phases else phases.count("warmup")


def _request(row: Fields) -> Request:
    metadata = row.inner("metadata")
    is_warmup = metadata.has("benchmark_phase") and metadata.text("benchmark_phase") == "warmup"
    if row.has("error"):
        error = row.inner("error")
        kind, message = (str(error.content.get(name) or "") for name in ("type", "message"))
        return Request(None, error=": ".join(filter(None, (kind, message))) or "failed", is_warmup=is_warmup)
    metrics = row.inner("metrics")
    lengths = (tokens for name in _LENGTHS if (tokens := _tokens(metrics, name)) is not None)
    first_s, duration_s = _seconds(metrics, "time_to_first_token"), _seconds(metrics, "request_latency")
    check_times(row, "metrics.time_to_first_token", duration_s, first_s)
    return Request(
        output_tokens=next(lengths, None),
        prompt_tokens=_tokens(metrics, "input_sequence_length"),
        duration_s=duration_s,
        first_token_s=first_s,
        gaps_s=_gaps(metrics.inner("inter_chunk_latency")) if metrics.has("inter_chunk_latency") else None,
        is_warmup=is_warmup,
        engine={
            counter: tokens
            for counter, (_, name) in _SPECULATION.items()
            if (tokens := _tokens(metrics, name)) is not None
        },
    )


def _tokens(metrics: Fields, name: str) -> int | None:
    return metrics.inner(name).tokens("value") if metrics.has(name) else None


def _scale(metric: Fields) -> float:
    unit = metric.text("unit")
    if unit not in _SECONDS:
        raise metric.fail("unit", f"{unit!r} is not a known unit of time: {', '.join(_SECONDS)}")
    return _SECONDS[unit]


def _seconds(metrics: Fields, name: str, field: str = "value") -> float | None:
    if not metrics.has(name) or not metrics.inner(name).has(field):
        return None
    return metrics.inner(name).number(field) * _scale(metrics.inner(name))


def _gaps(metric: Fields) -> list[float]:
    return [gap * _scale(metric) for gap in metric.times("value")]


def _span_ns(rows: Sequence[Fields], requests: Sequence[Request]) -> tuple[int, int] | None:
    """Return the first request's start and the last one's end, of those that count; None where there is none."""
    counted = [
        row.inner("metadata")
        for row, request in zip(rows, requests, strict=True)
        if request.error is None and not request.is_warmup
    ]
    if not counted:
        return None
    starts, ends = ([row.count(name, most=2**63 - 1) for row in counted] for name in _SPAN)
    return (min(starts), max(ends)) if max(ends) > min(starts) else None


class AiperfSummary(JsonFormat):
    """Reads one run per file, without samples."""

    name = "aiperf"
    summary = "profile_export_aiperf.json of AIPerf, profile_export_genai_perf.json of genai-perf"
    version = "3"

    keys = ("request_throughput", "request_latency", "unit", "avg")
    lacks = ("metadata", "metrics")

    def records(self, run_id: str, content: Fields) -> Iterator[Run]:
        """Yield the run."""
        config = content.at("input_config")
        load = config.at("loadgen")
        totals, notes = _totals(content)
        yield bare_run(
            run_id,
            config.at("endpoint").first_text("backend", "type") or "aiperf",  # genai-perf's user names an engine
            started_at=content.optional(content.text, "start_time") or "",
            model=_model(config),
            options=_load(config),
            conditions={name: value for name, value in flat(config.content).items() if not _PLACES.search(name)},
            # none where the benchmark ended with its time
            samples=load.count("request_count") if isinstance(load.content.get("request_count"), int) else None,
            settings=_printed(content),
            extra=content.beyond(*_READ, *_PRINTED),
            totals=totals,
            notes=notes,
        )


def _model(config: Fields) -> str:
    """Read `model_names`, of genai-perf at the top and of AIPerf under `endpoint`."""
    for place in (config, config.at("endpoint")):
        names = place.content.get("model_names")
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return ", ".join(names)
    return UNKNOWN


def _load(config: Fields) -> dict[str, JsonValue]:
    """Return what the load was: of AIPerf under `loadgen`, of genai-perf the stimulus under `perf_analyzer`."""
    load = config.at("loadgen")
    told = {name: load.scalar(name) for name in _LOAD if load.has(name)}
    stimulus = config.at("perf_analyzer", "stimulus")
    return {**told, **{name: stimulus.scalar(name) for name in stimulus.content if stimulus.has(name)}}


def _value(content: Fields, name: str) -> float | None:
    return content.inner(name).optional(content.inner(name).number, "avg") if content.has(name) else None


def _whole(content: Fields, name: str) -> int | None:
    """Return a count, which the tools write as a mean with a fraction of 0."""
    value = _value(content, name)
    if value is not None and not (value < _MOST and value == int(value)):
        raise content.fail(f"{name}.avg", f"{value!r} must be an integer >= 0")
    return None if value is None else int(value)


def _totals(content: Fields) -> tuple[Totals, tuple[str, ...]]:
    """Return the sums, and what had to be computed for them."""
    notes = ["there are sums and means alone: speeds are those of all requests side by side"]
    count, rate = _whole(content, "request_count"), _value(content, "output_token_throughput")
    tokens = next((value for name in _SUMS if (value := _whole(content, name)) is not None), None)
    length = _value(content, "output_sequence_length")
    if tokens is None and count is not None and length is not None and count * length < _MOST:
        tokens = round(count * length)
        notes.append("output tokens are the mean of a request times their number")
    wall_s = _seconds(content, "benchmark_duration", "avg")
    if wall_s is None and tokens and rate and tokens / rate < _MOST:
        wall_s = tokens / rate
        notes.append("wall time follows from tokens and throughput")
    first_s, gap_s, latency_s = (_seconds(content, name, "avg") for name in _PRINTED[:3])
    prompt = _value(content, "input_sequence_length")
    totals = Totals(
        samples=count or None,
        output_tokens=tokens,
        prompt_tokens=round(count * prompt) if count and prompt and count * prompt < _MOST else None,
        wall_s=wall_s or None,
        tokens_per_s=rate,
        mean_first_token_s=first_s,
        mean_tpot_s=gap_s,
        mean_duration_s=latency_s,
        **{name: _whole(content, told) for name, told in _SUMS_OF_SPECULATION.items()},
    )
    return totals, tuple(notes)


def _printed(content: Fields) -> dict[str, str]:
    found = {}
    for name in _PRINTED:
        if (value := _value(content, name)) is not None:
            found[f"published_{name}_avg"] = f"{value!r} {content.inner(name).text('unit')}"
    return found


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of records and of sums."""
    return [AiperfRecords, AiperfSummary]
