"""The HTML page: one self-contained file about one experiment.

Imports: collate, contract, records, viz, viz.drawing, viz.terminal. Imported by: api, viz.slides.
"""

from .page import Content, render, write_report

__all__ = ["Content", "render", "write_report"]
