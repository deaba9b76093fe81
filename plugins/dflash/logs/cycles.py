"""Cycle traces of the published DFlash scripts: JSONL, one line per verify cycle.

::

    {"rank": 0, "dataset": "aime25", "dataset_row_idx": 0, "turn_index": 0, "mode": "speculative", "block_size": 16,
     "cycle_idx": 0, "generated_tokens_before": 0, "effective_block_size": 16, "tau": 7, "acceptance_ratio": 0.4375,
     "draft_s": 0.011, "target_s": 0.044, "cycle_s": 0.056}

Traces of suffix seeding have ``start_idx`` instead of ``generated_tokens_before``, no times, and in ``block_size``
the effective size. Each mode and block size becomes a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from ....core.records.schema import RecordedStep, Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, Fields
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.json_files import read_rows
from .cycle import Cycle
from .runs import BASELINE, make_run, missing_note

_WHERE = ("rank", "dataset_row_idx", "turn_index", "local_batch_idx")
_MISSING = (
    "model", "draft", "machine", "sampling", "time to first token", "wall time", "texts", "token ids", "stop tokens",
)  # fmt: skip


@dataclass(slots=True)
class _Trace:
    """The cycles of one prompt.

    Attributes:
        where: rank, row, turn and place in its batch; None where the row does not say.
        origin: position of the first anchor, where the trace counts from the prompt's start.
    """

    where: tuple[int | None, ...]
    origin: int | None
    cycles: list[Cycle] = field(default_factory=list)

    @property
    def gained(self) -> int:
        return sum(cycle.tau for cycle in self.cycles)

    def output_tokens(self, limit: int | None) -> int:
        """Tokens of the output: as the rows tell, else what was gained up to the limit."""
        told = [cycle.committed for cycle in self.cycles]
        if None not in told:
            return 1 + sum(count for count in told if count is not None)
        return 1 + self.gained if limit is None else max(1, min(1 + self.gained, limit))


@dataclass(slots=True)
class _Traced:
    """The prompts of one mode."""

    mode: str
    dataset: str
    options: dict[str, JsonValue]
    is_seeded: bool
    traces: dict[tuple[int | None, ...], _Trace] = field(default_factory=dict)

    @property
    def block_size(self) -> int:
        """Configured block size: the wrapper's; a seeding trace shows it only as its largest block."""
        told = self.options.get("block_size")
        sizes = (cycle.block_size or 1 for trace in self.traces.values() for cycle in trace.cycles)
        return told if isinstance(told, int) else max(sizes)


class CycleTrace(JsonFormat):
    """Reads one run per mode and block size; a sample's cycles follow a first step for the prefill."""

    name = "dflash-cycles"
    summary = "cycle traces of the DFlash scripts: JSONL, one line per verify cycle"
    version = "2"
    keys = ("dataset_row_idx", "mode", "cycle_idx")

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each run with its samples and steps.

        Raises:
            RawLogError: a row is no cycle, or one is missing between two; names line and field.
        """
        file = read_rows(path, may_be_none=True)
        runs = _without_twins(_runs(file.rows))
        limit = _limit(runs)
        if not runs:
            yield make_run(f"sha256-{file.digest}-0", "unknown", {}, cut=file.cut or "no row in the file")
        for position, traced in enumerate(runs):
            run_id = f"sha256-{file.digest}-{position}"
            yield _run(run_id, traced, limit, file.cut)
            for index, trace in enumerate(traced.traces.values()):
                yield from _records(run_id, index, traced.dataset, trace, limit)


def _runs(rows: Iterable[Fields]) -> list[_Traced]:
    """Sort the rows into runs and prompts; a cycle that comes again, as in joined files, begins another run."""
    runs: dict[tuple[object, ...], _Traced] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for row in rows:
        is_seeded = not row.has("effective_block_size")
        mode, dataset, index = row.text("mode"), row.text("dataset"), row.count("cycle_idx", most=MOST_TOKENS)
        options = _options(row, mode, is_seeded)
        where = tuple(row.optional(row.count, name) for name in _WHERE)
        kind = (mode, dataset, *options.items())
        again = seen[*kind, where, index]
        seen[*kind, where, index] += 1
        traced = runs.setdefault((*kind, again), _Traced(mode, dataset, options, is_seeded))
        _add(traced, where, index, row)
    return list(runs.values())


def _options(row: Fields, mode: str, is_seeded: bool) -> dict[str, JsonValue]:
    if mode == "baseline":
        return dict(BASELINE)
    if is_seeded:
        return {"seed_mode": row.text("seed_mode")}
    return {"block_size": row.count("block_size", 1, MOST_TOKENS)}


def _add(traced: _Traced, where: tuple[int | None, ...], index: int, row: Fields) -> None:
    """Append a cycle to its prompt's; it must begin where the one before ended."""
    before_field, size_field = "generated_tokens_before", "effective_block_size"
    if traced.is_seeded:
        before_field, size_field = "start_idx", "block_size"
    before = row.count(before_field)
    origin = before if traced.is_seeded else None
    trace = traced.traces.setdefault(where, _Trace(where, origin))
    if index != len(trace.cycles):
        raise row.fail("cycle_idx", f"cycle {index} of the prompt, but {len(trace.cycles)} stand before it")
    if before != (trace.origin or 0) + trace.gained:
        text = f"{before}, but the cycles before it end at {(trace.origin or 0) + trace.gained}"
        raise row.fail(before_field, text)
    cycle = Cycle.of_row(row, size_field)
    if trace.gained + cycle.tau > MOST_TOKENS:
        raise row.fail("tau", f"more than {MOST_TOKENS} tokens of one prompt")
    trace.cycles.append(cycle)


