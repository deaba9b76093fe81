"""Drawing figures for a command: the experiment and the baseline chosen as ``compare`` chooses them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ... import defaults
from ...collate.comparison.compare import compare
from ...viz.drawing.style import declared_looks
from ...viz.plot import Format, plot
from .installed import installed_plugins

if TYPE_CHECKING:
    from ..contract.figure import Figure
    from ..records.store import Store


def draw_all(
    store: Store,
    figures: Sequence[Figure],
    experiment: str | None,
    baseline: str | None,
    target: Path,
    fmt: str,
    look: str = defaults.FIGURE_STYLE,
) -> list[Path]:
    """Draw ``figures`` into the folder ``target`` and return the files."""
    comparison = compare(store, experiment=experiment, baseline=baseline)
    with declared_looks(installed_plugins().backends):
        return plot(store, figures, comparison, target, cast("Format", fmt), look=look)
