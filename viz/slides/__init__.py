"""The slides: a Typst presentation about one experiment, and its PDF.

Imports: collate, contract, records, viz, viz.drawing, viz.report, viz.terminal. Imported by: api.
"""

from .deck import make_deck
from .pictures import MOST_FIGURES, draw_pictures
from .write import TEMPLATE, write_slides

__all__ = ["MOST_FIGURES", "TEMPLATE", "draw_pictures", "make_deck", "write_slides"]
