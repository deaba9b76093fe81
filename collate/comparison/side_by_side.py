"""Whether rounds that are compared ran beside each other: what changes on the machine in between is in the ratio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .conditions import named
from .observations import Cell, Round, blocks


def apart(pairs: Iterable[tuple[Cell, Cell]], names: Mapping[str, str]) -> list[str]:
    """Return a warning for cells whose rounds did not run beside their baseline's; those that are alike share one.

    Args:
        pairs: cells and what each is compared with.
        names: labels by cell id.
    """
    found: dict[tuple[int, int, str], list[str]] = {}
    for cell, baseline in pairs:
        together = _partners(cell, baseline)
        lonely = sum(not is_beside for is_beside in together)
        if lonely:
            found.setdefault((lonely, len(together), names[baseline.cell_id]), []).append(names[cell.cell_id])
    return [
        f"{lonely} of {count} rounds of {named(cells)} did not run beside those of {base!r}, neither in one block nor "
        "next to each other: what changed on the machine in between is in the ratio; measure both at once with --fresh"
        for (lonely, count, base), cells in found.items()
    ]


def _partners(cell: Cell, baseline: Cell) -> list[bool]:
    """Say for each round of a cell with a partner whether the two ran beside each other; empty where logs do not tell.

    Rounds of one block did. So did two of one index on one host, if of the two cells no round of another index began
    between them: that is how a run interleaves by rounds.
    """
    rounds = [(one, at) for at, side in enumerate((cell, baseline)) for one in side.rounds]
    if any(one.run["order"] is None or not one.run["started_at"] for one, _ in rounds):
        return []
    shared = blocks(cell) & blocks(baseline)
    place = {one.run["run_id"]: at for at, (one, _) in enumerate(sorted(rounds, key=_start))}
    indices = [one.key[0] for one, _ in sorted(rounds, key=_start)]
    theirs = {one.key: one for one in baseline.rounds}
    found = []
    for one in cell.rounds:
        other = theirs.get(one.key)
        if one.run["block"] in shared:
            found.append(True)
        elif other is not None:
            first, last = sorted((place[one.run["run_id"]], place[other.run["run_id"]]))
            is_next = set(indices[first : last + 1]) == {one.key[0]}
            found.append(is_next and one.run["hostname"] == other.run["hostname"])
    return found


def _start(placed: tuple[Round, int]) -> tuple[str, str, int, int]:
    """Order rounds by host and start."""
    one, side = placed
    return str(one.run["hostname"]), str(one.run["started_at"]), one.key[0], side
