"""Runs of the backend as the exporter reads them from the store: measured samples by prompt, and their cycles."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ... import UsageError, own_path_part
from ...core.records.store import Store

Json = dict[str, Any]

_SAME = ("experiment", "model", "model_hash", "task", "quantisation", "device", "hostname")
_SAME_OPTIONS = ("dtype", "compile", "n_threads")
"""What a baseline must have in common with the run that it is the baseline of."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured prompt: its row in the store and its cycles, the prefill left out."""

    row: Json
    first: Json | None  # step 0
    cycles: list[Json]

    @property
    def engine(self) -> Mapping[str, float]:
        """The engine's counters."""
        engine: Mapping[str, float] = self.row["engine"]
        return engine

    @property
    def taus(self) -> list[int]:
        """Tokens that each cycle gained, before a stop token or the limit cut the last one."""
        return [cycle["trace"].get("tau", cycle["tokens"]) for cycle in self.cycles]

    @property
    def starts(self) -> list[int]:
        """Tokens gained before each cycle."""
        taus = self.taus
        return [sum(taus[:at]) for at in range(len(taus))]

    @property
    def tokens(self) -> int:
        """Output tokens."""
        return int(self.row["output_tokens"])

    @property
    def wall_s(self) -> float | None:
        """Wall time, by the published rule where the engine took it."""
        return self.engine.get("published_wall_s", self.row["duration_s"])

    @property
    def ttft_s(self) -> float | None:
        """Time to first token, likewise."""
        return self.engine.get("published_ttft_s", self.first["t_s"] if self.first else None)

    @property
    def tpot_s(self) -> float | None:
        """Time per output token by the published rule; there is no other by which rows could be compared."""
        return self.engine.get("published_tpot_s")

    def all_have(self, *names: str) -> bool:
        """Whether every cycle has these columns."""
        return bool(self.cycles) and all(cycle[name] is not None for cycle in self.cycles for name in names)

    def total(self, name: str) -> Any:  # noqa: ANN401 - int or float, as the column is
        """Sum a column, or an entry of the trace, over the cycles."""
        return sum(cycle[name] if name in cycle else cycle["trace"].get(name, 0) for cycle in self.cycles)

    def summed(self, names: Sequence[str]) -> Json | None:
        """Return a summary that an imported row had; None where it had none."""
        told = {name: self.engine[f"published_{name}"] for name in names if f"published_{name}" in self.engine}
        whole = ("cycles", "total", "calls", "count_sum")
        return {name: int(value) if name.endswith(whole) else value for name, value in told.items()} or None


@dataclass(slots=True)
class Run:
    """One run with its measured samples, by prompt."""

    row: Json
    options: Json
    samples: dict[tuple[str, int], Sample] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether it decodes token by token."""
        return self.method == "speculative" and self.options.get("block_size") == 1

    @property
    def method(self) -> str:
        """Name of the method, which is the key of its result in a row."""
        if self.row["conditions"].get("mode") in ("dynamic", "multiround"):
            return str(self.row["conditions"]["mode"])
        if self.options.get("round_block_sizes"):
            return "multiround"
        return "speculative" if self.options.get("scheduler", "fixed") == "fixed" else "dynamic"

    @property
    def settings(self) -> Json:
        """What its log prints beside samples."""
        settings: Json = self.row["settings"]
        return settings

    @property
    def block_size(self) -> int | None:
        """Configured block size; where the draft's own was used, the largest block."""
        told = self.options.get("block_size")
        sizes = [c["block_size"] for sample in self.samples.values() for c in sample.cycles if c["block_size"]]
        return told if told is not None else max(sizes, default=None)

    @property
    def has_candidates(self) -> bool:
        """Whether several blocks are verified per cycle."""
        return bool(self.options.get("candidate_mode", "none") != "none")

    @property
    def has_seeds(self) -> bool:
        """Whether rejected tokens are hints in the next block."""
        return bool(self.options.get("seed_mode", "none") != "none")

    @property
    def has_trace(self) -> bool:
        """Whether it has what a cycle trace is written for: times of cycles, or seeds."""
        samples = self.samples.values()
        if self.method != "speculative":
            return False
        if self.has_seeds:
            return any("seeded_count" in cycle["trace"] for sample in samples for cycle in sample.cycles)
        return any(sample.all_have("draft_s", "verify_s") for sample in samples)

    @property
    def is_timed(self) -> bool:
        """Whether its samples can be result rows, which have times."""
        return bool(self.samples) and all(
            sample.wall_s is not None and sample.ttft_s is not None for sample in self.samples.values()
        )

    @property
    def stem(self) -> str:
        """Beginning of its files' names: data set, what is special, and a mark of its own."""
        label = self.options.get("scheduler") if self.method == "dynamic" else self.method
        if self.method == "speculative":
            extras = [self.options[f"{name}_mode"] for name in ("candidate", "seed") if getattr(self, f"has_{name}s")]
            label = "_".join([f"bs{self.block_size or 'auto'}", *extras])
        digest = hashlib.sha256(str(self.row["run_id"]).encode()).hexdigest()[:8]
        return f"{own_path_part(self.row['task'] or 'prompts')}_{own_path_part(str(label))}_{digest}"


