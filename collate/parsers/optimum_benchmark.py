"""Files of optimum-benchmark: `benchmark.json` with configuration and report, and `benchmark_report.json` alone.

A report holds, per target (`load_model`, `first_generate`, `generate`, `prefill`, `decode`, `per_token`), memory in
MB, every latency in seconds, throughput and energy in kWh. The backends that call back at each token time prefill and
decode within one generation, so that the lists of `prefill`, `decode` and `generate` go together; the others time
prefills and generations apart and take the mean prefill off each generation. Released versions until 0.6 have no
`generate`, which is the sum of both then, and those until 0.4 call loading `load`. Layout as in
huggingface/optimum-benchmark (b263af4), `optimum_benchmark/benchmark/report.py`, `trackers/latency.py` and
`scenarios/inference/scenario.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from ...core.contract.hookspecs import hookimpl
from ...core.contract.log_parser import LogParser
from ...core.records.schema import Environment, Run, Sample
from ...core.sdk.logs.fields import MOST_TOKENS, Fields, flat
from ...core.sdk.logs.formats import JsonFormat
from ...core.sdk.logs.runs import UNKNOWN, bare_run, digest_of

_BYTES_PER_MB = 10**6
_NO_OPTIONS = (
    "name", "version", "_target_", "model", "processor", "task", "library", "model_type", "device", "device_ids",
    "seed",
)  # fmt: skip
_OF_MACHINE = ("system", "machine", "cpu", "cpu_ram_mb", "gpu")
_FORMATS = ("quantization_scheme", "torch_dtype", "dtype", "precision")


class OptimumBenchmark(JsonFormat):
    """Reads one run per file: configuration and report."""

    name = "optimum-benchmark"
    summary = "benchmark.json of optimum-benchmark: configuration and report"
    version = "2"
    keys = ("config", "backend", "scenario", "launcher", "_target_")

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield the run, and a sample for each row of each timed generation."""
        yield from _read(content.inner("report"), content.inner("config"))


class OptimumReport(JsonFormat):
    """Reads one run per file: the report without its configuration."""

    name = "optimum-report"  # behind optimum-benchmark in any order by name: that one has the model
    summary = "benchmark_report.json of optimum-benchmark, without configuration"
    version = "2"

    keys = ("latency", "values", "mean")
    either = (("load_model",), ("load", "prefill"))
    lacks = ("config",)

    def records(self, run_id: str, content: Fields) -> Iterator[Run | Sample]:
        """Yield the run, and a sample for each row of each timed generation."""
        yield from _read(content, None)


@dataclass(frozen=True, slots=True)
class _Work:
    """What one generation made.

    Attributes:
        rows: prompts side by side; None where the report does not tell.
        tokens: generated per row; None where the report does not tell.
        prompt_tokens: of each row.
        note: where the figures come from, if not from the configuration.
        limit: the most tokens that were asked for, per row.
        is_fixed: whether as few tokens were asked for as many; None where the report does not tell.
    """

    rows: int | None
    tokens: int | None
    prompt_tokens: int | None
    note: str | None = None
    limit: int | None = None
    is_fixed: bool | None = None


def _read(report: Fields, config: Fields | None) -> Iterator[Run | Sample]:
    text = json.dumps(report.content, sort_keys=True)  # the same in both files of a benchmark, so that it counts once
    run_id = f"sha256-{digest_of(text)}"
    work = _configured(config) if config else _computed(report)
    prefills, decodes = _values(report, "prefill"), _values(report, "decode")
    times = _values(report, "generate") or _sums(report, prefills, decodes)
    if not times:
        raise report.fail("generate", "no latency of text generation in the report: nothing to compare")
    go_together = report.has("per_token") and len(prefills) == len(decodes) == len(times)
    yield bare_run(
        run_id,
        samples=None if work.rows is None else len(times) * work.rows,
        max_new_tokens=work.limit,
        batch_size=work.rows,
        ignore_eos=work.is_fixed,
        notes=tuple(_notes(report, work, go_together)),
        extra=_extra(report),
        **_about(config),
        **_figures(report),
    )
    yield from _samples(run_id, work, times, prefills if go_together else None, decodes)


def _samples(
    run_id: str, work: _Work, times: Sequence[float], prefills: Sequence[float] | None, decodes: Sequence[float]
) -> Iterator[Sample]:
    rows = work.rows or 1
    for batch, seconds in enumerate(times):
        timed: dict[str, Any] = {} if work.rows is None else {"batch": batch, "batch_s": seconds}
        if prefills is not None:
            timed |= {"first_token_s": prefills[batch], "prefill_s": prefills[batch]}
        if work.tokens is not None and batch < len(decodes):
            timed |= {"decode_tokens": work.tokens - 1, "decode_s": decodes[batch]}
        for row in range(rows):
            yield Sample(
                run_id=run_id,
                index=batch * rows + row,
                prompt_tokens=work.prompt_tokens,
                output_tokens=work.tokens,
                finish="length" if work.is_fixed else None,
                duration_s=seconds,
                **timed,
            )


def _sums(report: Fields, prefills: Sequence[float], decodes: Sequence[float]) -> list[float]:
    """Return the time of each generation, which versions until 0.6 do not tell: that of its two parts."""
    if report.has("per_token") and len(prefills) == len(decodes):
        return [prefill + decode for prefill, decode in zip(prefills, decodes, strict=True)]
    return [decode + sum(prefills) / len(prefills) for decode in decodes] if prefills else []


def _values(report: Fields, target: str) -> list[float]:
    return report.at(target, "latency").times("values") if report.at(target).has("latency") else []


