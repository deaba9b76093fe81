"""The output of llama-bench in any of its forms, alone or as a public workflow stores it, header and errors around it.

A row is one test: `pp` reads a prompt, `tg` generates, `pg` does both, each `n_depth` tokens deep. A test is a run, its
repetitions are samples of that one launch. Rates are not read: they are computed from the times.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ....core.contract.log_parser import LogParser
from ....core.records.raw_log import RawLogError
from ....core.records.schema import Environment, Run, Sample
from ....core.sdk.gguf.names import format_of, model_of, size_of
from ....core.sdk.logs.fields import MOST_TOKENS, count, number
from ....core.sdk.logs.printed import left_out
from ....core.sdk.logs.runs import bare_run
from ....core.sdk.logs.structure import text_of, torn_page_of
from ....core.sdk.logs.workflow_header import HEADER_LINE, Facts
from ..devices import device_label
from .bench_place import Place, places_of
from .bench_rows import find_forms, has_crashed, read_tests, split_errors
from .bench_test import PUBLISHED, Row, Tests

_NOT_OPTIONS = frozenset(
    {"build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_filename", "model_type", "model_size"}
    | {"model_n_params", "test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "devices"}
)
_MEASURED = frozenset({"test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts"})
_NOT_DEVICES = frozenset({"CPU", "BLAS", "RPC", "ZenDNN"})
_OLD_BACKENDS = ("cuda", "metal", "vulkan", "kompute", "sycl", "opencl", "clblast")  # flags until late 2024
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_PRINTED = 1e-4
"""How far a printed rate may be from the printed time: rates have six digits."""


class LlamaBench(LogParser):
    """Reads one run per test."""

    name = "llama-bench"
    summary = "llama-bench of llama.cpp: -o json, jsonl, csv, sql or md"
    version = "4"
    within_pages = True

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the tool's columns, or for the log of a wrapper whose tool died before its first test."""
        text = text_of(path)
        is_long = len(text) > len(head) and not any(name in text for name in ("build_commit", "n_prompt", "t/s"))
        lines = (text[: len(head)] if is_long else text).split("\n")
        return any(find_forms(split_errors(lines)[0])) or _is_dead(path, lines)

    def read(self, path: Path) -> Iterator[Run | Sample]:
        """Yield each test and its repetitions; a failed run where there is none.

        Raises:
            RawLogError: a test is damaged, or its figures contradict one another; names line and field.
        """
        text, is_torn = torn_page_of(path)
        lines = text.split("\n")
        tests = read_tests(path, lines)
        facts = Facts.read(path, split_errors(lines)[0])
        base = facts.run_id(text)
        read = list(_tests(base, tests, facts, places_of(lines, [row.line for row in tests.rows])))
        if not read and tests.odd and not tests.cut:
            raise tests.odd[0]
        notes = left_out(path, tests.odd)
        for run, samples in read:
            yield run.model_copy(update={"notes": (*run.notes, *notes)}) if notes else run
            yield from samples
        if tests.odd and tests.forms != ("md",):
            tests.cut = "; ".join(notes)
        if read and not tests.cut and has_crashed(lines):
            tests.cut = "llama-bench died before its next test ended"
        if is_torn and read and not tests.cut:
            tests.cut = "the file does not end in text: it was cut off"
        if not any(row.is_cut for row in tests.rows) and (tests.cut or not read):
            yield _lost(f"{base}-lost" if tests.rows else base, tests, facts)


def _tests(base: str, tests: Tests, facts: Facts, places: Sequence[Place]) -> Iterator[tuple[Run, list[Sample]]]:
    """Yield the run and the samples of each test; one whose figures contradict each other is left out."""
    alike: dict[Hashable, tuple[Run, Sample | None]] = {}  # a test of those that were asked for alike
    for at, (row, place) in enumerate(zip(tests.rows, places, strict=True)):
        run_id = base if len(tests.rows) == 1 else f"{base}-{at}"
        asked = frozenset(
            (name, value)
            for name, value in row.values.items()
            if name not in _MEASURED and not name.startswith(PUBLISHED)
        )
        kind = asked, row.is_cut, row.samples_ns is None, place
        run, sample = alike.get(kind, (None, None))
        try:
            samples = [] if row.is_cut else list(_samples(run_id, row, sample))
            if run is None:
                run = _run(row, tests, facts, place, **_asked_for(row, facts))
                alike[kind] = run, samples[0] if samples else None
        except RawLogError as error:
            tests.odd.append(error)
            continue
        own = {
            "run_id": run_id,
            "cell_index": at,
            "started_at": row.values.get("test_time", ""),
            "samples": len(samples) if row.samples_ns else None,
            "source_line": row.line,
            "settings": _settings(row, facts),
        }
        yield (
            run.model_copy(update=own),
            samples,
        )  # all of it is of the right kind; to check it anew takes ten times as long


