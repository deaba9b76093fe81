"""What a sweep preset is to the host: a matrix under a name, made for the model that it is run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import ResolvedModel


@dataclass(frozen=True, slots=True)
class SweepCells:
    """A preset's matrix for one model.

    Attributes:
        cells: parts of the matrix, the baseline first: ``backend`` and, where they are not the usual ones,
            ``model``, ``quantisation``, ``device`` (names or lists of them) and ``options`` (by name; a list is swept).
        notes: what was reduced or left out for this model, one sentence each.
        is_over_engines: whether parts are of engines that may be missing: one that cannot run here, or cannot run the
            model, is left out with a note, and so is a weight format that it does not offer. Otherwise both are errors.
    """

    cells: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = field(default=())
    is_over_engines: bool = False


@dataclass(frozen=True, slots=True)
class Sweep:
    """A preset of ``decodebench sweep``.

    Attributes:
        name: what ``decodebench sweep`` takes, e.g. ``"block-size"``.
        summary: one line on what is varied.
        cells: makes the matrix for a model.
        figures: ids of the figures that show its result; drawn at the end.
        exporter: name of the exporter that writes its table at the end, or None.
    """

    name: str
    summary: str
    cells: Callable[[ResolvedModel], SweepCells]
    figures: tuple[str, ...] = ()
    exporter: str | None = None
