"""What seeding did: how many rejected tokens went into the next block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from ....collate.speculation import Speculation
from ....collate.speculation.observed import Observed
from ....core.contract.analysis import AnalysisTable, Section
from ....core.records.schema import Record
from ....viz.drawing.numbers import percent
from .trace import count


class SeedUse(Record):
    """What seeding the next block with rejected tokens did."""

    cycles: int = Field(ge=1, description="cycles that tell of it")
    attempted_cycles: int = Field(description="cycles that had rejected tokens to use")
    seeded_cycles: int = Field(description="cycles whose block held at least one")
    seeded_share: float = Field(description="seeded cycles / cycles")
    seeded_tokens: int = Field(description="tokens put into blocks")
    seeded_tokens_per_cycle: float = Field(description="those per cycle")
    recycled_tokens: int = Field(description="rejected tokens that cycles left for the next")


class SeedSection(Section):
    """Seeding of all cells that had it."""

    cells: dict[str, SeedUse] = Field(description="by the cell's label")

    def tables(self, names: Mapping[str, str]) -> Iterable[AnalysisTable]:
        """Return a row per cell."""
        rows = (
            (
                names[label],
                f"{use.seeded_tokens_per_cycle:.2f}",
                f"{use.seeded_cycles} ({percent(use.seeded_share)})",
                str(use.attempted_cycles),
                str(use.seeded_tokens),
                str(use.recycled_tokens),
            )
            for label, use in self.cells.items()
        )
        columns = ("seeded tokens\nper cycle", "seeded\ncycles", "attempted", "seeded\ntokens", "rejected\ntokens")
        yield AnalysisTable(columns=columns, rows=tuple(rows))


def analyse(analysis: Speculation) -> SeedSection | None:
    """Return what seeding did; None where no cycle tells of seeds."""
    cells = {cell.name: use for cell in analysis.observed if (use := seeding_of(cell))}
    return SeedSection(cells=cells) if cells else None


def seeding_of(observed: Observed) -> SeedUse | None:
    """Return the seeding statistics of a cell; None where no cycle tells of seeds."""
    cycles = [cycle for cycle in observed.counted if count(cycle, "seeded_count") is not None]
    if not cycles:
        return None
    seeded = [count(cycle, "seeded_count") or 0 for cycle in cycles]
    return SeedUse(
        cycles=len(cycles),
        attempted_cycles=sum((count(cycle, "recycled_available") or 0) > 0 for cycle in cycles),
        seeded_cycles=sum(tokens > 0 for tokens in seeded),
        seeded_share=sum(tokens > 0 for tokens in seeded) / len(cycles),
        seeded_tokens=sum(seeded),
        seeded_tokens_per_cycle=sum(seeded) / len(cycles),
        recycled_tokens=sum(count(cycle, "recycled_next") or 0 for cycle in cycles),
    )
