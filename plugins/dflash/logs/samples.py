"""Result rows of the published DFlash scripts, one per prompt: JSONL with the baseline and the method side by side.

::

    {"rank": 0, "dataset_row_idx": 0, "turn_index": 0, "dataset": "aime25", "prompt_text": ..., "input_text": ...,
     "block_size": 16, "draft_steps": 1, "baseline": {"output_text": ..., "num_output_tokens": 9, "wall_time_s": 1.2,
     "ttft_s": 0.1, "tpot_s": 0.12, "acceptance_lengths": [1, 1, ...]}, "speculative": {...}}

The method is called ``speculative`` (a map by block size where several were run in one process), ``dynamic`` or
``multiround``. Each mode of a file becomes a run.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from ....core.records.schema import RecordedStep, Run, Sample
from ....core.sdk.logs.fields import MOST_TOKENS, Fields, Readers
from ....core.sdk.logs.formats import JsonFormat
from ....core.sdk.logs.json_files import read_rows
from .cycle import Cycle
from .runs import BASELINE, make_run, missing_note

_ROW_OPTIONS: Readers = {
    "block_size": Fields.count,
    "draft_steps": Fields.count,
    "candidate_mode": Fields.text,
    "max_candidates": Fields.count,
    "branch_depth": Fields.count,
    "branch_top_k": Fields.count,
    "branch_margin_threshold": Fields.signed,
    "fixed_prefix_len": Fields.count,
    "sparse_max_positions": Fields.count,
    "adaptive_candidates": Fields.flag,
    "adaptive_budgets": Fields.anything,
    "adaptive_accept_thresholds": Fields.anything,
    "adaptive_warmup_cycles": Fields.count,
    "adaptive_probe_interval": Fields.count,
}
_METHOD_OPTIONS: Readers = {
    "seed_mode": Fields.text,
    "seed_max_tokens": Fields.signed,
    "candidate_block_sizes": Fields.counts,
    "round_block_sizes": Fields.counts,
}
_ROUND: Readers = dict.fromkeys(("proposal_prob", "residual_prob", "accept_prob", "u"), Fields.number)
_METHODS = ("speculative", "dynamic", "multiround")
_SCHEDULERS = {"ewma_performance": "ewma"}  # name in older files -> name since
_SUMMARIES = ("profile_summary", "seed_summary", "candidate_summary")
_WHERE = ("rank", "dataset_row_idx", "turn_index", "local_batch_idx")
_OF_ROW = ("dataset", "prompt_text", "input_text", "baseline", *_METHODS, *_WHERE)
_MISSING = ("model", "draft", "machine", "sampling", "times of single tokens", "token ids")


@dataclass(frozen=True, slots=True)
class _Result:
    """What one mode made of one prompt."""

    mode: str
    options: Mapping[str, JsonValue]
    row: Fields
    fields: Fields
    tokens: int
    cycles: list[Cycle]
    has_sizes: bool  # whether the row tells each cycle's block size

    @property
    def dataset(self) -> str:
        return self.row.text("dataset")

    @property
    def place(self) -> tuple[int, ...]:
        return tuple(self.row.optional(self.row.count, name) or 0 for name in _WHERE)

    @property
    def sample_id(self) -> str:
        """Name the problem by its prompt: the row's index is one within a subset that differs between runs."""
        if self.row.has("input_text"):
            return f"{self.dataset}/{hashlib.sha256(self.row.text('input_text').encode()).hexdigest()[:12]}"
        return "/".join([self.dataset, *map(str, self.place[1:3])])

    @property
    def gained(self) -> int:
        """Tokens that all cycles gained; the prefill's is not among them."""
        return sum(cycle.tau for cycle in self.cycles)


class SampleRows(JsonFormat):
    """Reads one run per mode; the first step of a sample is its prefill, every other one a verify cycle."""

    name = "dflash-samples"
    summary = "result rows of the DFlash scripts: JSONL, one line per prompt"
    version = "2"
    keys = ("dataset_row_idx", "prompt_text")

    def read(self, path: Path) -> Iterator[Run | Sample | RecordedStep]:
        """Yield each run with its samples and steps.

        Raises:
            RawLogError: a row is no row of these scripts, or contradicts itself; names line and field.
        """
        file = read_rows(path, may_be_none=True)
        results = [result for row in file.rows for result in _results(row)]
        runs = _by_run(results)
        limit = _limit(results)
        if not runs:
            yield make_run(f"sha256-{file.digest}-0", "unknown", {}, cut=file.cut or "no row in the file")
        for position, members in enumerate(runs):
            run_id = f"sha256-{file.digest}-{position}"
            yield _run(run_id, members, limit, file.cut)
            for index, result in enumerate(members):
                yield from _records(run_id, index, result, limit)


