"""Which cells of a round are measured in turn, and in which order they are loaded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...contract.launcher import Launcher
from ..cells import Cell
from ..local_launcher import LocalLauncher
from ..plan import Interleave
from .memory import Need, free_memory, groups


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the rounds of an experiment are laid out.

    Attributes:
        cells: of the matrix, the baseline first.
        seed: of the plan.
        groups: cells that are in memory together, the baseline in each where it fits; None: every cell is alone.
    """

    cells: Sequence[Cell]
    seed: int
    groups: Sequence[Sequence[Cell]] | None = None
    _places: dict[int, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        cells: Sequence[Cell],
        seed: int,
        weight_bytes: Mapping[str, int],
        kind: Interleave | None,
        stored: Interleave | None,
        say: Callable[[str], None],
    ) -> Arrangement:
        """Decide how to interleave, and say so.

        Args:
            cells: of the matrix.
            seed: of the plan.
            weight_bytes: by cell id; of the cells that can be measured.
            kind: as asked for; None: as the rounds that are there, else by sample where all fit into memory together.
            stored: how the rounds that are there are interleaved; None: nothing was decided yet.
            say: told one line, where there is a choice.
        """
        able = [cell for cell in cells if cell.id in weight_bytes]
        if kind == "rounds" or len(able) < 2:
            return cls(cells, seed)
        needs = [Need.of(cell.device, weight_bytes[cell.id]) for cell in able]
        parts = groups(needs, free_memory([cell.device for cell in able]))
        fitting: Interleave = "samples" if len(parts) == 1 else "rounds"
        chosen = kind or stored or fitting
        why = "" if kind or chosen == fitting else "; so were the rounds that are there already, --fresh decides again"
        if chosen == "rounds":
            say(f"interleaved by round{why or f': {len(able)} cells do not fit into memory together'}")
            return cls(cells, seed)
        how = f"{len(able)} cells" if len(parts) == 1 else f"{len(parts)} groups of cells, the baseline in each,"
        say(f"interleaved by sample: {how} are loaded together, one measures while the others are stopped{why}")
        return cls(cells, seed, [[able[at] for at in part] for part in parts])

    def place(self, cell: Cell, index: int) -> int:
        """Return the position of a round in the schedule of all rounds."""
        if index not in self._places:
            order = schedule(self.cells, index, self.seed)
            self._places[index] = {cell.id: at for at, cell in enumerate(order)}
        return index * len(self.cells) + self._places[index][cell.id]

    def of_round(
        self,
        index: int,
        complete: Collection[tuple[str, int]],
        among: Collection[str] | None = None,
        unable: Collection[str] = (),
    ) -> list[list[Cell]]:
        """Return what is to be measured of a round: cells that are measured in turn, and so on.

        A cell that is measured again joins the baseline, which is measured once more for it, since only what ran in
        turn is compared; so do all others where it is the baseline that is measured again.

        Args:
            index: of the round.
            complete: cell id and round of those that are there.
            among: ids of the cells that still take part; None: all.
            unable: ids of the cells that cannot be measured: they join nobody.
        """
        order = [
            cell
            for cell in schedule(self.cells, index, self.seed)
            if cell.id not in unable and (among is None or cell.id in among)
        ]
        missing = {cell.id for cell in order if (cell.id, index) not in complete}
        if self.groups is None:
            return [[cell] for cell in order if cell.id in missing]
        baseline = self.groups[0][0]
        if baseline.id in missing and any(cell_id == baseline.id for cell_id, _ in complete):
            missing = {cell.id for cell in order}
        found = []
        for group in self.groups:
            wanted = {cell.id for cell in group} & missing
            if wanted - {baseline.id} or (wanted and group is self.groups[0]):
                joined = wanted | ({baseline.id} if baseline in group else set())
                found.append([cell for cell in order if cell.id in joined])
        return found


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left to measure of an experiment.

    Attributes:
        arrangement: of its rounds.
        most_rounds: of each cell.
        complete: cell id and round of those that are there.
        unable: ids of the cells that cannot be measured.
    """

    arrangement: Arrangement
    most_rounds: int
    complete: Collection[tuple[str, int]]
    unable: Collection[str]

    def of_round(self, index: int, among: Collection[str] | None = None) -> list[list[Cell]]:
        """Return what is to be measured of a round; see ``Arrangement.of_round``."""
        return self.arrangement.of_round(index, self.complete, among, self.unable)

    @property
    def rounds(self) -> list[int]:
        """The rounds of which anything is left."""
        return [index for index in range(self.most_rounds) if self.of_round(index)]

    @property
    def cells(self) -> list[Cell]:
        """Those that are measured, each once."""
        return list({cell.id: cell for cell in self._cells(self.rounds)}.values())

    def counts(self, labels: Mapping[str, str], rounds: int | None = None) -> Mapping[str, int]:
        """Count how often each cell is measured, a baseline once for each group, by its label.

        Args:
            labels: by cell id.
            rounds: only the first so many of those that are left; None: all.
        """
        return Counter(labels[cell.id] for cell in self._cells(self.rounds[:rounds]))

    def _cells(self, rounds: Sequence[int]) -> Iterator[Cell]:
        return (cell for index in rounds for block in self.of_round(index) for cell in block)


def why_by_round(cells: Sequence[Cell], launcher: Launcher) -> str | None:
    """Say why workers cannot be stopped and continued in turn; None where they can."""
    if not isinstance(launcher, LocalLauncher):
        return f"launcher {launcher.name!r} cannot stop and continue its workers"
    served = sorted({cell.backend.name for cell in cells if cell.backend.residence != "in-process"})
    if served:
        return f"the engine of {' and '.join(served)} is a server, which cannot be stopped while others measure"
    return None


def schedule(cells: Sequence[Cell], round_index: int, seed: int) -> list[Cell]:
    """Return the cells in the order in which round ``round_index`` runs them: a seeded shuffle.

    Every round runs all cells before the next begins, so that a drift of the machine hits every cell alike. Cells that
    one server can answer follow each other.
    """
    together: dict[str, list[Cell]] = {}
    for cell in cells:
        together.setdefault(cell.server_key or cell.id, []).append(cell)
    shuffled, chooser = list(together.values()), random.Random(f"{seed}:{round_index}")
    chooser.shuffle(shuffled)
    for alike in shuffled:
        chooser.shuffle(alike)
    return [cell for alike in shuffled for cell in alike]
