"""`--save-result` of eugr/llama-benchy: llama-bench's tests (`pp`, `tg`, depth) against any server.

A benchmark has `prompt_size`, `response_size`, `context_size`, and lists of `values`, one per repetition, of rates in
tokens/s and times in ms. Layout as in its `schemas/benchmark_report_schema.json`. A generation rate is of the tokens
after the first. With several requests at a time, `..._req_...` rates are those of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....core.records.schema import Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, Fields
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.formats import JsonFormat

_FIGURES = form(
    Figure("concurrency", "option.concurrency", "count"),
    Figure("context_size", "run.depth", "count"),
    Figure("prompt_size", "option.prompt_size", "count"),
    Figure("response_size", "run.max_new_tokens", "count"),
    Figure("is_context_prefill_phase", "option.is_context_prefill_phase", "any"),
)
_ABOUT = form(
    Figure("model", "run.model", "text"),
    Figure("latency_mode", "condition.latency_mode", "text"),
    Figure("prefix_caching_enabled", "condition.prefix_caching_enabled", "any"),
)
_SUMMED = ("pp_throughput", "tg_throughput", "peak_throughput", "ttfr")
_LISTS = ("throughput_over_time", "requests_throughput_over_time")


class LlamaBenchy(JsonFormat):
    """Reads one run per benchmark, whose repetitions are samples."""

    name = "llama-benchy"
    summary = "JSON report of llama-benchy"
    version = "1"
    keys = ("benchmarks", "prompt_size", "response_size", "pp_throughput", "tg_throughput")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield each benchmark's run and its repetitions."""
        about = gather(_ABOUT, {name: content.content.get(name) for name in _ABOUT})
        for at, row in enumerate(content.rows("benchmarks")):
            own_id = f"{run_id}-{at}"
            gathered = gather(_FIGURES, {name: row.content.get(name) for name in row.content if name not in _LISTS})
            concurrency = gathered.option.get("concurrency", 1)
            means = {name: row.at(name).content.get("mean") for name in _SUMMED}
            samples = list(_samples(own_id, row, concurrency == 1))
            yield gathered.as_run(
                own_id,
                "llama-benchy",
                **about.run,
                conditions=about.condition,
                settings={f"published_mean_{name}": repr(mean) for name, mean in means.items() if mean is not None},
                samples=len(samples) or None,
                notes=(
                    "the number of output tokens is the one asked for: the report does not count them",
                    "the server's network latency, as the tool measured it, is taken off the prompt's time",
                    *(("a sample is one request, at the rates of a request",) if concurrency != 1 else ()),
                ),
            )
            yield from samples


def _samples(run_id: str, row: Fields, is_alone: bool) -> Iterator[Sample]:
    prompt, output = (row.optional(row.tokens, name) for name in ("prompt_size", "response_size"))
    kind = "" if is_alone else "_req"
    prefill, decode = (_values(row, f"{name}{kind}_throughput") for name in ("pp", "tg"))
    firsts = _values(row, "e2e_ttft")
    for index in range(max(len(prefill), len(decode))):
        found: dict[str, Any] = {}
        if prompt and index < len(prefill) and prefill[index] > 0:
            found["prefill_s"] = prompt / prefill[index]
        if output and output > 1 and index < len(decode) and decode[index] > 0:
            found |= {"decode_tokens": output - 1, "decode_s": (output - 1) / decode[index]}
        if index < len(firsts) and len(firsts) == max(len(prefill), len(decode)):
            found["first_token_s"] = firsts[index] / 1e3
        yield Sample(run_id=run_id, index=index, prompt_tokens=prompt, output_tokens=output, **found)


def _values(row: Fields, name: str) -> list[float]:
    values = row.at(name).content.get("values")
    return row.at(name).times("values")[:MOST_TOKENS] if isinstance(values, list) else []