def _results(row: Fields) -> Iterator[_Result]:
    baseline = row.optional(row.inner, "baseline")
    if baseline:
        yield _result("baseline", BASELINE, row, baseline)
    methods = [name for name in _METHODS if row.has(name)]
    if not (baseline or methods):
        raise row.fail("speculative", "the row has neither a baseline nor a method's result")
    for name in methods:
        for size, fields in _methods(row, name):
            options = {**row.read(_ROW_OPTIONS), **size, **fields.read(_METHOD_OPTIONS), **_scheduler(fields)}
            is_plain = name == "speculative" and options.get("block_size") == 1
            if not (is_plain and baseline and baseline.content == fields.content):  # the same result, printed twice
                yield _result("baseline" if is_plain else name, BASELINE if is_plain else options, row, fields)


def _methods(row: Fields, name: str) -> Iterator[tuple[dict[str, JsonValue], Fields]]:
    """Yield the results of a method with the block size where it stands beside them."""
    found = row.inner(name)
    if not all(key.isdecimal() for key in found.content):
        yield {}, found
        return
    sizes = {key: found.inner(key) for key in found.content}
    if not sizes:
        raise row.fail(name, "no result in it")
    for key, fields in sizes.items():
        if not (len(key) < 7 and int(key)):
            raise found.fail(key, "no block size")
        yield {"block_size": int(key)}, fields


def _scheduler(fields: Fields) -> dict[str, JsonValue]:
    if not fields.has("candidate_block_sizes"):
        return {}
    if not fields.has("scheduler"):
        return {"scheduler": "threshold"}
    scheduler = fields.inner("scheduler")
    kind = scheduler.text("type") if scheduler.has("type") else "threshold"
    told = {name: scheduler.scalar(name) for name in scheduler.content if name not in ("type", "candidate_block_sizes")}
    return {**told, "scheduler": _SCHEDULERS.get(kind, kind)}


def _result(mode: str, options: Mapping[str, JsonValue], row: Fields, fields: Fields) -> _Result:
    tokens = fields.count("num_output_tokens", most=MOST_TOKENS)
    cycles = _cycles(mode, options, fields, tokens)
    has_sizes = fields.has("cycle_trace") or fields.has("used_block_sizes") or mode in ("baseline", "multiround")
    result = _Result(mode, options, row, fields, tokens, cycles, has_sizes)
    before_last = result.gained - (cycles[-1].tau if cycles else 0)
    if tokens > result.gained + 1 or (cycles and tokens <= before_last):
        field = "acceptance_lengths" if fields.has("acceptance_lengths") else "num_output_tokens"
        raise fields.fail(field, f"cycles that gained {result.gained} tokens do not make an output of {tokens}")
    return result


def _cycles(mode: str, options: Mapping[str, JsonValue], fields: Fields, tokens: int) -> list[Cycle]:
    """Return the cycles of a sample; block sizes that the row does not tell are the configured one."""
    if mode == "multiround":
        return _rounds(fields, tokens)
    if not fields.has("acceptance_lengths"):
        if mode != "baseline":
            raise fields.fail("acceptance_lengths", "missing")
        return [Cycle(1, 1) for _ in range(tokens - 1)]
    taus = fields.counts("acceptance_lengths", least=1, most=MOST_TOKENS)
    if fields.has("cycle_trace"):
        cycles = [Cycle.of_row(row, "block_size") for row in fields.rows("cycle_trace")]
    elif fields.has("used_block_sizes"):
        sizes = fields.counts("used_block_sizes", least=1, most=MOST_TOKENS)
        cycles = [Cycle(tau, size) for tau, size in zip(taus, sizes, strict=False)]
        if len(sizes) != len(taus):
            raise fields.fail("used_block_sizes", f"{len(sizes)} block sizes for {len(taus)} acceptance lengths")
    else:
        size = options.get("block_size")
        cycles = [Cycle(tau, size if isinstance(size, int) else None) for tau in taus]
    if [cycle.tau for cycle in cycles] != taus:
        raise fields.fail("cycle_trace", "its taus are not the acceptance lengths")
    for tau, cycle in zip(taus, cycles, strict=True):
        if cycle.block_size is not None and tau > cycle.block_size:
            raise fields.fail("acceptance_lengths", f"{tau} tokens from a block of {cycle.block_size}")
    return cycles


def _rounds(fields: Fields, tokens: int) -> list[Cycle]:
    """Return the steps of multi-round sampling: one token each, found by a round from 1, or by the residual."""
    sizes = fields.counts("round_block_sizes", least=1) if fields.has("round_block_sizes") else []
    if not fields.has("accepted_rounds"):
        return [Cycle(1, None) for _ in range(tokens - 1)]
    rounds = fields.counts("accepted_rounds", least=1)
    traces = {row.count("step_idx"): row for row in fields.optional(fields.rows, "round_trace") or ()}
    cycles = []
    for index, number in enumerate(rounds):
        trace: dict[str, JsonValue] = {"round_idx": number, "accepted": number <= len(sizes)}
        size = sizes[number - 1] if number <= len(sizes) else 1
        if row := traces.get(index):
            trace |= row.read(_ROUND)
            size = row.count("configured_block_size", 1) if row.has("configured_block_size") else size
        facts = {"drafted": min(number, len(sizes)), "accepted": int(number <= len(sizes))}
        cycles.append(Cycle(1, size, facts, trace))
    return cycles