def _is_dead(path: Path, lines: Sequence[str]) -> bool:
    if has_crashed(lines):
        return True
    printed, errors = split_errors(lines)
    told = [line for line in printed if line.strip()]
    is_llama = path.name.startswith("llamacpp_") or any("llama" in line for line in errors)
    return is_llama and len(told) >= 3 and all(map(HEADER_LINE.fullmatch, told))


def _lost(run_id: str, tests: Tests, facts: Facts) -> Run:
    """Return the run of the test that a file does not have."""
    last = tests.rows[-1].values if tests.rows else {}
    names = last.get("model_type", ""), last.get("model_filename", "")
    reason = tests.cut or "no test in the log: llama-bench died before its first one ended"
    return bare_run(
        run_id,
        "llama-cpp",
        kind="autoregressive",
        model=model_of(*names) or facts.get("size") or "unknown",
        size=size_of(names[0]) or facts.get("size"),
        quantisation=format_of(*names) or facts.get("quantize") or "unknown",
        device=_device(tests.rows[-1]) if tests.rows else "unknown",
        environment=facts.environment(),
        status="incomplete" if tests.rows else "failed",
        reason=f"{reason}; its last words: {tests.errors}" if tests.errors else reason,
        notes=(
            "the missing test is not known: model and quantisation are of the one before it, or the wrapper's words",
            *facts.notes(),
        ),
    )


def _run(row: Row, tests: Tests, facts: Facts, place: Place, **known: Any) -> Run:  # noqa: ANN401 - fields of Run
    """Return the run of tests that were asked for alike, without what is each one's own."""
    return bare_run(
        "",
        "llama-cpp",
        kind="autoregressive",
        ignore_eos=True,
        environment=_environment(row, facts, place.gpus),
        conditions={"heading": place.heading} if place.heading else {},
        cut=tests.cut if row.is_cut else None,
        notes=tuple(_notes(row, tests, facts)),
        **known,
    )


def _asked_for(row: Row, facts: Facts) -> dict[str, Any]:
    """Return the fields of a run that say what was measured, and how."""
    values = row.values
    type_name, file_name = values.get("model_type", ""), values.get("model_filename", "")
    size, parameters = _count(row, "model_size"), _count(row, "model_n_params")
    return {
        "backend_version": _version(values.get("build_number"), values.get("build_commit")),
        "model": model_of(type_name, file_name) or "unknown",
        "size": size_of(type_name) or facts.get("size"),
        "quantisation": format_of(type_name, file_name) or "unknown",
        "bits_per_weight": 8 * size / parameters if size and parameters else None,
        "device": _device(row),
        "options": _options(row),
        "max_new_tokens": _tokens(row, "n_gen") or None,
        "depth": _tokens(row, "n_depth") if "n_depth" in values else None,
        "parameters": parameters,
        "weight_bytes": size,
    }


def _samples(run_id: str, row: Row, alike: Sample | None) -> Iterator[Sample]:
    """Yield the repetitions of a test; one of a test that was asked for alike saves checking the fields anew."""
    prompt, generated = _tokens(row, "n_prompt"), _tokens(row, "n_gen")
    if not prompt + generated:
        raise row.fail("n_gen", "a test of no token")
    timed = "duration_s" if prompt and generated else "decode_s" if generated else "prefill_s"
    decoded = generated if timed == "decode_s" else None
    variation = _variation(row)
    for index, seconds in enumerate(_seconds(row, prompt + generated)):
        alike = alike or Sample(
            run_id=run_id,
            index=index,
            prompt_tokens=prompt,
            output_tokens=generated,
            finish="length" if generated else None,
            decode_tokens=decoded,
            decode_forwards=decoded,
        )
        own = {
            "run_id": run_id,
            "index": index,
            "source_line": row.line,
            "sample_id": f"repetition-{index + 1}" if row.samples_ns else "mean",
            "variation": variation,
            timed: seconds,
        }
        yield alike.model_copy(update=own)


def _seconds(row: Row, tokens: int) -> Iterator[float]:
    """Yield the time of each repetition, or their mean."""
    if row.samples_ns is None:
        mean = _mean_ns(row, tokens)
        if mean:
            yield mean / 1e9
        return
    rates = row.samples_ts or [1e9 * tokens / time for time in row.samples_ns]
    if len(rates) != len(row.samples_ns):
        raise row.fail("samples_ts", f"{len(rates)} rates for {len(row.samples_ns)} times")
    for at, (time, rate) in enumerate(zip(row.samples_ns, rates, strict=True)):
        if abs(rate * time - 1e9 * tokens) > _PRINTED * 1e9 * tokens:
            raise row.fail(f"samples_ts[{at}]", f"{rate:g} tokens/s is not {tokens} tokens in {time} ns")
        yield time / 1e9


def _mean_ns(row: Row, tokens: int) -> float:
    if "avg_ns" in row.values:
        return number(row.path, row.line, "avg_ns", row.values["avg_ns"])
    rate = number(row.path, row.line, "avg_ts", row.values.get("avg_ts", ""))
    return 1e9 * tokens / rate if rate else 0.0


