"""Result files of vLLM's own benchmarks: `vllm bench serve`, `vllm bench latency` and `vllm bench throughput`.

`serve` writes one object per benchmark, and with `--append-result` one a line. With `--save-detailed` it holds a list
per figure (`ttfts`, `itls`, `input_lens`, `output_lens`, `errors`) with an entry per request; else sums and means
alone. The other two write a handful of figures without model or token counts. Layout as in vllm-project/vllm,
`vllm/benchmarks/serve.py` (009e6d4), `latency.py` (00cae07) and `throughput.py` (0202831).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedStep, Run, Sample, Totals
from ...core.sdk.logs.fields import MOST_TOKENS, Fields
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.json_files import read_rows
from ...core.sdk.logs.runs import UNKNOWN, bare_run
from .requests import Request, check_times, gaps_note, records

_TRAFFIC = ("request_rate", "burstiness", "max_concurrency", "ramp_up_strategy", "ramp_up_start_rps", "ramp_up_end_rps")
_ABOUT = frozenset({"date", "backend", "endpoint_type", "label", "model_id", "tokenizer_id"})
_QUANTISATION = ("quantisation", "quantization", "dtype")
_DEVICE = ("device", "gpu")
_SUMS = ("num_prompts", "duration", "completed", "total_output_tokens", "output_throughput")
_SPECULATION = {"cycles": "num_drafts", "drafted": "draft_tokens", "accepted": "accepted_tokens"}
_PRINTED = ("ttft", "tpot", "itl", "e2el")
_THROUGHPUTS = dict.fromkeys(("total_num_tokens", "requests_per_second", "tokens_per_second"), Fields.scalar)


class VllmServe(JsonFormat):
    """Reads one run per benchmark; a request is a sample."""

    name = "vllm-bench-serve"
    summary = "JSON of `vllm bench serve`, with and without --save-detailed"
    version = "2"

    keys = ("model_id", "num_prompts", "request_rate")
    either = (("backend",), ("endpoint_type",))

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each benchmark's run and its requests."""
        found = read_rows(path)
        for at, row in enumerate(found.rows):
            is_last = at == len(found.rows) - 1
            yield from _served(f"sha256-{found.digest}-{at}", row, found.cut if is_last else None)


def _served(run_id: str, row: Fields, cut: str | None) -> Iterator[Run | Sample | RecordedStep]:
    wall_s = row.number("duration")
    requests = requests_of(row)
    yield bare_run(
        run_id,
        row.optional(row.text, "label") or row.optional(row.text, "backend") or row.text("endpoint_type"),
        started_at=_date(row.content.get("date")),
        model=row.text("model_id"),
        quantisation=row.first_text(*_QUANTISATION) or UNKNOWN,
        device=row.first_text(*_DEVICE) or UNKNOWN,
        options=_options(row),
        samples=row.count("num_prompts"),
        settings=_settings(row),
        extra=_extra(row),
        cut=cut,
        wall_s=wall_s,
        kind="speculative" if row.has("spec_decode_num_drafts") else None,
        totals=_totals(row, None if requests else wall_s),
        notes=tuple(_notes(row, requests)),
    )
    yield from records(run_id, requests, wall_s)


def _date(value: object) -> str:
    """Read ``20250801-101112``, the client's local time."""
    text = value if isinstance(value, str) else ""
    digits = text.replace("-", "")
    if len(digits) != 14 or not digits.isascii() or not digits.isdigit():
        return text
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:]}"


def _options(row: Fields) -> dict[str, JsonValue]:
    """Return the traffic, and what the user told with ``--metadata``: the other texts of the file."""
    traffic = {name: value for name in _TRAFFIC if (value := row.scalar(name)) is not None}  # a rate may be infinite
    known = {*_TRAFFIC, *_ABOUT, *_QUANTISATION, *_DEVICE}
    told = {name: value for name, value in row.content.items() if isinstance(value, str) and name not in known}
    return {"endpoint": row.scalar("backend" if row.has("backend") else "endpoint_type"), **traffic, **told}


def _settings(row: Fields) -> dict[str, str]:
    """Return the printed latencies and the server's counters of speculation, which belong to no single request."""
    names = [f"{statistic}_{figure}_ms" for figure in _PRINTED for statistic in ("mean", "median", "p99")]
    names += [name for name in row.content if name.startswith(("spec_decode_", "diffusion_"))]
    return {f"published_{name}": json.dumps(row.anything(name)) for name in names if row.has(name)}


def _extra(row: Fields) -> dict[str, JsonValue]:
    """Return the figures that no field is for; lists have an entry per request, and are samples."""
    printed = [name.removeprefix("published_") for name in _settings(row)]
    others = row.beyond(*_TRAFFIC, *_ABOUT, *_QUANTISATION, *_DEVICE, *_SUMS, *printed)
    return {name: value for name, value in others.items() if not isinstance(value, str | list)}


