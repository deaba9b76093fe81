"""Result files of dflash-mlx (`benchmark/results/*.json`): target alone and with its draft, in turns.

`{"hardware": {...}, "config": {"target_model": ..., "draft_model": ..., "max_new_tokens": 1024, ...}, "runs": [
{"baseline": {"ttft_ms": 272.6, "generation_tps": 54.1, ...}, "dflash": {..., "cycles": 116, ...}}]}` (layout as in
bstnxbt/dflash-mlx, a52ed4f). Its `acceptance_ratio` is 1 - cycles / tokens, which is not the share of drafted tokens
that were accepted: it is kept, and no figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ....core.records.schema import Environment, Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, Fields
from ....core.sdk.logs.figures import Figure, form, gather
from ....core.sdk.logs.formats import JsonFormat

_CONFIG = form(
    Figure("target_model", "run.model", "text"),
    Figure("draft_model", "option.draft_model", "text"),
    Figure("block_tokens", "option.block_tokens", "count"),
    Figure("max_new_tokens", "run.max_new_tokens", "count"),
    Figure("cooldown", "condition.cooldown_s", "s"),
    Figure("git_hash", "condition.git_hash", "text"),
    Figure("prompt", "sample.prompt", "text"),
    Figure("prompt_id", "sample.sample_id", "text"),
    Figure("prompt_tokens", "sample.prompt_tokens", "count"),
)
_FIGURES = form(
    Figure("ttft_ms", "sample.first_token_s", "ms"),
    Figure("generation_tps", "engine.tokens_per_s"),
    Figure("peak_memory_gb", "run.peak_device_bytes", "GB"),
    Figure("cycles", "engine.speculation_rounds", "count"),
)
_OF_DRAFT = ("draft_model", "block_tokens")


class MlxResults(JsonFormat):
    """Reads two runs per file, the target alone and with its draft; a repetition is a sample of both."""

    name = "dflash-mlx"
    summary = "result files of dflash-mlx: target alone and with its draft"
    version = "1"
    keys = ("target_model", "draft_model", "runs", "baseline", "dflash", "generation_tps")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield both runs and their samples."""
        for name in ("baseline", "dflash"):
            yield from _half(f"{run_id}-{name}", name, content, content.rows("runs"))


def _half(run_id: str, name: str, content: Fields, rows: Sequence[Fields]) -> Iterator[Run | Sample]:
    is_drafted = name == "dflash"
    config = gather(_CONFIG, content.inner("config").content)
    found = [gather(_FIGURES, row.inner(name).content) for row in rows]
    peaks = [one.run.pop("peak_device_bytes", 0) for one in found]
    hardware = content.at("hardware").content
    limit = config.run.get("max_new_tokens", 1)
    known = {n: str(hardware[n]) for n in ("chip", "mlx_version", "python", "memory_gb") if hardware.get(n)}
    yield config.as_run(
        run_id,
        "mlx",
        backend_version=known.get("mlx_version"),
        kind="speculative" if is_drafted else "autoregressive",
        device="metal",
        samples=len(rows),
        peak_device_bytes=round(max(peaks, default=0)) or None,
        environment=Environment(cpu_model=known.get("chip"), python=known.get("python")),
        settings={f"published_{n}": repr(v) for n, v in content.at("summary").content.items() if v is not None},
        notes=(
            "speeds are printed rates; tokens follow from cycles and tokens per cycle, and without a draft are unknown",
            "acceptance_ratio is 1 - cycles / tokens, not the share of drafted tokens that were accepted",
        ),
    ).model_copy(update={} if is_drafted else {"options": _without_draft(config.option)})
    for index, (one, row) in enumerate(zip(found, rows, strict=True)):
        speed = _speed(one.engine, row.inner(name), limit)
        yield one.as_sample(run_id, index, **config.sample, **speed, extra=one.extra)


def _without_draft(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _OF_DRAFT}


def _speed(engine: dict[str, float], row: Fields, limit: int) -> dict[str, Any]:
    """Return output tokens and decode time; without cycles the time of the limit, which has the same speed."""
    rate = engine.get("tokens_per_s")
    per_cycle = row.number("tokens_per_cycle") if row.has("tokens_per_cycle") else 0
    tokens = round(engine.get("speculation_rounds", 0) * per_cycle)
    if not rate or not 0 < (tokens or limit) <= MOST_TOKENS:
        return {}
    output = {"output_tokens": tokens} if tokens else {}
    return {**output, "decode_tokens": tokens or limit, "decode_s": (tokens or limit) / rate}
