"""Drawing figures for a command: the experiment and the baseline chosen as ``compare`` chooses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...collate.compare import compare
from ...viz.plot import Format, plot

if TYPE_CHECKING:
    from ..figure import Figure
    from ..store import Store


def draw_all(
    store: Store, figures: Sequence[Figure], experiment: str | None, baseline: str | None, target: Path, fmt: str
) -> list[Path]:
    """Draw ``figures`` into the folder ``target`` and return the files."""
    comparison = compare(store, experiment=experiment, baseline=baseline)
    first = comparison.rows[0].cell.cell_id
    return plot(store, figures, comparison.experiment, target, cast("Format", fmt), baseline_cell=first)