def _configured(config: Fields) -> _Work:
    scenario = config.inner("scenario")
    shapes = scenario.inner("input_shapes")
    generated = scenario.at("generate_kwargs")
    prompt = shapes.optional(shapes.tokens, "sequence_length")
    limit = generated.count("max_new_tokens", 1, MOST_TOKENS) if generated.has("max_new_tokens") else None
    rows = shapes.count("batch_size", 1, 10_000)
    if limit is None:
        return _Work(rows, None, prompt, "the number of new tokens is not in the configuration")
    if generated.content.get("min_new_tokens") == limit:
        return _Work(rows, limit, prompt, None, limit, is_fixed=True)
    note = "fewer tokens than max_new_tokens may have been generated: their number is not in the file"
    return _Work(rows, None, prompt, note, limit, is_fixed=False)


def _computed(report: Fields) -> _Work:
    """Return what throughput times mean latency tells: rows from the prefills, rows times tokens from decoding."""
    rows, decoded = _volume(report, "prefill"), _volume(report, "decode")
    if not rows:
        return _Work(None, None, None, "the report has neither batch size nor tokens; each generation is one sample")
    tokens = decoded // rows + 1 if decoded is not None and decoded % rows == 0 else None
    return _Work(rows, tokens, None, "batch size and tokens follow from the printed throughputs and latencies")


def _volume(report: Fields, target: str) -> int | None:
    inner = report.at(target)
    if not inner.has("latency") or not inner.has("throughput"):
        return None
    volume = inner.inner("throughput").number("value") * inner.inner("latency").number("mean")
    whole = round(volume)
    return whole if 0 <= whole <= MOST_TOKENS and abs(volume - whole) <= 1e-6 * max(1.0, volume) else None


def _notes(report: Fields, work: _Work, go_together: bool) -> Iterator[str]:
    if work.rows and work.rows > 1:
        yield "each generation is a batch; its rows have its times"
    if work.note:
        yield work.note
    if not go_together:
        yield "prefills were timed apart: decode_s is a generation less the mean prefill, and there is no first token"
    if report.has("first_generate"):
        yield "first_generate is not read: the tool times it after a generation that it does not time"


def _about(config: Fields | None) -> dict[str, Any]:
    """Return what the configuration tells of engine, model and machine."""
    if config is None:
        return {"backend": "optimum-benchmark"}
    backend, scenario = config.inner("backend"), config.inner("scenario")
    return {
        "backend": backend.text("name"),
        "backend_version": backend.optional(backend.text, "version"),
        "model": backend.text("model"),
        "quantisation": _format(backend),
        "device": backend.optional(backend.text, "device") or UNKNOWN,
        "options": {n: v for n, v in backend.content.items() if n not in _NO_OPTIONS and v not in (None, {})},
        "seed": backend.optional(backend.count, "seed"),
        "warmup": scenario.optional(scenario.count, "warmup_runs"),
        "environment": _environment(config),
        "conditions": _conditions(config),
    }


def _conditions(config: Fields) -> dict[str, JsonValue]:
    """Return what else the configuration has: scenario, launcher, and of the machine what no field is for."""
    found = flat(config.inner("scenario").content, "scenario.") | flat(config.inner("launcher").content, "launcher.")
    machine = config.at("environment").beyond(*_OF_MACHINE)
    others = {name: value for name, value in machine.items() if not name.endswith("_version")}
    return found | flat(others)


def _extra(report: Fields) -> dict[str, JsonValue]:
    """Return what the tool measured of each target beside its latencies."""
    parts = {name: report.inner(name).beyond("latency") for name in report.content if report.has(name)}
    return {name: part for name, part in parts.items() if part}


def _format(backend: Fields) -> str:
    quantised = backend.at("quantization_config")
    if quantised.has("quant_method"):
        return quantised.text("quant_method")
    return next((backend.text(name) for name in _FORMATS if backend.has(name)), UNKNOWN)


def _environment(config: Fields) -> Environment | None:
    if not config.has("environment"):
        return None
    told = config.inner("environment")
    gpus = told.content.get("gpu")
    packages = {
        name.removesuffix("_version"): str(value)
        for name, value in told.content.items()
        if name.endswith("_version") and value is not None and name != "python_version"
    }
    return Environment(
        platform=told.optional(told.text, "system"),
        machine=told.optional(told.text, "machine"),
        cpu_model=(told.optional(told.text, "cpu") or "").strip() or None,
        memory_bytes=round(told.number("cpu_ram_mb") * _BYTES_PER_MB) if told.has("cpu_ram_mb") else None,
        gpu=tuple(str(gpu) for gpu in gpus) if isinstance(gpus, list) else (),
        python=told.optional(told.text, "python_version"),
        packages=packages,
    )


def _figures(report: Fields) -> dict[str, Any]:
    """Return load time, memory and energy, as far as they were tracked."""
    loading = _values(report, "load_model") or _values(report, "load")
    peaks = [report.at(target, "memory") for target in ("generate", "prefill", "decode")]
    # of one call, processor and memory included, which no metric of ours is
    energy = {target: report.at(target, "energy") for target in ("prefill", "generate")}
    return {
        "load_s": loading[0] if loading else None,
        "peak_rss_bytes": _largest(peaks, "max_ram"),
        "peak_device_bytes": _largest(peaks, "max_process_vram"),
        "settings": {
            f"published_energy_kwh_{target}": repr(spent.number("total"))
            for target, spent in energy.items()
            if report.at(target).has("energy")
        },
    }


def _largest(peaks: Sequence[Fields], name: str) -> int | None:
    found = [peak.number(name) for peak in peaks if peak.has(name)]
    return round(max(found) * _BYTES_PER_MB) if found else None


@hookimpl
def decodebench_log_parsers() -> Sequence[type[LogParser]]:
    """Return the readers of both files."""
    return [OptimumBenchmark, OptimumReport]
