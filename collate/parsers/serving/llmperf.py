"""What ray-project/llmperf writes: `..._summary.json`, and `..._individual_responses.json` with a record per request.

Names as in its `src/llmperf/common_metrics.py`, times in seconds. Its inter-token latency is the whole time of a
request divided by its tokens, the first one's time included, so that it is kept and not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ....core.contract.log_parser import LogParser
from ....core.records.schema import RecordedSampling, RecordedStep, Run, Sample
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.figures import Figure, Gathered, form
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.json_files import read_objects
from ....core.sdk.logs.runs import bare_run
from ....core.sdk.logs.structure import first_row
from ..requests import Request, check_times, records
from .inference_perf import add_sums

_FIGURES = form(
    Figure("model", "run.model", "text"),
    Figure("num_concurrent_requests", "option.num_concurrent_requests", "count"),
    *(
        Figure(name, f"option.{name}")
        for name in ("mean_input_tokens", "stddev_input_tokens", "mean_output_tokens", "stddev_output_tokens")
    ),
    Figure("results_num_requests_started", "run.samples", "count"),
    Figure("results_num_completed_requests", "totals.samples", "count"),
    Figure("results_mean_output_throughput_token_per_s", "totals.tokens_per_s"),
    Figure("results_number_output_tokens_mean", "published.mean_output_tokens"),
    *(
        Figure(f"results_{figure}_{statistic}", f"published.{name}_{figure}")
        for figure in ("ttft_s", "inter_token_latency_s", "end_to_end_latency_s")
        for statistic, name in (("mean", "mean"), ("quantiles_p50", "median"), ("quantiles_p99", "p99"))
    ),
)
_SAMPLING = "additional_sampling_params_"


class LlmperfSummary(JsonFormat):
    """Reads one run per file, without samples."""

    name = "llmperf"
    summary = "..._summary.json of llmperf"
    version = "1"
    keys = ("results_mean_output_throughput_token_per_s", "results_num_completed_requests")
    figures = _FIGURES
    notes = ("there are sums and means alone: speeds are those of all requests side by side",)

    def complete(self, gathered: Gathered) -> list[str]:
        """Sort what was asked of the server, and add the sums that follow from means."""
        asked = [name for name in gathered.extra if name.startswith(_SAMPLING)]
        gathered.condition |= {name.removeprefix(_SAMPLING): gathered.extra.pop(name) for name in asked}
        temperature = gathered.condition.pop("temperature", None)
        is_number = isinstance(temperature, int | float) and temperature >= 0
        gathered.run["sampling"] = RecordedSampling(temperature=temperature if is_number else None)
        return [
            *add_sums(gathered),
            "time per token of the tool holds the first token's time: it is not a decode speed",
        ]


class LlmperfResponses(LogParser):
    """Reads one run per file, whose requests are samples."""

    name = "llmperf-responses"
    summary = "..._individual_responses.json of llmperf: a record per request"
    version = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for a record's figures."""
        names = {"ttft_s", "end_to_end_latency_s", "number_output_tokens", "error_code"}
        return names <= first_row(path).keys()

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield the run and its requests, in the file's order."""
        rows, digest = read_objects(path)
        run_id = f"sha256-{digest}"
        yield bare_run(
            run_id,
            "llmperf",
            samples=len(rows),
            notes=("the file names neither model nor load: its summary does", "times are the client's"),
        )
        yield from records(run_id, [_request(row) for row in rows], None)


def _request(row: Fields) -> Request:
    if row.has("error_code"):
        return Request(None, error=str(row.content.get("error_msg") or row.content["error_code"]))
    first_s, duration_s = row.optional(row.number, "ttft_s"), row.optional(row.number, "end_to_end_latency_s")
    check_times(row, "ttft_s", duration_s, first_s)
    return Request(
        output_tokens=row.optional(row.tokens, "number_output_tokens"),
        prompt_tokens=row.optional(row.tokens, "number_input_tokens"),
        duration_s=duration_s,
        first_token_s=first_s or None,
    )
