"""Figures as files, and as a notebook shows them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Drawn:
    """Figures that were asked for.

    Attributes:
        files: those that the logs support.
        missing: what the others lack, a line for each reason; empty where there is none.
    """

    files: Sequence[Path]
    missing: str = ""

    def _repr_html_(self) -> str:
        missing = f"<p>{escape(self.missing)}</p>" if self.missing else ""
        return "".join(map(_image, self.files)) + missing


def _image(file: Path) -> str:
    """Return a figure as HTML that holds it whole; a PDF by its name."""
    kind = {".png": "image/png", ".svg": "image/svg+xml"}.get(file.suffix)
    if kind is None:
        return f"<p>{escape(str(file))}</p>"
    content = b64encode(file.read_bytes()).decode()
    return f"<img style='max-width:100%' src='data:{kind};base64,{content}'>"
