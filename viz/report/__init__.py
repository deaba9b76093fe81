"""The HTML page: one self-contained file about one experiment."""

from .page import render, write_report

__all__ = ["render", "write_report"]
