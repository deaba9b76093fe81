"""`benchmarks.json` of guidellm: a run per benchmark of its sweep, a sample per request.

Every version since 0.3 writes, for each request that it keeps, computed figures beside the raw timings; only those are
read. Layout as in vllm-project/guidellm, `src/guidellm/benchmark/schemas/` (ee7a774), and `benchmark/objects.py` of 0.4
(414febe); 0.3 names backend and model under `worker`, and the strategy under `args`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedStep, Run, Sample, Totals
from ...core.sdk.logs.fields import Fields, flat
from ...core.sdk.logs.json_files import read_each
from ...core.sdk.logs.runs import UNKNOWN, bare_run
from ...core.sdk.logs.structure import holds
from ...core.sdk.logs.text import head_text
from .requests import Request, check_times, records

_CUT_OFF = "incomplete: the benchmark ended before its answer"
_OF_RUN = re.compile(r"(?:\b|_)(?:id|run_id|run_index|model|kind|type_|strategy_index|start_time|path|file)_?$")
"""Names of the configuration that say which run it is, or that are a field of the run."""
_EXTRA = ("run_stats", "scheduler_metrics", "scheduler_state", "warmup_duration", "cooldown_duration")
_STRATEGY = ("rate", "streams", "max_concurrency")


class Guidellm(LogParser):
    """Reads one run per benchmark."""

    name: ClassVar[str] = "guidellm"
    summary: ClassVar[str] = "benchmarks.json of guidellm"
    version: ClassVar[str] = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a benchmark's sums, or for the version that newer reports begin with."""
        return holds(path, head, "benchmarks") and (
            holds(path, head, "metrics", "request_totals")
            or holds(path, head, "guidellm_version")
            or '"generative_benchmark"' in head_text(head)
        )

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each benchmark's run and its requests."""
        for content, digest in read_each(path):
            for at, benchmark in enumerate(content.rows("benchmarks")):
                yield from _benchmark(f"sha256-{digest}-{at}", benchmark, content.at("metadata"))


def _benchmark(run_id: str, benchmark: Fields, about: Fields) -> Iterator[Run | Sample | RecordedStep]:
    requests = _requests(benchmark)
    wall_s = _wall_s(benchmark)
    done = [request for request in requests if request.error is None]
    totals = _either(benchmark, ("metrics", "request_totals"), ("request_totals",))
    made = totals.optional(totals.count, "successful")
    is_whole = made is None or made == len(done)
    backend, model = _engine(benchmark)
    yield bare_run(
        run_id,
        backend,
        started_at=_utc(benchmark),
        model=model,
        options=_strategy(benchmark),
        conditions=_conditions(benchmark),
        samples=_asked(benchmark),
        extra={name: benchmark.anything(name) for name in _EXTRA if benchmark.has(name)},
        settings={"guidellm_version": about.text("guidellm_version")} if about.has("guidellm_version") else {},
        wall_s=wall_s,
        totals=None if requests else _totals(benchmark, made, wall_s),
        notes=tuple(_notes(requests, len(done), made, wall_s)),
    )
    yield from records(run_id, requests, wall_s if is_whole else None)


def _engine(benchmark: Fields) -> tuple[str, str]:
    """Return the client's way to the server, and the model: of 0.3 they stand under the worker, with longer names."""
    backend, worker = _either(benchmark, ("config", "backend"), ("benchmarker", "backend")), benchmark.at("worker")
    kinds = [backend.content.get("kind"), backend.content.get("type_"), worker.content.get("backend_type")]
    models = [backend.content.get("model"), worker.content.get("backend_model")]
    kind, model = (next((name for name in names if isinstance(name, str) and name), None) for names in (kinds, models))
    return kind or "guidellm", model or UNKNOWN


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


def _either(fields: Fields, first: Sequence[str], second: Sequence[str]) -> Fields:
    found = fields.at(*first)
    return found if found.content else fields.at(*second)


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
    strategy = _either(benchmark, ("config", "strategy"), ("scheduler", "strategy"))
    strategy = strategy if strategy.content else benchmark.at("args", "strategy")
    kind = strategy.content.get("type_") or strategy.content.get("kind")
    told = {name: strategy.scalar(name) for name in _STRATEGY if strategy.has(name)}
    return {**({"strategy": str(kind)} if kind else {}), **told}


def _requests(benchmark: Fields) -> list[Request]:
    by_status = benchmark.at("requests")
    found: list[tuple[float, Request]] = []
    for status in ("successful", "incomplete", "errored"):
        for row in by_status.rows(status) if by_status.has(status) else []:
            start = row.number("request_start_time") if row.has("request_start_time") else 0.0
            found.append((start, _request(row, status)))
    return [request for _, request in sorted(found, key=lambda pair: pair[0])]


def _request(row: Fields, status: str) -> Request:
    if status != "successful":
        error = row.content.get("error") or row.at("info").content.get("error")
        error = error or row.at("scheduler_info").content.get("error")
        return Request(None, error=str(error or (_CUT_OFF if status == "incomplete" else "errored")))
    tokens = row.optional(row.tokens, "output_tokens")
    first_s = row.number("time_to_first_token_ms") / 1e3 if row.has("time_to_first_token_ms") else None
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


def _totals(benchmark: Fields, made: int | None, wall_s: float | None) -> Totals:
    tokens = benchmark.at("metrics", "output_token_count", "successful")
    total = tokens.optional(tokens.number, "total_sum")
    return Totals(
        samples=made or None,
        output_tokens=int(total) if total is not None and total < 2**53 and total == int(total) else None,
        wall_s=wall_s,
    )


def _notes(requests: Sequence[Request], done: int, made: int | None, wall_s: float | None) -> Iterator[str]:
    yield "backend is the client's way to the server: the report does not name engine, format or device"
    if not requests:
        yield "the report keeps no requests: speeds are those of all requests side by side"
        return
    yield "times are the client's; decode time is that from first to last token, and duration_s ends with the request"
    if made is not None and made != done:
        yield f"the report keeps {done} of {made} requests, so that speed over all of them cannot be told"
    elif wall_s is not None:
        yield "batch speed is all tokens by the benchmark's duration; guidellm prints a mean over its time line"


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the reader of guidellm's reports."""
    return [Guidellm]