def _totals(row: Fields, wall_s: float | None) -> Totals:
    """Return the printed sums; without a time, beside requests, they are there to be checked."""
    return Totals(
        samples=row.count("completed") or None,
        output_tokens=row.count("total_output_tokens"),
        prompt_tokens=row.optional(row.count, "total_input_tokens"),
        wall_s=wall_s or None,
        mean_first_token_s=row.optional(row.milliseconds, "mean_ttft_ms"),
        tokens_per_s=row.number("output_throughput"),
        **{name: row.optional(row.count, f"spec_decode_{told}") for name, told in _SPECULATION.items()},
    )


def requests_of(row: Fields) -> list[Request]:
    """Return the requests of a file with a list per figure, as SGLang's tool writes too; none where it has no lists."""
    if not row.has("output_lens"):
        return []
    length = len(row.counts("output_lens", most=MOST_TOKENS))
    readers: dict[str, Callable[[str], Iterable[Any]]] = {
        **dict.fromkeys(("output_lens", "input_lens"), row.counts),
        **dict.fromkeys(("ttfts", "latencies"), row.times),
        **{"start_times": row.numbers, "itls": partial(_gaps, row), "errors": row.items},
    }
    columns = {name: _column(row, name, read, length) for name, read in readers.items()}
    began = min((start for start in columns["start_times"] if start is not None), default=0.0)
    return [_request(row, {name: values[at] for name, values in columns.items()}, began) for at in range(length)]


def _request(row: Fields, entry: Mapping[str, Any], began: float) -> Request:
    """Return one request from its entry in each list."""
    if entry["errors"]:
        return Request(None, error=str(entry["errors"]))
    if entry["errors"] is None and not entry["output_lens"] and not entry["ttfts"]:
        return Request(None, error="no token came; the file has no errors")
    first_s = entry["ttfts"] or None  # 0.0 where the endpoint does not stream
    duration_s = entry["latencies"]
    if duration_s is None and first_s is not None and entry["itls"] is not None:
        duration_s = first_s + sum(entry["itls"])
    check_times(row, "ttfts", duration_s, first_s)
    return Request(
        output_tokens=entry["output_lens"],
        prompt_tokens=entry["input_lens"],
        duration_s=duration_s,
        first_token_s=first_s,
        gaps_s=entry["itls"],
        start_s=None if entry["start_times"] is None else entry["start_times"] - began,
    )


def _column(row: Fields, name: str, read: Callable[[str], Iterable[Any]], length: int) -> list[Any]:
    """Return a list with an entry per request; nulls alone where the file has no such list."""
    values = list(read(name)) if row.has(name) else [None] * length
    if len(values) != length:
        raise row.fail(name, f"{len(values)} entries, but {length} in 'output_lens'")
    return values


def _gaps(row: Fields, name: str) -> list[list[float]]:
    each = Fields(row.path, row.line, {f"{name}[{at}]": gaps for at, gaps in enumerate(row.items(name))}, row.within)
    return [each.times(inner) for inner in each.content]


def _notes(row: Fields, requests: Sequence[Request]) -> Iterator[str]:
    yield "the file names the client's protocol, not the engine, its version, format or device, unless told as metadata"
    if not requests:
        yield "without --save-detailed there are sums alone: speeds are those of all requests side by side"
        if row.has("failed") and row.count("failed"):
            yield f"{row.count('failed')} requests failed"
        return
    yield "times are the client's: time to first token holds waiting in the server's queue"
    if not row.has("latencies"):
        yield "duration_s is the time to the first token and the gaps after it"
    if not row.has("errors"):
        yield "failed requests are not marked"
    yield from gaps_note(requests)


class VllmLatency(JsonFormat):
    """Reads one run; an iteration, a whole batch, is a sample."""

    name = "vllm-bench-latency"
    summary = "JSON of `vllm bench latency`"
    version = "2"
    keys = ("avg_latency", "latencies")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield the run and its iterations."""
        times = content.numbers("latencies")
        if not times or min(times) <= 0:
            raise content.fail("latencies", "not a time above 0 for each iteration")
        yield bare_run(
            run_id,
            "vllm",
            samples=len(times),
            notes=("the file has neither model nor batch size nor tokens: there are times of whole batches alone",),
        )
        for index, seconds in enumerate(times):
            yield Sample(run_id=run_id, index=index, output_tokens=None, duration_s=seconds)


class VllmThroughput(JsonFormat):
    """Reads one run without samples."""

    name = "vllm-bench-throughput"
    summary = "JSON of `vllm bench throughput`"
    version = "2"
    keys = ("elapsed_time", "num_requests", "total_num_tokens", "tokens_per_second")

    def records(self, run_id: str, content: Fields) -> Iterator[Run]:
        """Yield the run."""
        output = content.optional(content.count, "total_output_tokens")
        unknown = "the file has neither model nor generated tokens, hence no speed"
        yield bare_run(
            run_id,
            "vllm",
            samples=content.count("num_requests"),
            settings={f"published_{name}": str(value) for name, value in content.read(_THROUGHPUTS).items()},
            totals=Totals(
                samples=content.count("num_requests") or None,
                output_tokens=output,
                wall_s=content.number("elapsed_time") or None,
            ),
            notes=(
                "total_num_tokens and tokens_per_second count prompts too: they are kept, but are no generation speed",
                *((unknown,) if output is None else ()),
            ),
        )


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of vLLM's three benchmarks."""
    return [VllmServe, VllmLatency, VllmThroughput]
