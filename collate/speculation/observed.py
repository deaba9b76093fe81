"""What the store holds on speculative decoding: every verify cycle of every measured sample, cell by cell.

A verify cycle is a step after the first that tells what was drafted, or accepted. Those that ``tau`` counts leave out
the last step of a sample that ended at the token limit, as ``core/records/metrics.py`` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

from ...core.records.metrics import METRICS
from ...core.records.store import Store
from ..comparison.labels import labels
from ..comparison.observations import Cell, PromptKey, Round, RoundKey, Row, keyed, load_cells
from ..comparison.result import CellLabel

FIGURES = (
    "tau", "tau_mean", "acceptance_rate", "acceptance_rate_mean", "ttft_s", "tpot_s", "decode_tokens_per_s",
    "e2e_tokens_per_s",
)  # fmt: skip
"""Names in ``METRICS`` whose parts are loaded for every sample."""

_CYCLES = """
SELECT t.run_id, t.sample, t.tokens, t.block_size, t.drafted, t.accepted, t.candidates, t.forwards, t.draft_s,
    t.verify_s, t.wire_s, t.step_s, t.engine_s, t.trace,
    NOT (s.finish IS NOT DISTINCT FROM 'length' AND t."index" = max(t."index") OVER one) AS is_counted
FROM steps t JOIN samples s ON s.run_id = t.run_id AND s."index" = t.sample JOIN runs r ON r.run_id = t.run_id
WHERE r.experiment = ? AND r.status = 'ok' AND s.status = 'ok' AND NOT s.is_warmup AND t."index" > 0
WINDOW one AS (PARTITION BY t.run_id, t.sample)
QUALIFY coalesce(t.drafted, t.accepted) IS NOT NULL
ORDER BY t.run_id, t.sample, t."index"
"""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One verify cycle.

    Attributes:
        tokens: committed tokens, bonus token included: tau as ``core/records/metrics.py`` counts it.
        block_size: positions, the anchor included; None where the log tells neither them nor the drafts.
        drafted: draft tokens proposed; None where the log does not tell.
        accepted: draft tokens accepted; None where the log does not tell.
        candidates: blocks verified; None where there is no candidate machinery.
        forwards: model evaluations.
        draft_s: engine's time for drafting.
        verify_s: engine's time for verifying.
        wire_s: what a remote verifier took beyond it.
        step_s: the runner's time between this commit and the one before.
        engine_s: the engine's own time for the cycle.
        is_counted: whether ``tau`` counts it; the last of a sample that ended at the token limit it does not.
        trace: what else the decoder reports, by its own names; for the analyses of its plugin.
    """

    tokens: int
    block_size: int | None
    drafted: int | None
    accepted: int | None
    candidates: int | None
    forwards: int | None
    draft_s: float | None
    verify_s: float | None
    wire_s: float | None
    step_s: float | None
    engine_s: float | None
    is_counted: bool
    trace: dict[str, JsonValue]

    @property
    def cycle_s(self) -> float | None:
        """The cycle's time: the runner's where the log has it, as in our own, else the engine's."""
        return self.engine_s if self.step_s is None else self.step_s

    @property
    def is_low(self) -> bool:
        """Whether the block is known and fewer tokens than half of it were committed."""
        return self.block_size is not None and 2 * self.tokens < self.block_size


@dataclass(frozen=True, slots=True)
class ObservedSample:
    """One measured sample that did not fail.

    Attributes:
        key: identity of its prompt; None where the log has none.
        row: its columns in the store.
        parts: numerator and denominator by name of a figure, for the figures that it has.
        engine: the engine's own counters.
        steps: how many its log has, the prefill included; None where it has none.
        cycles: its verify cycles, the uncounted included.
    """

    key: PromptKey | None
    row: Row
    parts: dict[str, tuple[float, float]]
    engine: dict[str, float]
    steps: int | None
    cycles: list[Cycle]

    @property
    def counted(self) -> list[Cycle]:
        """The cycles that tau counts."""
        return [cycle for cycle in self.cycles if cycle.is_counted]

    @property
    def tokens(self) -> int | None:
        """Output tokens; None where the log does not count them."""
        tokens: int | None = self.row["output_tokens"]
        return tokens

    @property
    def wall_s(self) -> float | None:
        """Start until the last step."""
        return self.parts["e2e_tokens_per_s"][1] if "e2e_tokens_per_s" in self.parts else None

    def is_capped(self, limit: int | None) -> bool | None:
        """Whether it ended at the token limit; where the log does not say why it ended, by the number of tokens.

        None where the log has neither the reason nor the limit.
        """
        if self.row["finish"] is not None:
            return bool(self.row["finish"] == "length")
        return None if limit is None else self.tokens == limit


@dataclass(frozen=True, slots=True)
class ObservedRound:
    """One finished round."""

    key: RoundKey
    samples: list[ObservedSample]


