"""What SGLang's `bench_serving` appends to its file: an object a line, with lists per request if it was asked for them.

Layout as in sgl-project/sglang, `python/sglang/bench_serving.py`: `ttfts` and `itls` in seconds, as vLLM's tool writes
them; the latest versions have the server's own settings under `server_info`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.schema import RecordedStep, Run, Sample
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.json_files import read_rows
from ....core.sdk.logs.runs import UNKNOWN
from ....core.sdk.logs.structure import first_row
from ..requests import gaps_note, records
from ..vllm_bench import requests_of

_FIGURES = form(
    Figure("tag", "condition.tag", "text"),
    Figure("backend", "run.backend", "text"),
    *(
        Figure(name, f"option.{name}", "any")
        for name in (
            "dataset_name", "request_rate", "max_concurrency", "sharegpt_output_len", "random_input_len",
            "random_output_len", "random_range_ratio", "fixed_output_len",
        )
    ),
    Figure("completed", "totals.samples", "count"),
    Figure("duration", "totals.wall_s", "s"),
    Figure("total_input_tokens", "totals.prompt_tokens", "count"),
    Figure("total_output_tokens", "totals.output_tokens", "count"),
    Figure("output_throughput", "totals.tokens_per_s"),
    Figure("accept_length", "published.acceptance_length"),
    *(
        Figure(f"{statistic}_{figure}_ms", f"published.{statistic}_{figure}_ms")
        for figure in ("ttft", "tpot", "itl", "e2e_latency")
        for statistic in ("mean", "median", "p99")
    ),
)  # fmt: skip
_OF_SERVER = (
    "tp_size", "dp_size", "pp_size", "ep_size", "kv_cache_dtype", "attention_backend", "speculative_algorithm",
    "speculative_num_steps", "speculative_eagle_topk", "speculative_num_draft_tokens", "speculative_draft_model_path",
)  # fmt: skip


class SglangServe(LogParser):
    """Reads one run per line; a request is a sample where the file has lists."""

    name = "sglang-bench-serving"
    summary = "JSON lines of SGLang's bench_serving, with and without --output-details"
    version = "1"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the sums, and for what the tool alone counts or names so."""
        found = first_row(path).keys()
        own = {"total_output_tokens_retokenized", "accept_length", "random_range_ratio", "median_e2e_latency_ms"}
        sums = {"duration", "completed", "total_output_tokens", "output_throughput"}
        return sums <= found and bool(own & found) and "model_id" not in found

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each benchmark's run and its requests."""
        found = read_rows(path)
        for at, row in enumerate(found.rows):
            yield from _served(f"sha256-{found.digest}-{at}", row, found.cut if at == len(found.rows) - 1 else None)


def _served(run_id: str, row: Fields, cut: str | None) -> Iterator[Run | Sample | RecordedStep]:
    requests = requests_of(row)
    server = row.content.get("server_info")
    plain = {
        name: value for name, value in row.content.items() if name != "server_info" and not isinstance(value, list)
    }
    gathered = gather(_FIGURES, plain)
    wall_s = gathered.totals.get("wall_s") or None
    notes = ["the file names the client's protocol, not the engine's version, format or device"]
    if requests:
        notes += ["times are the client's: time to first token holds waiting in the server's queue"]
        notes += ["duration_s is the time to the first token and the gaps after it", *gaps_note(requests)]
    else:
        notes.append("there are sums and means alone: speeds are those of all requests side by side")
    yield gathered.as_run(
        run_id,
        "sglang",
        **_server(server if isinstance(server, dict) else {}),
        samples=len(requests) or None,
        wall_s=wall_s,
        cut=cut,
        notes=tuple(notes),
    )
    yield from records(run_id, requests, wall_s)


def _server(told: dict[str, Any]) -> dict[str, Any]:
    """Return what the server said of itself."""
    named = {name: str(told[name]) for name in ("model_path", "version", "quantization", "dtype") if told.get(name)}
    settings: dict[str, JsonValue] = {
        name: told[name] for name in _OF_SERVER if isinstance(told.get(name), str | int | float | bool)
    }
    return {
        "model": named.get("model_path", UNKNOWN),
        "backend_version": named.get("version"),
        "quantisation": named.get("quantization") or named.get("dtype") or UNKNOWN,
        "conditions": settings,
        "kind": "speculative" if told.get("speculative_algorithm") else None,
    }
