"""Multi-round sampling: which round found each token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from ....collate.speculation import Speculation
from ....collate.speculation.observed import Observed
from ....core.contract.analysis import AnalysisTable, Section
from ....core.records.schema import Record
from .trace import count, listed, tally


class RoundUse(Record):
    """The rounds that found tokens."""

    counts: dict[int, int] = Field(
        description="tokens by the round that found them, the one after the last is the residual"
    )
    mean: float = Field(description="mean of these rounds")


class RoundSection(Section):
    """Rounds of all cells that sampled in several."""

    cells: dict[str, RoundUse] = Field(description="by the cell's label")

    def tables(self, names: Mapping[str, str]) -> Iterable[AnalysisTable]:
        """Return a line per cell."""
        found = ((names[label], listed(use.counts)) for label, use in self.cells.items())
        yield AnalysisTable(
            notes=tuple(f"{name}: tokens by the round that found them {rounds}" for name, rounds in found)
        )


def analyse(analysis: Speculation) -> RoundSection | None:
    """Return which rounds found tokens; None where none is told."""
    cells = {cell.name: use for cell in analysis.observed if (use := rounds_of(cell))}
    return RoundSection(cells=cells) if cells else None


def rounds_of(observed: Observed) -> RoundUse | None:
    """Return the rounds of a cell; None where no cycle tells one."""
    rounds = [found for cycle in observed.counted if (found := count(cycle, "round_idx")) is not None]
    return RoundUse(counts=tally(rounds), mean=sum(rounds) / len(rounds)) if rounds else None
