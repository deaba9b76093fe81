"""The slides: a Typst presentation about one experiment, and its PDF."""

from .write import TEMPLATE, write_slides

__all__ = ["TEMPLATE", "write_slides"]
