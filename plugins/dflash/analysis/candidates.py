"""What candidate blocks did: how many were verified, which won, and what that gained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from ....collate.speculation import Speculation
from ....collate.speculation.observed import Cycle, Observed, ObservedSample, mean
from ....core.contract.analysis import AnalysisTable, Section
from ....core.records.schema import Record
from ....viz.drawing.numbers import digits, known, percent
from .designs import CandidateDesign, design_table, find_designs
from .trace import count, count_at, listed, tally


class CandidateUse(Record):
    """What candidate blocks did."""

    candidates_per_cycle: float = Field(description="blocks verified per cycle, pooled over cycles")
    candidates_per_cycle_mean: float = Field(description="the same of each sample, mean over samples")
    verify_calls_per_sample: float = Field(description="model evaluations of all cycles of a sample, mean over samples")
    most_candidates: int = Field(description="most blocks verified in one cycle; 1: the machinery alone")
    budget_counts: dict[int, int] = Field(description="cycles by the budget they were given; empty where not told")
    chosen_counts: dict[int, int] = Field(description="cycles by index of the chosen candidate; 0 is the greedy one")
    rank_counts: dict[int, int] = Field(description="cycles by the rank of the chosen candidate's tokens; 1 is greedy")
    not_greedy_share: float | None = Field(description="share of cycles in which a candidate but the greedy one won")
    gained_tokens_per_cycle: float | None = Field(
        description="tau of the chosen candidate minus that of the greedy one, mean over cycles"
    )


class CandidateSection(Section):
    """Candidates of all cells that verified some."""

    cells: dict[str, CandidateUse] = Field(description="by the cell's label")
    designs: tuple[CandidateDesign, ...] = Field(description="vanilla, candidates off, candidates on")

    def tables(self, names: Mapping[str, str]) -> Iterable[AnalysisTable]:
        """Return a row per cell, and one per effect of a design."""
        budgets = [
            f"{names[label]}: cycles by budget {listed(use.budget_counts)}"
            for label, use in self.cells.items()
            if use.budget_counts
        ]
        yield AnalysisTable(
            columns=("per cycle\npooled", "per cycle\nsamples", "verify\ncalls", "not\ngreedy", "gained\ntau",
                     "chosen rank"),
            rows=tuple((names[label], *_row(use)) for label, use in self.cells.items()),
            notes=(*budgets, _NOTE),
            ends_in_text=True,
        )  # fmt: skip
        if self.designs:
            yield design_table(self.designs, names)

    def warnings(self) -> Iterable[str]:
        """Return those of the designs' pairs."""
        return (line for design in self.designs for _, pair in design.effects for line in pair.warnings)


_NOTE = (
    "candidates per cycle, verify calls per sample; not greedy: cycles won by another candidate than the greedy block; "
    "gained: its tau over that of the greedy block, mean of all cycles; chosen rank, budget: value:cycles"
)


def _row(use: CandidateUse) -> Sequence[str]:
    ranks = use.rank_counts or {index + 1: count for index, count in use.chosen_counts.items()}
    return (
        f"{use.candidates_per_cycle:.2f}",
        f"{use.candidates_per_cycle_mean:.2f}",
        digits(use.verify_calls_per_sample),
        known(use.not_greedy_share, percent),
        known(use.gained_tokens_per_cycle, "{:+.2f}".format),
        listed(ranks),
    )


def analyse(analysis: Speculation) -> CandidateSection | None:
    """Return what candidates did; None where no cell verified any."""
    cells = {cell.name: use for cell in analysis.observed if (use := candidates_of(cell))}
    return CandidateSection(cells=cells, designs=tuple(find_designs(analysis.observed))) if cells else None


def candidates_of(observed: Observed) -> CandidateUse | None:
    """Return the candidate statistics of a cell; None where no cycle tells of candidates."""
    cycles = [cycle for cycle in observed.counted if cycle.candidates is not None]
    pooled = mean(cycle.candidates for cycle in cycles)
    by_sample = mean(mean(cycle.candidates for cycle in sample.counted) for sample in observed.samples)
    calls = mean(_verify_calls(sample) for sample in observed.samples if sample.cycles)
    if pooled is None or by_sample is None or calls is None:
        return None
    chosen = [index for cycle in cycles if (index := count(cycle, "chosen_candidate_idx")) is not None]
    return CandidateUse(
        candidates_per_cycle=pooled,
        candidates_per_cycle_mean=by_sample,
        verify_calls_per_sample=calls,
        most_candidates=max(cycle.candidates or 0 for cycle in cycles),
        budget_counts=tally(count(cycle, "cycle_max_candidates") for cycle in cycles),
        chosen_counts=tally(chosen),
        rank_counts=tally(_of_chosen(cycle, "candidate_rank_variants") for cycle in cycles),
        not_greedy_share=mean(index > 0 for index in chosen),
        gained_tokens_per_cycle=mean(_gain(cycle) for cycle in cycles),
    )


def _verify_calls(sample: ObservedSample) -> int:
    return sum(1 if cycle.forwards is None else cycle.forwards for cycle in sample.cycles)


def _of_chosen(cycle: Cycle, name: str) -> int | None:
    """Return the chosen candidate's entry of a list with one per candidate."""
    return count_at(cycle, name, count(cycle, "chosen_candidate_idx"))


def _gain(cycle: Cycle) -> int | None:
    tau, greedy = _of_chosen(cycle, "candidate_taus"), count_at(cycle, "candidate_taus", 0)
    return None if tau is None or greedy is None else tau - greedy
