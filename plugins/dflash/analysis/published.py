"""The same runs by the published definitions, so that published tables can be held beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from ....collate.speculation import Speculation
from ....collate.speculation.acceptance import shares, tau_counts
from ....collate.speculation.blocks import switches_of
from ....collate.speculation.figures import SpeculationCell
from ....collate.speculation.observed import Cycle, Observed, ObservedSample, mean, quotient, totals
from ....collate.speculation.pairs import common_samples
from ....core.contract.analysis import AnalysisTable, Section
from ....core.records.schema import Record
from ....viz.drawing.numbers import known, seconds
from .trace import count


class Published(Record):
    """By the definitions of the published loop: every verify cycle counts, the one cut by the token limit included.

    A cycle that a stop token cut counts what it had verified; means over samples are not weighted by length.
    """

    cycles: int = Field(ge=0, description="verify cycles")
    tau: float | None = Field(description="cycle mean")
    tau_mean: float | None = Field(description="sample mean: the published 'average acceptance length'")
    tau_shares: tuple[float, ...] = Field(description="share of cycles by tau, which is the index")
    block_counts: dict[int, int] = Field(description="cycles by block size")
    switches: int = Field(description="changes of block size within a sample")
    transitions: int = Field(description="cycles that have one before, within a sample")
    draft_share: float | None = Field(description="drafting / (drafting + verifying) time")
    draft_s_per_cycle: float | None = Field(description="drafting time / cycles")
    verify_s_per_cycle: float | None = Field(description="verifying time / cycles")
    ttft_s: float | None = Field(description="mean over samples of the published time to first token")
    tpot_s: float | None = Field(
        description="mean over samples of the published time per token: decode time after the first draft, or the "
        "first whole cycle with candidates, divided by all output tokens"
    )
    tokens_per_s: float | None = Field(description="all output tokens / all wall time")
    our_tau_mean: float | None = Field(description="the same sample mean over the cycles that tau counts, as committed")
    our_tpot_s: float | None = Field(description="as tpot_s of the metrics")
    tpot_speedup: float | None = Field(description="ratio of the mean published times per token, to the baseline's")


class PublishedSection(Section):
    """Published figures of all cells that have cycles or the published timers."""

    cells: dict[str, Published] = Field(description="by the cell's label")

    def tables(self, names: Mapping[str, str]) -> Iterable[AnalysisTable]:
        """Return a row per cell with a published time per token."""
        rows = tuple((names[label], *_row(found)) for label, found in self.cells.items() if found.tpot_s is not None)
        if rows:
            yield AnalysisTable(columns=_COLUMNS, rows=rows, notes=(_NOTE,))


_COLUMNS = ("tau mean\npublished", "tau mean\nours", "per token\npublished", "per token\nours", "speed-up\npublished")
_NOTE = (
    "published: every cycle counts, the one cut by the token limit included; time per token without the first draft, "
    "over all output tokens, mean of samples"
)


def _row(found: Published) -> Sequence[str]:
    return (
        known(found.tau_mean, "{:.2f}".format),
        known(found.our_tau_mean, "{:.2f}".format),
        known(found.tpot_s, seconds),
        known(found.our_tpot_s, seconds),
        known(found.tpot_speedup, "{:.2f}".format),
    )


def analyse(analysis: Speculation) -> PublishedSection | None:
    """Return the published figures of every cell; None where none has any."""
    observed = {cell.name: cell for cell in analysis.observed}
    speedups = {pair.cell: _speedup(observed[pair.cell], observed[pair.baseline]) for pair in analysis.pairs}
    cells = {}
    for cell in analysis.cells:
        label = cell.cell.label
        if found := published_of(observed[label], cell, speedups.get(label)):
            cells[label] = found
    return PublishedSection(cells=cells) if cells else None


def published_of(observed: Observed, ours: SpeculationCell, speedup: float | None) -> Published | None:
    """Return the published figures of a cell; None where it has neither cycles nor the published timers."""
    samples = observed.samples
    cycles = [cycle for sample in samples for cycle in sample.cycles]
    tpot_s, ttft_s = (mean(sample.engine.get(name) for sample in samples) for name in (_TPOT, _TTFT))
    if not cycles and tpot_s is None and ttft_s is None:
        return None
    taus = [_gained(cycle) for cycle in cycles]
    switches, transitions = switches_of(sample.cycles for sample in samples)
    return Published(
        cycles=len(cycles),
        tau=mean(taus),
        tau_mean=mean(mean(map(_gained, sample.cycles)) for sample in samples),
        tau_shares=shares(tau_counts(taus)),
        block_counts=dict(sorted(Counter(size for cycle in cycles if (size := cycle.block_size) is not None).items())),
        switches=switches,
        transitions=transitions,
        draft_share=totals(cycles, lambda cycle: cycle.draft_s, _work_s),
        draft_s_per_cycle=mean(cycle.draft_s for cycle in cycles),
        verify_s_per_cycle=mean(cycle.verify_s for cycle in cycles),
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        tokens_per_s=_throughput(samples),
        our_tau_mean=ours.acceptance.tau_mean.value if ours.acceptance else None,
        our_tpot_s=ours.tpot_s.value,
        tpot_speedup=speedup,
    )


_TPOT, _TTFT = "published_tpot_s", "published_ttft_s"


def _gained(cycle: Cycle) -> int:
    """Tokens that the verification gained; more than were committed where a stop token cut the cycle."""
    tau = count(cycle, "tau")
    return cycle.tokens if tau is None else tau


def _work_s(cycle: Cycle) -> float | None:
    return None if cycle.draft_s is None or cycle.verify_s is None else cycle.draft_s + cycle.verify_s


def _throughput(samples: Sequence[ObservedSample]) -> float | None:
    names = ("published_output_tokens", "published_wall_s")
    told = [sample.engine for sample in samples if all(name in sample.engine for name in names)]
    tokens, wall_s = (sum(engine[name] for engine in told) for name in names)
    return quotient(tokens, wall_s)


def _speedup(ours: Observed, theirs: Observed) -> float | None:
    both = [samples for round in common_samples(ours, theirs) for samples in round]
    times = [(a.engine[_TPOT], b.engine[_TPOT]) for a, b in both if _TPOT in a.engine and _TPOT in b.engine]
    return quotient(sum(b for _, b in times), sum(a for a, _ in times))
