"""The CSV that a public engine-comparison workflow makes of its logs: 16 columns for tinygrad, 23 for llama.cpp.

A row of tinygrad is one token. A row of llama.cpp is one repetition of `n_gen` tokens; its step 0, left out here, is
the average of the others. Bytes are in GB/s (10^9) for tinygrad but in GiB/s (2^30) for llama.cpp, whose columns are
products: memory = tokens/s x model size, param = tokens/s x 2 bytes x parameters. Texts come one step late and lose
lines; they are not read.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import JsonValue

from ...core.contract.log_parser import LogParser
from ...core.records.raw_log import RawLogError
from ...core.records.schema import Environment, RecordedStep, Run, Sample
from ...core.sdk.gguf.names import format_of, size_of
from ...core.sdk.logs.fields import MOST_TOKENS, count, number
from ...core.sdk.logs.runs import UNKNOWN, digest_of
from ...core.sdk.logs.tables import column_names, read_table
from ...core.sdk.logs.text import malformed, read_text
from ...core.sdk.logs.workflow_header import HEADER, STEP_COLUMNS, Facts

_NO_MODEL = "the rows name no model: `model` is the size label"
_LLAMA = ("build_commit", "model_type", "n_gen", "n_batch", "n_threads", "gpu_info", "backends")


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: int
    values: dict[str, str]

    def number(self, name: str) -> float | None:
        return number(self.path, self.line, name, self.values[name]) if self.values[name] else None

    def count(self, name: str, least: int = 0) -> int:
        return count(self.path, self.line, name, self.values[name], least)

    def seconds(self) -> float:
        told = self.number("total_latency_ms")
        if not told:
            raise malformed(self.path, self.line, "total_latency_ms", "no time")
        return told / 1e3


class WorkflowCsv(LogParser):
    """Reads one run per log that the file was made of."""

    name: ClassVar[str] = "workflow-csv"
    summary: ClassVar[str] = "per-step CSV of an engine-comparison workflow: tinygrad.csv, llamacpp.csv"
    version: ClassVar[str] = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the column names; our own export has them too, and is refused when it is read."""
        return _kind(column_names(head)) is not None

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each run with a step per token, or a sample per repetition.

        Raises:
            RawLogError: it is an export of decodebench, or a value is damaged; names line and field.
        """
        text = read_text(path)
        names, table = read_table(path, text, texts=("generated_text",))
        kind = _kind(names)
        if kind is None:
            raise malformed(path, 1, "columns", "not those of the workflow")
        if kind == "export":
            raise RawLogError(f"{path}: an export of decodebench, which has less in it than its logs: import those")
        groups = _groups([_Row(path, line, values) for line, values in table])
        seen: dict[str, int] = {}
        digest = digest_of(text)
        for at, group in enumerate(groups):
            facts = Facts({name: group[0].values[name] for name in HEADER}, path)
            base = facts.get("uuid") or f"sha256-{digest}-{at}"
            seen[base] = seen.get(base, -1) + 1
            run_id = f"{base}-{seen[base]}" if seen[base] else base
            yield from (_tokens if kind == "tokens" else _repetitions)(run_id, group, facts)


def _kind(names: Sequence[str]) -> Literal["tokens", "repetitions", "export"] | None:
    """Say what a row is by the columns; None where they are not those of the workflow."""
    begin, others = tuple(names[: len(STEP_COLUMNS)]), tuple(names[len(STEP_COLUMNS) :])
    if begin != STEP_COLUMNS:
        return None
    if others in ((), _LLAMA):
        return "repetitions" if others else "tokens"
    return "export" if "cell_id" in others else None


def _groups(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Split where another log begins, or another test of the same log: steps count up within each."""
    groups: list[list[_Row]] = []
    last: tuple[str, int] | None = None
    for row in rows:
        place = row.values["uuid"], row.count("step")
        if last is None or place[0] != last[0] or place[1] <= last[1]:
            groups.append([])
        groups[-1].append(row)
        last = place
    kept = [[row for row in group if row.count("step") > 0] for group in groups]
    empty = next((group for group, rest in zip(groups, kept, strict=True) if not rest), None)
    if empty:
        raise malformed(empty[0].path, empty[0].line, "step", "an average of no row")
    return kept