@dataclass(frozen=True, slots=True)
class Observed:
    """One cell.

    Attributes:
        cell: its rounds as they are compared.
        label: what it is called.
        rounds: its finished rounds with their cycles.
    """

    cell: Cell
    label: CellLabel
    rounds: list[ObservedRound] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its label's text."""
        return self.label.label

    @property
    def samples(self) -> list[ObservedSample]:
        """The samples of all rounds."""
        return [sample for round in self.rounds for sample in round.samples]

    @property
    def counted(self) -> list[Cycle]:
        """The cycles of all rounds that tau counts."""
        return [cycle for sample in self.samples for cycle in sample.counted]

    @property
    def is_undrafted(self) -> bool:
        """Whether a speculative decoder ran as its own baseline: its steps are known, and none drafted."""
        samples = self.samples
        return (
            self.cell.run["kind"] == "speculative"
            and any((sample.steps or 0) > 1 for sample in samples)
            and not any(cycle.drafted or cycle.drafted is None for sample in samples for cycle in sample.cycles)
        )

    @property
    def is_speculative(self) -> bool:
        """Whether it is said to draft, or is seen to."""
        return self.cell.run["kind"] == "speculative" or any(sample.cycles for sample in self.samples)


def load(store: Store, experiment: str, *, steady_state: bool) -> list[Observed]:
    """Return the cells of an experiment in the order of the plan.

    Args:
        store: an open store.
        experiment: its name.
        steady_state: leave out the first measured sample of every round.
    """
    cells = load_cells(store, experiment)
    names = labels(cells)
    facts, cycles = _facts(store, experiment), _cycles(store, experiment)

    def observe(round: Round) -> ObservedRound:
        rows = round.samples[1:] if steady_state else round.samples
        keys = {row["index"]: key for key, row in keyed(round.samples)}
        found = [((row["run_id"], row["index"]), row) for row in rows if row["status"] == "ok"]
        return ObservedRound(
            round.key,
            [ObservedSample(keys.get(at[1]), row, *facts[at], cycles.get(at, [])) for at, row in found],
        )

    return [Observed(cell, names[cell.cell_id], [observe(round) for round in cell.rounds]) for cell in cells]


_At = tuple[str, int]
"""Run and index of a sample."""

_Facts = tuple[dict[str, tuple[float, float]], dict[str, float], int | None]
"""Parts of every figure, the engine's counters, and how many steps there are."""


def _facts(store: Store, experiment: str) -> dict[_At, _Facts]:
    """Return what is known of every sample beside its cycles."""
    parts = ", ".join(
        f"CASE WHEN {METRICS[name].sql} IS NOT NULL THEN "
        f"[({METRICS[name].numerator})::DOUBLE, ({METRICS[name].denominator})::DOUBLE] END AS {name}"
        for name in FIGURES
    )
    rows = store.dicts(
        f"WITH parts AS (SELECT run_id, sample, decode_steps + 1 AS steps, {parts} "
        "FROM sample_facts WHERE NOT is_warmup) "
        'SELECT p.*, s.engine FROM parts p JOIN samples s ON s.run_id = p.run_id AND s."index" = p.sample '
        "JOIN runs r ON r.run_id = p.run_id WHERE r.experiment = ?",
        [experiment],
    )
    return {
        (row["run_id"], row["sample"]): (
            {name: (row[name][0], row[name][1]) for name in FIGURES if row[name] is not None},
            json.loads(row["engine"]),
            row["steps"],
        )
        for row in rows
    }


def _cycles(store: Store, experiment: str) -> dict[_At, list[Cycle]]:
    found: dict[_At, list[Cycle]] = {}
    for row in store.dicts(_CYCLES, [experiment]):
        found.setdefault((row.pop("run_id"), row.pop("sample")), []).append(_cycle(row))
    return found


def _cycle(row: Row) -> Cycle:
    row["trace"] = json.loads(row["trace"]) if row["trace"] is not None else {}
    if row["block_size"] is None and row["drafted"] is not None:
        row["block_size"] = row["drafted"] + 1
    return Cycle(**row)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def quotient(numerator: float, denominator: float) -> float | None:
    """Return a quotient; None where the denominator is 0."""
    return numerator / denominator if denominator else None


def totals(
    cycles: Iterable[Cycle], over: Callable[[Cycle], float | None], under: Callable[[Cycle], float | None]
) -> float | None:
    """Return the quotient of two sums over the cycles that have both."""
    pairs = list(_both(cycles, over, under))
    return quotient(sum(a for a, _ in pairs), sum(b for _, b in pairs))


def _both(
    cycles: Iterable[Cycle], over: Callable[[Cycle], float | None], under: Callable[[Cycle], float | None]
) -> Iterator[tuple[float, float]]:
    for cycle in cycles:
        a, b = over(cycle), under(cycle)
        if a is not None and b is not None:
            yield a, b
