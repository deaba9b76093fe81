"""Words beside points and ticks: where they would lie on one another, the first ones are kept and the others hidden."""

from __future__ import annotations

from collections.abc import Collection
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

_NARROWEST = 8  # characters of a folded line
LABEL = "label"
"""``gid`` of a text that may be hidden: what it says is in the legend or beside its neighbours too."""


def folded(labels: Collection[str], characters: int) -> list[str]:
    """Return labels of places side by side, those in lines that are too long for their share of so many characters."""
    width = max(characters // max(len(labels), 1) - 1, _NARROWEST)
    return ["\n".join(fill(line, width) for line in label.split("\n")) for label in labels]


def hide_overlapping(canvas: Canvas) -> None:
    """Hide labels that would cover another text, or a label before them; call it when everything is drawn."""
    from matplotlib.text import Text

    surface: Any = canvas.canvas
    surface.draw()  # ticks have their words then
    texts: list[Any] = [text for text in canvas.findobj(Text) if text.get_visible() and text.get_text()]
    labels = [text for text in texts if text.get_gid() == LABEL]
    if not labels:
        return
    kept = [text.get_window_extent(surface.get_renderer()) for text in texts if text.get_gid() != LABEL]
    for label in labels:
        box = label.get_window_extent(surface.get_renderer())
        if any(box.overlaps(other) for other in kept):
            label.set_visible(False)
        else:
            kept.append(box)
