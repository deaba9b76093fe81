"""Reports of kubernetes-sigs/inference-perf: `summary_lifecycle_metrics.json`, one `stage_N_...` per load, and
`per_request_lifecycle_metrics.json`.

`{"load_summary": {...}, "successes": {"count": 1089, "latency": {"time_to_first_token": {"mean": ...}, ...},
"throughput": {"output_tokens_per_sec": ...}, "output_len": {"mean": ...}}, "failures": {"count": 0}}`; times are in
seconds. The last file is an array of `{"start_time": ..., "end_time": ..., "request": "{...}", "info":
{"input_tokens": 8, "response_metrics": {"output_tokens": 4, "output_token_times": [...]}}, "error": null}` on the
client's clock; what is in `response_metrics` now stood in `info` itself before (`inference_perf/reportgen/base.py` and
`apis/base.py`, 7de5ef2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from ....core.records.schema import RecordedStep, Run, Sample
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.figures import Figure, Gathered, form
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.json_files import read_rows
from ....core.sdk.logs.runs import UNKNOWN, bare_run
from ..requests import Request, check_times, gaps_note, records

_LATENCY, _RATES = "successes.latency", "successes.throughput"
_FIGURES = form(
    Figure("load_summary.count", "run.samples", "count"),
    Figure("load_summary.requested_rate", "option.request_rate"),
    Figure("load_summary.concurrency", "option.concurrency"),
    Figure("successes.count", "totals.samples", "count"),
    Figure("failures.count", "condition.failed", "count"),
    Figure(f"{_RATES}.output_tokens_per_sec", "totals.tokens_per_s"),
    *(
        Figure(f"{_LATENCY}.{figure}.{statistic}", f"published.{statistic}_{figure}_s", "s")
        for figure in ("time_to_first_token", "time_per_output_token", "inter_token_latency", "request_latency")
        for statistic in ("mean", "median", "p99")
    ),
    Figure("successes.output_len.mean", "published.mean_output_tokens"),
    Figure("successes.prompt_len.mean", "published.mean_prompt_tokens"),
)


class InferencePerf(JsonFormat):
    """Reads one run per file, without samples."""

    name = "inference-perf"
    summary = "lifecycle reports of inference-perf: summary_... and stage_N_lifecycle_metrics.json"
    version = "1"
    keys = ("load_summary", "successes", "failures", "output_tokens_per_sec")
    figures = _FIGURES
    notes = ("there are sums and means alone: speeds are those of all requests side by side",)

    def complete(self, gathered: Gathered) -> list[str]:
        """Add the sums that follow from means."""
        failed = gathered.condition.pop("failed", 0)
        return [*add_sums(gathered), *([f"{failed} requests failed"] if failed else [])]


class InferencePerfRequests(JsonFormat):
    """Reads one run per file, whose requests are samples."""

    name = "inference-perf-requests"
    summary = "per_request_lifecycle_metrics.json of inference-perf"
    version = "1"
    keys = ("start_time", "end_time", "request", "info", "input_tokens", "error")

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield the run and its requests, in the order in which they were sent."""
        found = read_rows(path)
        rows = sorted(found.rows, key=lambda row: row.number("start_time"))
        began, ended = rows[0].number("start_time"), max(row.number("end_time") for row in rows)
        requests = [_request(row, began) for row in rows]
        models = {_model(row) for row in rows}
        run_id = f"sha256-{found.digest}"
        yield bare_run(
            run_id,
            "inference-perf",
            model=models.pop() if len(models) == 1 else UNKNOWN,
            cut=found.cut,
            wall_s=ended - began or None,
            notes=(
                "times are the client's: time to first token holds waiting in the server's queue",
                *gaps_note(requests),
            ),
        )
        yield from records(run_id, requests, ended - began or None)


def _request(row: Fields, began: float) -> Request:
    if row.has("error"):
        error = row.inner("error")
        kind, message = (str(error.content.get(name) or "") for name in ("error_type", "error_msg"))
        return Request(None, error=": ".join(filter(None, (kind, message))) or "failed")
    info = row.inner("info")
    answer = info.at("response_metrics") if info.has("response_metrics") else info
    usage, start_s = answer.at("server_usage"), row.number("start_time")
    times = answer.times("output_token_times") if answer.has("output_token_times") else []
    counted = usage.optional(usage.tokens, "completion_tokens")
    duration_s, first_s = row.number("end_time") - start_s, times[0] - start_s if times else None
    check_times(row, "output_token_times", duration_s, first_s)
    return Request(
        output_tokens=answer.optional(answer.tokens, "output_tokens") if counted is None else counted,
        prompt_tokens=info.optional(info.tokens, "input_tokens"),
        duration_s=duration_s,
        first_token_s=first_s,
        decode_s=times[-1] - times[0] if len(times) > 1 else None,
        gaps_s=[after - before for before, after in pairwise(times)] if times else None,
        start_s=start_s - began,
    )


def _model(row: Fields) -> str:
    """Return the model that a request asks for, whose body is kept as a text."""
    try:
        body = json.loads(row.content["request"])
    except (TypeError, ValueError, RecursionError):
        return UNKNOWN
    name = body.get("model") if isinstance(body, dict) else None
    return name if isinstance(name, str) and name else UNKNOWN


def add_sums(gathered: Gathered) -> list[str]:
    """Add output tokens and wall time to totals that have requests, their mean length and a throughput."""
    totals = gathered.totals
    count, rate = totals.get("samples"), totals.get("tokens_per_s")
    length = float(gathered.published.get("mean_output_tokens", 0))
    if not (count and length and rate):
        return []
    totals["output_tokens"] = round(count * length)
    totals["wall_s"] = count * length / rate
    return ["output tokens are the mean of a request times their number, wall time follows from them and throughput"]