def _by_run(results: Iterable[_Result]) -> list[list[_Result]]:
    """Group by mode, data set and options; a prompt that comes again, as in joined files, begins another run."""
    runs: dict[tuple[str, str, str, int], list[_Result]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for result in results:
        kind = (result.mode, result.dataset, json.dumps(result.options, sort_keys=True))
        again = seen[*kind, result.place]
        seen[*kind, result.place] += 1
        runs.setdefault((*kind, again), []).append(result)
    return list(runs.values())


def _limit(results: Sequence[_Result]) -> int | None:
    """Return the token limit where the rows give it away.

    The published loop gains exactly as many tokens as the limit when no stop token ends it. A last cycle of one token
    then shows it: it would not have run behind a stop. Else two prompts that end at the same greatest length do.
    """
    shown = {r.tokens for r in results if r.tokens > 1 and r.gained == r.tokens and r.cycles[-1].tau == 1}
    if shown:
        return shown.pop() if len(shown) == 1 else None
    longest = max((result.tokens for result in results), default=0)
    ended_there = {result.sample_id for result in results if result.tokens == longest}
    return longest if len(ended_there) > 1 else None


def _run(run_id: str, members: Sequence[_Result], limit: int | None, cut: str | None) -> Run:
    first = members[0]
    pairs = [(row.get("input_text"), row.get("prompt_text")) for row in (result.row.content for result in members)]
    known = [(given, prompt) for given, prompt in pairs if None not in (given, prompt)]
    return make_run(
        run_id,
        first.mode,
        first.options,
        cut=cut,
        notes=[*_notes(first, limit), missing_note(_MISSING)],
        task=first.dataset,
        samples=None if cut else len(members),
        max_new_tokens=limit,
        chat=any(given != prompt for given, prompt in known) if known else None,
        first_step_is_prefill=True,
    )


def _notes(first: _Result, limit: int | None) -> Iterator[str]:
    yield "duration_s is wall_time_s: it ends behind the clean-up of the output, and holds the first draft forward"
    if limit is None:
        yield "the token limit is not in the file"
    else:
        yield f"the token limit is not in the file: {limit} is where outputs end that no stop token ended"
    if first.mode == "baseline" and not first.fields.has("acceptance_lengths"):
        yield "the baseline's steps are not in the file: by its loop each is one token"
    if not first.has_sizes:
        yield "block_size of the cycles is the configured one, at the token limit what was left of it"


def _records(run_id: str, index: int, result: _Result, limit: int | None) -> Iterator[Sample | RecordedStep]:
    fields, row = result.fields, result.row
    ttft_s, wall_s = fields.number("ttft_s"), fields.number("wall_time_s")
    if ttft_s > wall_s:
        raise fields.fail("ttft_s", f"{ttft_s} s to the first token, but {wall_s} s in all")
    finish = None if limit is None else "length" if result.tokens == limit else "stop"
    yield Sample(
        run_id=run_id,
        index=index,
        sample_id=result.sample_id,
        prompt=row.optional(row.text, "input_text"),
        prompt_tokens=fields.optional(fields.count, "num_input_tokens"),
        output_tokens=result.tokens,
        output_ids=tuple(fields.counts("output_ids")) if fields.has("output_ids") else None,
        text=fields.optional(fields.text, "output_text"),
        finish=finish,
        duration_s=wall_s,
        engine=_counters(result, ttft_s, wall_s),
        extra=row.beyond(*_OF_ROW, *_ROW_OPTIONS),
    )
    if result.tokens:
        yield RecordedStep(run_id=run_id, sample=index, index=0, t_s=ttft_s, step_s=ttft_s, tokens=1, forwards=1)
    known = 1
    for number, cycle in enumerate(_sized(result, limit), start=1):
        tokens = min(cycle.tau, result.tokens - known)
        yield cycle.step(run_id, index, number, tokens)
        known += tokens


def _sized(result: _Result, limit: int | None) -> Iterator[Cycle]:
    """Yield the cycles; near a known limit the published loop's blocks end at it."""
    gained = 0
    for cycle in result.cycles:
        if not result.has_sizes and cycle.block_size and limit is not None:
            left = max(cycle.tau, min(cycle.block_size, limit - gained))
            yield replace(cycle, block_size=left)
        else:
            yield cycle
        gained += cycle.tau


def _counters(result: _Result, ttft_s: float, wall_s: float) -> dict[str, float]:
    fields = result.fields
    told = {"ttft_s": ttft_s, "wall_s": wall_s, "output_tokens": float(result.tokens)}
    told |= fields.read({"tpot_s": Fields.number})
    told |= {name: float(count) for name, count in result.row.read(dict.fromkeys(_WHERE, Fields.count)).items()}
    for summary in _SUMMARIES:
        if fields.has(summary):
            told |= _numbers(fields.inner(summary))
    return {f"published_{name}": value for name, value in told.items()}


def _numbers(summary: Fields) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a summary; those of its tallies get their key as a suffix, such as ``..._counts_4``."""
    for name, value in summary.content.items():
        if name in _ROW_OPTIONS:  # said again
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(summary.signed(name))
        elif isinstance(value, dict) and name.endswith("_counts"):
            yield from ((f"{name}_{key}", float(number)) for key, number in summary.tally(name).items())
