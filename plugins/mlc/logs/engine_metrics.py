"""`engine.metrics()` of MLC-LLM as JSON: sums since the engine started, its warm-up included.

Engine time is not wall time: what requests waited is not in it. Where the engine worked on several sequences at once,
its sums tell a throughput, not the speed of one; then the file gives totals alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ....core.records.engine_counters import EngineCounters
from ....core.records.schema import Run, Sample, Totals
from ....core.sdk.logs.fields import Fields
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.runs import bare_run

_BATCH = re.compile(r"count\{batch_size=([0-9]{1,6})\}")


class EngineMetrics(JsonFormat):
    """Reads one run per file."""

    name = "mlc-engine-metrics"
    summary = "engine.metrics() of MLC-LLM as JSON"
    version = "2"
    keys = ("engine_prefill_time_sum", "engine_decode_time_sum", "completion_tokens_sum")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield the run and, where its requests came one by one, a sample that holds the sums.

        Raises:
            RawLogError: a value is of the wrong kind; names the field.
        """
        largest = _largest_batch(content)
        speculation = _speculation(content)
        yield _run(run_id, content, largest, is_speculative=bool(speculation))
        if largest == 1:
            yield _sums(run_id, content, speculation)


def _largest_batch(content: Fields) -> int | None:
    """Return the most sequences that were decoded together; None where the engine counted no decode step."""
    sizes = []
    for name in ("decode_time_by_batch_size", "draft_time_by_batch_size"):
        told = content.at(name)
        sizes += [int(found[1]) for key in told.content if (found := _BATCH.fullmatch(key)) and told.count(key)]
    return max(sizes, default=None)


def _speculation(content: Fields) -> dict[str, float]:
    """Return rounds and drafts; the first place of each list is the target's own token, which no draft made."""
    if not content.has("spec_decode"):
        return {}
    told = content.inner("spec_decode")
    drafted, accepted = told.counts("draft_count"), told.counts("accept_count")
    if len(drafted) != len(accepted) or any(a > d for a, d in zip(accepted, drafted, strict=True)):
        raise told.fail("accept_count", "more tokens accepted than drafted, or at other places")
    if not drafted or not drafted[0]:
        return {}
    counters = EngineCounters(
        speculation_rounds=drafted[0], draft_tokens=sum(drafted[1:]), accepted_draft_tokens=sum(accepted[1:])
    )
    return counters.figures()


def _seconds(content: Fields) -> float:
    return content.number("engine_prefill_time_sum") + content.number("engine_decode_time_sum")


def _run(run_id: str, content: Fields, largest: int | None, *, is_speculative: bool) -> Run:
    tokens, seconds = content.count("completion_tokens_sum"), _seconds(content)
    notes = [
        "sums over all requests since the engine started, its warm-up included: one figure each, without any spread",
        "model, device, machine, sampling and number of requests are not in the file",
    ]
    if largest is None:
        notes.append("whether sequences were decoded together is not in the file: there are totals alone")
    elif largest > 1:
        notes.append(f"up to {largest} sequences were decoded together: the rate is a throughput of the engine's time")
    return bare_run(
        run_id,
        "mlc",
        kind="speculative" if is_speculative else None,
        batch_size=largest,
        totals=None if largest == 1 else Totals(output_tokens=tokens, wall_s=seconds or None),
        notes=tuple(notes),
    )


def _sums(run_id: str, content: Fields, speculation: dict[str, float]) -> Sample:
    decoded, decode_s = content.count("decode_tokens_sum"), content.number("engine_decode_time_sum")
    prefill_s = content.number("engine_prefill_time_sum")
    is_timed = bool(decoded and decode_s and not speculation)  # with drafts the count holds what was rolled back
    return Sample(
        run_id=run_id,
        index=0,
        sample_id="sums",
        prompt_tokens=content.count("prefill_tokens_sum"),
        output_tokens=content.count("completion_tokens_sum"),
        duration_s=_seconds(content) or None,
        prefill_s=prefill_s or None,
        decode_tokens=decoded if is_timed else None,
        decode_s=decode_s if is_timed else None,
        decode_forwards=decoded if is_timed else None,
        engine=speculation,
    )
