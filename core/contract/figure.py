"""What a figure is to the host: an id, the data it needs and a function that draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import matplotlib.axes

Row = dict[str, Any]
"""One row of a store query: column name to a plain value."""

Axes: TypeAlias = "matplotlib.axes.Axes"
"""What is drawn on; named so that a module of figures imports matplotlib where it draws only."""

Panels: TypeAlias = "Axes | Sequence[Axes]"
"""One axes, or several for a figure with several panels."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure drawn from the store.

    Attributes:
        id: the name that ``plot --figure`` takes, e.g. ``"backend_comparison"``.
        title: headline above the axes.
        sql: the query over the store's tables whose rows ``draw`` gets; ``$experiment`` is bound to the selected
            experiment's name.
        draw: ``draw(axes, rows)`` fills the axes; it measures nothing and reads nothing else.
        panels: number of axes, one below the other; ``draw`` gets a sequence if there are several.
        needs: what the store must have, in words, printed when the query returns no rows.
        topic: what it is about; ``demo`` draws ``comparison`` only.
    """

    id: str
    title: str
    sql: str
    draw: Callable[[Panels, Sequence[Row]], None]
    panels: int = 1
    needs: str = "finished rounds"
    topic: str = "comparison"
