"""Reports of kubernetes-sigs/inference-perf: `summary_lifecycle_metrics.json`, and one `stage_N_...` per load.

`{"load_summary": {...}, "successes": {"count": 1089, "latency": {"time_to_first_token": {"mean": ...}, ...},
"throughput": {"output_tokens_per_sec": ...}, "output_len": {"mean": ...}}, "failures": {"count": 0}}`; times are in
seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ....core.contract.log_parser import LogParser
from ....core.records.schema import Run
from ....core.sdk.logs.fields import flat
from ....core.sdk.logs.figures import Figure, Gathered, form, gather
from ....core.sdk.logs.json_files import read_object
from ....core.sdk.logs.structure import holds

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


class InferencePerf(LogParser):
    """Reads one run per file, without samples."""

    name: ClassVar[str] = "inference-perf"
    summary: ClassVar[str] = "lifecycle reports of inference-perf: summary_... and stage_N_lifecycle_metrics.json"
    version: ClassVar[str] = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the report's three parts."""
        return holds(path, head, "load_summary", "successes", "failures", "output_tokens_per_sec")

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the run."""
        content, digest = read_object(path)
        gathered = gather(_FIGURES, flat(content.content))
        notes = ["there are sums and means alone: speeds are those of all requests side by side", *add_sums(gathered)]
        if failed := gathered.condition.pop("failed", 0):
            notes.append(f"{failed} requests failed")
        yield gathered.as_run(f"sha256-{digest}", "inference-perf", notes=tuple(notes))


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
