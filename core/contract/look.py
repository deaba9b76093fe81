"""How a backend may look in figures: colours that can be seen on white and on black, and markers."""

from __future__ import annotations

import re

MARKERS = ("o", "s", "D", "^", "v", "P", "X")
"""Shapes in matplotlib's words, so that series can be distinguished in black and white too."""

LEAST_CONTRAST = 3.0
"""What graphics need against their ground (WCAG 2.1, success criterion 1.4.11)."""

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


def contrast(colour: str, ground: str) -> float:
    """Return the contrast of two ``#rrggbb`` colours, from 1 for equal ones to 21 for black on white.

    Relative luminance and contrast ratio as WCAG 2.1 defines them.
    """
    darker, lighter = sorted((_luminance(colour), _luminance(ground)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def fault_of(colour: str | None, marker: str | None) -> str | None:
    """Return why a declared colour or marker cannot be used; None where both can, or are not declared."""
    if colour is not None and not _COLOUR.fullmatch(colour):
        return f"colour {colour!r} must be #rrggbb"
    if marker is not None and marker not in MARKERS:
        return f"marker {marker!r} must be one of {' '.join(MARKERS)}"
    for ground, name in (("#ffffff", "white"), ("#000000", "black")):
        if colour is not None and contrast(colour, ground) < LEAST_CONTRAST:
            ratio = contrast(colour, ground)
            return f"colour {colour} has a contrast of {ratio:.1f} on {name}; it must be at least {LEAST_CONTRAST:g}"
    return None
