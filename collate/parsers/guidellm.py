"""`benchmarks.json` of guidellm: a run per benchmark of its sweep, a sample per request.

Every version since 0.3 writes, for each request that it keeps, computed figures beside the raw timings; only those are
read. Layout as in vllm-project/guidellm, `src/guidellm/benchmark/schemas/` (ee7a774), and `benchmark/objects.py` of 0.4
(414febe); 0.3 names backend and model under `worker`, and the strategy under `args`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedStep, Run, Sample, Totals
from ...core.sdk.logs.fields import Fields, flat
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.runs import UNKNOWN, bare_run
from ...core.sdk.logs.structure import holds
from ...core.sdk.logs.text import head_text
from .requests import Request, check_times, records

_CUT_OFF = "incomplete: the benchmark ended before its answer"
_OF_RUN = re.compile(r"(?:\b|_)(?:id|run_id|run_index|model|kind|type_|strategy_index|start_time|path|file)_?$")
"""Names of the configuration that say which run it is, or that are a field of the run."""
_EXTRA = dict.fromkeys(
    ("run_stats", "scheduler_metrics", "scheduler_state", "warmup_duration", "cooldown_duration"), Fields.anything
)
_SUMS = ("output_token_count", "prompt_token_count")
_MEANS = ("request_latency", "time_to_first_token_ms", "inter_token_latency_ms")
_LIMITS = ("sample_size", "sample_requests", "request_samples")
"""How many requests the report was to keep at most, by version; null where all."""
_STRATEGY = dict.fromkeys(("rate", "streams", "max_concurrency"), Fields.scalar)


class Guidellm(JsonFormat):
    """Reads one run per benchmark."""

    name = "guidellm"
    summary = "benchmarks.json of guidellm"
    version = "4"
    keys = ("benchmarks",)
    either = (("metrics", "request_totals"), ("guidellm_version",))

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a benchmark's sums, or for the version that newer reports begin with."""
        return super().matches(path, head) or (
            holds(path, head, *self.keys) and '"generative_benchmark"' in head_text(head)
        )

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each benchmark's run and its requests."""
        for at, benchmark in enumerate(content.rows("benchmarks")):
            yield from _benchmark(f"{run_id}-{at}", benchmark, content)


def _benchmark(run_id: str, benchmark: Fields, report: Fields) -> Iterator[Run | Sample | RecordedStep]:
    requests = _requests(benchmark)
    wall_s = _wall_s(benchmark)
    done = sum(request.error is None and not request.is_warmup for request in requests)
    counts = _either(benchmark, ("metrics", "request_totals"), ("request_totals",))
    made = counts.optional(counts.count, "successful")
    is_whole = not (made is not None and done and made > done and _may_leave_out(benchmark))
    backend = _either(benchmark, ("config", "backend"), ("benchmarker", "backend"))
    backend = backend if backend.content else report.at("config", "spec", "backend")
    worker, args = benchmark.at("worker"), report.at("args")  # of 0.3; of 0.4 to 0.6
    kind = backend.first_text("kind", "type_") or worker.first_text("backend_type") or args.first_text("backend")
    model = backend.first_text("model") or worker.first_text("backend_model") or args.first_text("model")
    yield bare_run(
        run_id,
        kind or "guidellm",
        started_at=_utc(benchmark),
        model=model or UNKNOWN,
        options=_strategy(benchmark),
        conditions=_conditions(benchmark),
        samples=_asked(benchmark),
        extra=benchmark.read(_EXTRA),
        settings=report.at("metadata").read({"guidellm_version": Fields.text}),
        wall_s=wall_s,
        totals=_totals(benchmark, made, None if requests else wall_s) if is_whole else None,
        notes=tuple(_notes(requests, wall_s, None if is_whole else f"{done} of {made}")),
    )
    yield from records(run_id, requests, wall_s if is_whole else None)


def _asked(benchmark: Fields) -> int | None:
    """Return how many requests were asked for; None where the benchmark ended with its time, or does not say."""
    for place in (benchmark.at("config", "constraints"), benchmark.at("args")):
        for name in ("max_requests", "max_number"):
            if isinstance(place.content.get(name), int):
                return place.count(name)
    return None


def _conditions(benchmark: Fields) -> dict[str, JsonValue]:
    """Return what else the report has of how the benchmark was run."""
    found: dict[str, JsonValue] = {}
    for part in ("config", "args", "worker", "request_loader", "extras"):
        found |= flat(benchmark.at(part).content, f"{part}.")
    return {name: value for name, value in found.items() if not _OF_RUN.search(name)}


def _either(fields: Fields, *places: Sequence[str]) -> Fields:
    """Return the first of these objects that there is; versions have it in different places."""
    found = fields
    for place in places:
        found = fields.at(*place)
        if found.content:
            break
    return found


