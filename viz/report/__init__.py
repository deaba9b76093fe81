"""The HTML page: one self-contained file about one experiment."""

from .page import Content, render, write_report

__all__ = ["Content", "render", "write_report"]
