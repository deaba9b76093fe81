"""One mode against another, sample by sample on the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...core.records.cell_names import DIMENSIONS
from ..comparison.conditions import unlike_conditions
from ..comparison.labels import option_values
from ..comparison.observations import Cell
from ..parity.divergence import parity_of
from ..statistics.ratios import PairedRound
from .figures import Decomposition, Pair
from .intervals import difference, geomean, ratio
from .observed import Observed, ObservedRound, ObservedSample, mean, quotient
from .prediction import prediction_of

Samples = tuple[ObservedSample, ObservedSample]
"""A sample of the cell and that of the baseline on the same prompt."""
PartsOf = Callable[[ObservedSample], tuple[float, float] | None]
"""Numerator and denominator of what is compared; more of the quotient is better."""

_EXACT = 1e-9  # relative; rounding of the sums leaves far less


def pair(ours: Observed, theirs: Observed) -> Pair:
    """Compare a cell with its baseline; figures that either cannot support are None."""
    rounds = common_samples(ours, theirs)
    both = [samples for found in rounds for samples in found]
    counted = [(a.tokens, b.tokens) for a, b in both if a.tokens is not None and b.tokens is not None]
    decode = _parts(rounds, lambda sample: sample.parts.get("decode_tokens_per_s"))
    parity = parity_of(ours.cell, theirs.cell, {})
    found_pair = Pair(
        cell=ours.name,
        baseline=theirs.name,
        rounds=len(rounds),
        samples=len(both),
        tpot=ratio(decode),
        tpot_geomean=geomean(decode),
        throughput=ratio(_parts(rounds, lambda sample: sample.parts.get("e2e_tokens_per_s"))),
        wall=ratio(_parts(rounds, lambda sample: None if sample.wall_s is None else (1.0, sample.wall_s))),
        token_ratio=quotient(sum(a for a, _ in counted), sum(b for _, b in counted)),
        tau_delta=difference(_parts(rounds, lambda sample: sample.parts.get("tau"))),
        cycle_time=_cycle_time(both),
        decomposition=_decomposition(both),
        identical_outputs=parity.identical,
        compared_outputs=parity.compared,
        identical_share=quotient(parity.identical, parity.compared),
        warnings=tuple(_warnings(ours, theirs, len(both))),
    )
    prediction = prediction_of(ours, theirs, found_pair)
    return found_pair.model_copy(update={"prediction": prediction})


def common_samples(ours: Observed, theirs: Observed) -> list[list[Samples]]:
    """Return the samples of two cells on the same prompts, round by round; rounds without any are left out."""
    return [found for a, b in _rounds(ours.rounds, theirs.rounds) if (found := _same_prompts(a, b))]


def nearest(to: Observed, cells: Sequence[Observed]) -> Observed | None:
    """Return the cell that has most in common with another, the first of equals; None where there is none."""
    return max(cells, key=lambda cell: _likeness(cell.cell, to.cell), default=None)


def is_of_same_place(a: Observed, b: Observed) -> bool:
    """Whether two cells have backend, model, quantisation and device in common."""
    return all(a.cell.run[name] == b.cell.run[name] for name in DIMENSIONS)


def _likeness(a: Cell, b: Cell) -> tuple[int, int]:
    ours, theirs = option_values(a), option_values(b)
    options = sum(theirs.get(name) == value for name, value in ours.items())
    return sum(a.run[name] == b.run[name] for name in DIMENSIONS), options


def _rounds(
    ours: Sequence[ObservedRound], theirs: Sequence[ObservedRound]
) -> Iterator[tuple[ObservedRound, ObservedRound]]:
    """Pair rounds by index; where none is in common, in order: they are as good as exchangeable."""
    by_key = {round.key: round for round in theirs}
    common = [(round, by_key[round.key]) for round in ours if round.key in by_key]
    yield from common or zip(ours, theirs, strict=False)


def _same_prompts(ours: ObservedRound, theirs: ObservedRound) -> list[Samples]:
    by_key = {sample.key: sample for sample in theirs.samples if sample.key is not None}
    return [(sample, by_key[sample.key]) for sample in ours.samples if sample.key in by_key]


def _parts(rounds: Sequence[Sequence[Samples]], parts_of: PartsOf) -> list[PairedRound]:
    """Return the parts of every pair that both sides have, round by round."""
    result = []
    for samples in rounds:
        known = [(*a, *b) for ours, theirs in samples if (a := parts_of(ours)) and (b := parts_of(theirs))]
        if known:
            result.append(PairedRound(*np.array(known, dtype=float).T))
    return result


def _cycle_time(both: Sequence[Samples]) -> float | None:
    ours, theirs = (mean(cycle.cycle_s for samples in both for cycle in samples[side].counted) for side in (0, 1))
    return None if ours is None or theirs is None else quotient(theirs, ours)


def _decomposition(both: Sequence[Samples]) -> Decomposition | None:
    """Take the throughput ratio apart over the pairs that have wall times and verify cycles."""
    whole = [samples for samples in both if all(one.cycles and one.wall_s and one.tokens for one in samples)]
    if not whole:
        return None
    (tokens, wall_s, cycles, gained), base = (_sums([samples[side] for samples in whole]) for side in (0, 1))
    throughput_ratio = (tokens / wall_s) / (base[0] / base[1])
    tau_ratio = (gained / cycles) / (base[3] / base[2])
    cycle_ratio = (base[1] / base[2]) / (wall_s / cycles)
    rest = throughput_ratio / (tau_ratio * cycle_ratio)
    return Decomposition(
        throughput_ratio=throughput_ratio,
        tau_ratio=tau_ratio,
        cycle_ratio=cycle_ratio,
        rest=rest,
        is_exact=abs(rest - 1) < _EXACT,
    )


def _sums(samples: Sequence[ObservedSample]) -> tuple[float, float, float, float]:
    """Output tokens, wall seconds, verify cycles and the tokens that these gained."""
    cycles = [cycle for sample in samples for cycle in sample.cycles]
    return (
        sum(sample.tokens or 0 for sample in samples),
        sum(sample.wall_s or 0.0 for sample in samples),
        len(cycles),
        sum(cycle.tokens for cycle in cycles),
    )


def _warnings(ours: Observed, theirs: Observed, samples: int) -> Iterator[str]:
    if not ours.rounds or not theirs.rounds:
        return
    logs = [{round.run["source_file"] for round in side.cell.rounds} for side in (ours, theirs)]
    is_foreign = any(round.run["source_format"] != "decodebench" for round in ours.cell.rounds)
    if is_foreign and not logs[0] & logs[1]:
        yield (
            f"other logs: {', '.join(sorted(logs[0]))} of {ours.name!r}, {', '.join(sorted(logs[1]))} of "
            f"{theirs.name!r}: nothing shows that the machine was the same"
        )
    if not samples:
        yield f"no prompt in common between {ours.name!r} and {theirs.name!r}"
    names = {side.cell.cell_id: side.name for side in (ours, theirs)}
    yield from unlike_conditions([(ours.cell, theirs.cell)], names, "")
