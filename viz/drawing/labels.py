"""Words beside points: where points lie on one another, the first ones are kept and the others hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

LABEL = "label"
"""``gid`` of a text that may be hidden: what it says is in the legend or beside its neighbours too."""


def hide_overlapping(canvas: Canvas) -> None:
    """Hide labels that would cover one that was written before them; call it when everything is drawn."""
    from matplotlib.text import Text

    labels: list[Any] = [text for text in canvas.findobj(Text) if text.get_gid() == LABEL]
    if len(labels) < 2:
        return
    surface: Any = canvas.canvas
    surface.draw()
    kept: list[Any] = []
    for label in labels:
        box = label.get_window_extent(surface.get_renderer())
        if any(box.overlaps(other) for other in kept):
            label.set_visible(False)
        else:
            kept.append(box)