def _variation(row: Row) -> float | None:
    """Return the printed deviation of the repetitions by their mean, where only the two are told."""
    for names in (("avg_ns", "stddev_ns"), ("avg_ts", "stddev_ts")) if row.samples_ns is None else ():
        mean, deviation = (row.values.get(name, "") for name in names)
        if _DECIMAL.fullmatch(mean) and _DECIMAL.fullmatch(deviation) and float(mean):
            return float(deviation) / float(mean)
    return None


def _count(row: Row, name: str) -> int | None:
    text = row.values.get(name)
    if not text:
        return None
    known = _integer(text)
    return (known if known is not None and known >= 0 else count(row.path, row.line, name, text)) or None


@lru_cache(maxsize=4096)  # of a table, rows have the counts and options of others
def _integer(text: str) -> int | None:
    """Return a whole number of either sign; None for any other text."""
    return int(text) if _INTEGER.fullmatch(text) else None


def _tokens(row: Row, name: str) -> int:
    found = _count(row, name) or 0
    if found > MOST_TOKENS:
        raise row.fail(name, f"{found} tokens are more than any context holds")
    return found


def _options(row: Row) -> dict[str, JsonValue]:
    """Return what was asked for, numbers as such; true and false are 1 and 0."""
    options: dict[str, JsonValue] = {}
    for name, value in row.values.items():
        if name not in _NOT_OPTIONS and name not in _OLD_BACKENDS and not name.startswith(PUBLISHED):
            known = _integer(value)
            options[name] = value if known is None else known
    return options


def _device(row: Row) -> str:
    """Return the device of the layers, by our names."""
    values = row.values
    chosen = values.get("devices", "auto")
    if chosen == "none":
        return "cpu"
    if chosen not in ("auto", ""):
        return "+".join(device_label(name) for name in chosen.split("/"))
    names = [name for name in values.get("backends", "").split(",") if name and name not in _NOT_DEVICES]
    names = names or [name for name in _OLD_BACKENDS if values.get(name) == "1"]
    if not names:
        return "cpu" if values.get("backends") or values.get("cpu_info") else "unknown"
    if values.get("n_gpu_layers") == "0":
        return "cpu"
    label = device_label(names[0])
    return label if label == "metal" or len(_gpus(row)) != 1 else f"{label}:0"


def _gpus(row: Row) -> tuple[str, ...]:
    return tuple(name for name in row.values.get("gpu_info", "").split(", ") if name)


def _environment(row: Row, facts: Facts, gpus: tuple[str, ...]) -> Environment | None:
    """Return the machine as the row has it; the GPUs that the engine printed where the row has none."""
    cpu, gpus = row.values.get("cpu_info") or None, _gpus(row) or gpus
    told = facts.environment()
    if told is None:
        return Environment(cpu_model=cpu, gpu=gpus) if cpu or gpus else None
    return told.model_copy(update={"cpu_model": cpu, "gpu": gpus})


def _settings(row: Row, facts: Facts) -> dict[str, str]:
    settings = {name: row.values[name] for name in ("model_filename", "model_type", "backends") if row.values.get(name)}
    if row.samples_ns is None and row.values.get("stddev_ns"):
        settings["published_stddev_ns"] = row.values["stddev_ns"]
    settings |= {name: value for name, value in row.values.items() if name.startswith(PUBLISHED)}
    if row.values.get("stddev_ts"):
        settings["published_tokens_per_s"] = f"{row.values.get('avg_ts')} ± {row.values['stddev_ts']}"
    if facts.get("quantize"):
        settings["published_quantize"] = str(facts.get("quantize"))
    return settings


def _version(number: str | None, commit: str | None) -> str | None:
    known = [f"b{number}"] if number and number != "0" else []
    known += [commit] if commit and commit != "unknown" else []
    return " ".join(known) or None


def _notes(row: Row, tests: Tests, facts: Facts) -> Iterator[str]:
    yield (
        "llama-bench feeds token ids of its own: no prompt text, no sampling, no tokenising; its untimed warm-up "
        "(off with --no-warmup) is not in the log"
    )
    if _tokens(row, "n_prompt") and _tokens(row, "n_gen"):
        yield "one time over prompt and generation: neither prefill nor decode speed can be told apart"
    if row.samples_ns is None and not row.is_cut:
        yield "the log has averages only: the one sample is the mean of an unknown number of repetitions"
    if row.is_printed:
        yield (
            "from a table: the mean rate has two decimals and is turned into a time; model size and parameters are "
            "rounded to two decimals, and so is what follows from them"
        )
    if row.values.get("n_gpu_layers") == "0" and _device(row) == "cpu" and _gpus(row):
        yield "no layer is on the GPU, but the engine may still use it for large batches"
    if tests.cut:
        yield tests.cut
    if facts.get("uuid"):
        yield "the wrapper's seed and its word for the quantisation have no effect on llama-bench"
        yield from facts.notes()
