"""Vanilla, candidates off, candidates on: three modes that take the effect of candidates apart from their cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from ....collate.speculation import pair
from ....collate.speculation.figures import Pair
from ....collate.speculation.observed import Observed
from ....collate.speculation.pairs import is_of_same_place, nearest
from ....core.contract.analysis import AnalysisTable
from ....core.records.schema import Record
from ....viz.drawing.numbers import interval, known, on_two_lines, signed

_MODE = "candidate_mode"


class CandidateDesign(Record):
    """Three modes that take the effect of candidates apart from the cost of their machinery."""

    vanilla: str = Field(description="label of the cell without candidate machinery")
    off: str = Field(description="label of the cell with the machinery and one candidate, the greedy block")
    on: str = Field(description="label of the cell with candidates")
    machinery: Pair = Field(description="off against vanilla: what the machinery costs by itself")
    candidates: Pair = Field(description="on against off: what the candidates do")
    whole: Pair = Field(description="on against vanilla: both together")

    @property
    def effects(self) -> tuple[tuple[str, Pair], ...]:
        """The pairs by the effect that they show."""
        return ("machinery", self.machinery), ("candidates", self.candidates), ("both", self.whole)


def find_designs(cells: Sequence[Observed]) -> Iterator[CandidateDesign]:
    """Find every cell with candidates for which there are a twin with one candidate and one without the machinery.

    A twin has the same backend, model, quantisation and device, and of those the most options in common.
    """
    drafting = [cell for cell in cells if any(cycle.drafted for cycle in cell.counted)]
    most = {cell.name: _most_candidates(cell) for cell in drafting}
    for on in drafting:
        if most[on.name] < 2:
            continue
        twins = [cell for cell in drafting if cell is not on and is_of_same_place(cell, on)]
        off = nearest(on, [cell for cell in twins if most[cell.name] == 1])
        vanilla = nearest(on, [cell for cell in twins if most[cell.name] == 0 and not _has_mode(cell)])
        if off is not None and vanilla is not None:
            yield CandidateDesign(
                vanilla=vanilla.name,
                off=off.name,
                on=on.name,
                machinery=pair(off, vanilla),
                candidates=pair(on, off),
                whole=pair(on, vanilla),
            )


def _most_candidates(cell: Observed) -> int:
    """Most blocks verified in a cycle; 0 without candidate machinery."""
    return max((cycle.candidates or 0 for cycle in cell.counted), default=0)


def _has_mode(cell: Observed) -> bool:
    """Whether the options ask for candidates, of which a log without cycle traces tells nothing."""
    return cell.cell.run["options"].get(_MODE) not in (None, "none")


def design_table(designs: Sequence[CandidateDesign], names: Mapping[str, str]) -> AnalysisTable:
    """Return a row per effect, the cell's name before the first."""
    return AnalysisTable(
        columns=("effect of", "time per\ntoken", "through-\nput", "tau\ndelta", "cycle\ntime"),
        rows=tuple(
            (names[design.on] if at == 0 else "", effect, *_figures(pair))
            for design in designs
            for at, (effect, pair) in enumerate(design.effects)
        ),
        notes=tuple(_note(*(names[label] for label in (one.on, one.off, one.vanilla))) for one in designs),
    )


def _figures(pair: Pair) -> Sequence[str]:
    return (
        on_two_lines(interval(pair.tpot)),
        on_two_lines(interval(pair.throughput)),
        signed(pair.tau_delta),
        known(pair.cycle_time, "{:.2f}".format),
    )


def _note(on: str, off: str, vanilla: str) -> str:
    return f"machinery: {off} against {vanilla}; candidates: {on} against {off}; both: {on} against {vanilla}"