def _tokens(run_id: str, rows: Sequence[_Row], facts: Facts) -> Iterator[Run | Sample | RecordedStep]:
    """Yield a run of tinygrad: every row is one token."""
    seconds = [row.seconds() for row in rows]
    rates = [row.number("param_throughput_gb_s") for row in rows]
    weights = [rate * 1e9 * time for rate, time in zip(rates, seconds, strict=True) if rate]
    yield facts.run(
        run_id,
        "tinygrad",
        seed=facts.seed(),
        samples=1,
        weight_bytes=round(statistics.median(weights)) if weights else None,
        derived=("weight_bytes",) if weights else (),
        notes=(
            *facts.notes(),
            "step 0 is the engine's warm-up, not a prefill: there is no time to first token",
            "the quantisation is the workflow's word, not the format of the weights",
            "texts are left out: the workflow's parser puts them one step late and drops lines; figures are rounded",
            _NO_MODEL,
        ),
    )
    yield Sample(run_id=run_id, index=0, output_tokens=len(rows), duration_s=sum(seconds))
    t_s = 0.0
    for index, (row, step_s) in enumerate(zip(rows, seconds, strict=True)):
        t_s += step_s
        enqueue_ms, moved = row.number("enqueue_latency_ms"), row.number("memory_throughput_gb_s")
        yield RecordedStep(
            run_id=run_id,
            sample=0,
            index=index,
            source_line=row.line,
            t_s=t_s,
            step_s=step_s,
            tokens=1,
            forwards=1,
            enqueue_s=None if enqueue_ms is None else enqueue_ms / 1e3,
            engine_s=step_s,
            bytes_read=None if moved is None else round(moved * 1e9 * step_s),
        )


def _repetitions(run_id: str, rows: Sequence[_Row], facts: Facts) -> Iterator[Run | Sample]:
    """Yield a run of llama.cpp: every row is one repetition of a generation test."""
    tokens = rows[0].count("n_gen", least=1)
    if tokens > MOST_TOKENS:
        raise malformed(rows[0].path, rows[0].line, "n_gen", f"{tokens} tokens are more than any context holds")
    size, parameters = (
        _per_token(rows, tokens, "memory_throughput_gb_s", 1),
        _per_token(rows, tokens, "param_throughput_gb_s", 2),
    )
    first = rows[0].values
    options: dict[str, JsonValue] = {
        name: rows[0].count(name) for name in ("n_gen", "n_batch", "n_threads") if first[name]
    }
    environment = facts.environment() or Environment()
    published = {"published_quantize": str(facts.get("quantize"))} if facts.get("quantize") else {}
    yield facts.run(
        run_id,
        "llama-cpp",
        backend_version=first["build_commit"] or None,
        samples=len(rows),
        max_new_tokens=tokens,
        weight_bytes=size,
        derived=("weight_bytes", "parameters", "bits_per_weight"),
        notes=(
            *facts.notes(),
            "the quantisation is the engine's word for the model; the device column is a constant and not read",
            "a row is one repetition of a test without a prompt; step 0, an average, is left out",
            "weight_bytes and parameters follow from the throughput columns, which are in GiB/s, not in GB/s",
            _NO_MODEL,
        ),
        options=options | {"n_prompt": 0},
        extra={"seed": facts.seed()} if facts.seed() is not None else {},
        parameters=parameters,
        bits_per_weight=8 * size / parameters if size and parameters else None,
        ignore_eos=True,
        quantisation=format_of(first["model_type"]) or facts.get("quantize") or UNKNOWN,
        size=size_of(first["model_type"]) or facts.get("size"),
        device=_device(first["backends"], first["gpu_info"]),
        environment=environment.model_copy(update={"gpu": (first["gpu_info"],) if first["gpu_info"] else ()}),
        settings={name: first[name] for name in ("model_type", "gpu_info", "backends") if first[name]} | published,
    )
    for index, row in enumerate(rows):
        yield Sample(
            run_id=run_id,
            index=index,
            source_line=row.line,
            sample_id=f"repetition-{index + 1}",
            output_tokens=tokens,
            decode_tokens=tokens,
            decode_s=row.seconds(),
            decode_forwards=tokens,
        )


def _device(backends: str, gpu: str) -> str:
    """Return the device where the engine had no backend but the CPU; which of several it used is not told."""
    names = {name for name in backends.split(",") if name and name not in ("CPU", "BLAS")}
    if not names:
        return "cpu" if backends else "unknown"
    name = sorted(names)[0].lower()
    return "metal" if name in ("metal", "mtl") else f"{name}:0" if gpu and "," not in gpu else name


def _per_token(rows: Sequence[_Row], tokens: int, name: str, bytes_each: int) -> int | None:
    """Return how many things of ``bytes_each`` bytes a token was taken to read."""
    told = [(rate, row.seconds()) for row in rows if (rate := row.number(name))]
    amounts = [rate * 2**30 * seconds / tokens / bytes_each for rate, seconds in told]
    return round(statistics.median(amounts)) if amounts else None
