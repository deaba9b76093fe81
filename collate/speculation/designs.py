"""Vanilla, candidates off, candidates on: three modes that take the effect of candidates apart from their cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core.records.cell_names import DIMENSIONS
from ..comparison.labels import option_values
from ..comparison.observations import Cell
from .figures import CandidateDesign
from .observed import Observed
from .pairs import paired

_MODE = "candidate_mode"


def designs(cells: Sequence[Observed]) -> Iterator[CandidateDesign]:
    """Find every cell with candidates for which there are a twin with one candidate and one without the machinery.

    A twin has the same backend, model, quantisation and device, and of those the most options in common.
    """
    drafting = [cell for cell in cells if any(cycle.drafted for cycle in cell.counted)]
    most = {cell.name: _most_candidates(cell) for cell in drafting}
    for on in drafting:
        if most[on.name] < 2:
            continue
        twins = [cell for cell in drafting if _is_twin(cell, on)]
        off = nearest(on, [cell for cell in twins if most[cell.name] == 1])
        vanilla = nearest(on, [cell for cell in twins if most[cell.name] == 0 and not _has_mode(cell)])
        if off is not None and vanilla is not None:
            yield CandidateDesign(
                vanilla=vanilla.name,
                off=off.name,
                on=on.name,
                machinery=paired(off, vanilla),
                candidates=paired(on, off),
                whole=paired(on, vanilla),
            )


def nearest(to: Observed, cells: Sequence[Observed]) -> Observed | None:
    """Return the cell that has most in common with another, the first of equals; None where there is none."""
    return max(cells, key=lambda cell: _likeness(cell.cell, to.cell), default=None)


def _likeness(a: Cell, b: Cell) -> tuple[int, int]:
    ours, theirs = option_values(a), option_values(b)
    options = sum(theirs.get(name) == value for name, value in ours.items())
    return sum(a.run[name] == b.run[name] for name in DIMENSIONS), options


def _is_twin(a: Observed, b: Observed) -> bool:
    return a is not b and all(a.cell.run[name] == b.cell.run[name] for name in DIMENSIONS)


def _most_candidates(cell: Observed) -> int:
    """Most blocks verified in a cycle; 0 without candidate machinery."""
    return max((cycle.candidates or 0 for cycle in cell.counted), default=0)


def _has_mode(cell: Observed) -> bool:
    """Whether the options ask for candidates, of which a log without cycle traces tells nothing."""
    return cell.cell.run["options"].get(_MODE) not in (None, "none")