def _without_twins(runs: Sequence[_Traced]) -> list[_Traced]:
    """Leave out a method with blocks of one token that repeats the baseline cycle by cycle: it is the same object."""
    baselines = [traced.traces for traced in runs if traced.mode == "baseline"]
    return [
        traced
        for traced in runs
        if traced.mode == "baseline" or traced.block_size > 1 or traced.traces not in baselines
    ]


def _limit(runs: Sequence[_Traced]) -> int | None:
    """Return the token limit where a block was shortened to end at it."""
    found = set()
    if any(cycle.committed is not None for run in runs for trace in run.traces.values() for cycle in trace.cycles):
        return None  # no published trace: the rule does not hold
    for traced in runs:
        for trace in traced.traces.values():
            gained = 0
            for cycle in trace.cycles:
                if cycle.block_size and cycle.block_size < traced.block_size:
                    found.add(gained + cycle.block_size)
                gained += cycle.tau
    return found.pop() if len(found) == 1 else None


def _run(run_id: str, traced: _Traced, limit: int | None, cut: str | None) -> Run:
    notes = ["output_tokens counts what the cycles gained: a stop token within the last one is not in the trace"]
    if limit is None:
        notes.append("the token limit is not in the file")
    else:
        notes.append(f"the token limit is not in the file: {limit} is where shortened blocks end")
    if traced.is_seeded and traced.mode != "baseline":
        notes.append("block_size of the run is its largest block: the file overwrites the configured one")
    return make_run(
        run_id,
        traced.mode,
        {**traced.options, "block_size": traced.block_size},
        cut=cut,
        notes=[*notes, missing_note(_MISSING)],
        task=traced.dataset,
        samples=None if cut else len(traced.traces),
        max_new_tokens=limit,
        first_step_is_prefill=True,
    )


def _records(
    run_id: str, index: int, dataset: str, trace: _Trace, limit: int | None
) -> Iterator[Sample | RecordedStep]:
    output_tokens = trace.output_tokens(limit)
    told = zip(_WHERE, trace.where, strict=True)
    yield Sample(
        run_id=run_id,
        index=index,
        sample_id="/".join([dataset, *(str(number or 0) for number in trace.where[1:3])]),
        prompt_tokens=trace.origin,
        output_tokens=output_tokens,
        finish="length" if output_tokens == limit else None,
        engine={f"published_{name}": float(number) for name, number in told if number is not None},
    )
    yield RecordedStep(run_id=run_id, sample=index, index=0, tokens=1, forwards=1)
    known = 1
    for number, cycle in enumerate(trace.cycles, start=1):
        tokens = max(0, min(cycle.tau, output_tokens - known)) if cycle.committed is None else cycle.committed
        yield cycle.step(run_id, index, number, tokens)
        known += tokens