def _wall_s(benchmark: Fields) -> float | None:
    if benchmark.has("duration"):
        return benchmark.number("duration") or None
    if benchmark.has("start_time") and benchmark.has("end_time"):
        return max(0.0, benchmark.number("end_time") - benchmark.number("start_time")) or None
    return None


def _utc(benchmark: Fields) -> str:
    """Return when it began; empty where the time is none that a calendar has."""
    if not benchmark.has("start_time"):
        return ""
    try:
        return datetime.fromtimestamp(benchmark.signed("start_time"), UTC).isoformat(timespec="milliseconds")
    except (OverflowError, OSError, ValueError):
        raise benchmark.fail("start_time", "no time since 1970") from None


def _strategy(benchmark: Fields) -> dict[str, JsonValue]:
    strategy = _either(benchmark, ("config", "strategy"), ("scheduler", "strategy"), ("args", "strategy"))
    kind = strategy.content.get("type_") or strategy.content.get("kind")
    return {**({"strategy": str(kind)} if kind else {}), **strategy.read(_STRATEGY)}


def _requests(benchmark: Fields) -> list[Request]:
    by_status, measured = benchmark.at("requests"), benchmark.at("scheduler_metrics")
    found: list[tuple[float, Request]] = []
    for status in ("successful", "incomplete", "errored"):
        for row in by_status.rows(status) if by_status.has(status) else []:
            start = row.optional(row.number, "request_start_time") or 0.0
            found.append((start, replace(_request(row, status), is_warmup=_is_beside(row, measured))))
    return [request for _, request in sorted(found, key=lambda pair: pair[0])]


def _is_beside(row: Fields, measured: Fields) -> bool:
    """Whether a request ended before the measurement, or began after it; the tool's own sums are without it."""
    if not (measured.has("measure_start_time") and measured.has("measure_end_time") and row.has("request_end_time")):
        return False
    ended = row.number("request_end_time")
    began = row.number("request_start_time") if row.has("request_start_time") else ended
    return ended < measured.number("measure_start_time") or began > measured.number("measure_end_time")


def _request(row: Fields, status: str) -> Request:
    if status != "successful":
        errors = (place.content.get("error") for place in (row, row.at("info"), row.at("scheduler_info")))
        unsaid = _CUT_OFF if status == "incomplete" else "errored"
        return Request(None, error=str(next(filter(None, errors), unsaid)))
    tokens = row.optional(row.tokens, "output_tokens")
    first_s = row.optional(row.milliseconds, "time_to_first_token_ms")
    duration_s = row.optional(row.number, "request_latency")
    check_times(row, "time_to_first_token_ms", duration_s, first_s)
    gap_ms = row.optional(row.number, "inter_token_latency_ms")
    return Request(
        output_tokens=tokens,
        prompt_tokens=row.optional(row.count, "prompt_tokens"),
        duration_s=duration_s,
        first_token_s=first_s,
        decode_s=None if gap_ms is None or tokens is None else gap_ms * (tokens - 1) / 1e3,
    )


def _may_leave_out(benchmark: Fields) -> bool:
    """Whether requests that were made need not be in the report: not where it says that it keeps all of them."""
    places = (benchmark.at("config"), benchmark.at("args"), benchmark)
    limits = [place.anything(name) for place in places for name in _LIMITS if name in place.content]
    return not limits or any(limits)


def _totals(benchmark: Fields, made: int | None, wall_s: float | None) -> Totals:
    """Return the printed sums and means; without a time, beside requests, they are there to be checked."""
    metrics = {name: benchmark.at("metrics", name, "successful") for name in _SUMS + _MEANS}
    tokens, prompts = (_whole(metrics[name]) for name in _SUMS)
    latency, first, gap = (metrics[name] for name in _MEANS)
    return Totals(
        samples=made or None,
        output_tokens=tokens,
        prompt_tokens=prompts,
        wall_s=wall_s,
        mean_duration_s=latency.optional(latency.number, "mean") or None,
        mean_first_token_s=first.optional(first.milliseconds, "mean") or None,
        mean_tpot_s=gap.optional(gap.milliseconds, "mean") or None,
    )


def _whole(figure: Fields) -> int | None:
    """Return a sum of tokens, of which newer reports compute a float from shares."""
    total = figure.optional(figure.number, "total_sum")
    if total is None or total >= 2**53 or abs(total - round(total)) > 1e-6 * max(1.0, total):
        return None
    return round(total)


def _notes(requests: Sequence[Request], wall_s: float | None, kept: str | None) -> Iterator[str]:
    yield "backend is the client's way to the server: the report does not name engine, format or device"
    if not requests:
        yield "the report keeps no requests: speeds are those of all requests side by side"
        return
    yield "times are the client's; decode time is that from first to last token, and duration_s ends with the request"
    if kept:
        yield f"the report keeps {kept} requests, so that the speed over all of them is unknown"
    elif wall_s is not None:
        yield "batch speed is all tokens by the benchmark's duration; guidellm prints a mean over its time line"


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of guidellm's reports."""
    return [Guidellm]