def load_runs(store: Store, experiment: str | None) -> list[Run]:
    """Return the finished runs of the backend, and what is there of cut ones.

    Raises:
        UsageError: there is none.
    """
    rows = store.dicts(
        "SELECT * FROM runs WHERE backend = 'dflash' AND status IN ('ok', 'incomplete') "
        "AND experiment = coalesce(?, experiment) ORDER BY experiment, cell_index, "
        "(options->>'block_size')::INT, cell_id, round, run_id",
        [experiment],
    )
    if not rows:
        raise UsageError(
            "no finished run of backend 'dflash' in the store; measure one with `decodebench run`", code="no-results"
        )
    return [_load_run(store, row) for row in rows]


def _load_run(store: Store, row: Json) -> Run:
    for name in ("options", "settings", "environment", "conditions"):
        row[name] = json.loads(row[name]) if row[name] else {}
    steps: dict[int, list[Json]] = {}
    for step in store.dicts('SELECT * FROM steps WHERE run_id = ? ORDER BY sample, "index"', [row["run_id"]]):
        step["trace"] = json.loads(step["trace"]) if step["trace"] else {}
        steps.setdefault(step["sample"], []).append(step)
    run = Run(row, row["options"])
    seen: Counter[str] = Counter()
    for sample in store.dicts(
        "SELECT * FROM samples WHERE run_id = ? AND NOT is_warmup AND status = 'ok' ORDER BY \"index\"", [row["run_id"]]
    ):
        for name in ("engine", "extra"):
            sample[name] = json.loads(sample[name]) if sample[name] else {}
        prompt = str(sample["sample_id"] or sample["prompt_hash"] or sample["index"])
        own = steps.get(sample["index"], [])
        run.samples[prompt, seen[prompt]] = Sample(sample, own[0] if own else None, own[1:])
        seen[prompt] += 1
    return run


def baseline_of(run: Run, baselines: Sequence[Run]) -> Run | None:
    """Return the baseline of an own run's round, else the first that answers the same prompts.

    That of an imported run is in the same file; where there are no samples it must be the only one there.
    """
    alike = [other for other in baselines if _is_alike(run, other)]
    if not run.samples and len(alike) > 1:
        return None
    return min(alike, key=lambda other: (run.row["round"] != other.row["round"], other.row["round"]), default=None)


def _is_alike(run: Run, other: Run) -> bool:
    if run.row["source_format"] != "decodebench" and run.row["source_file"] != other.row["source_file"]:
        return False
    has_prompts = not run.samples.keys().isdisjoint(other.samples) if run.samples else not other.samples
    is_on_same = all(run.row[name] == other.row[name] for name in _SAME)
    return has_prompts and is_on_same and _told(run, _SAME_OPTIONS) == _told(other, _SAME_OPTIONS)


def _told(run: Run, names: Sequence[str]) -> Json:
    return {name: run.options.get(name) for name in names}
