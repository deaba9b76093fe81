"""Figures whose words mean different things: formats of one name, bytes that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.contract.finding import Doubt
from .subject import Subject, grouped, rounds_of

_BITS_APART = 0.1
_ROUNDING = 1.01


def unlike_formats(subject: Subject) -> Iterator[Doubt]:
    """Backends that mean different weight formats by one word."""
    for cells in grouped(subject.finished, lambda cell: (cell.run["model"], cell.run["quantisation"])):
        known = [cell for cell in cells if cell.run["bits_per_weight"]]
        bits = {cell.run["backend"]: float(cell.run["bits_per_weight"]) for cell in known}
        if len(bits) > 1 and max(bits.values()) > (1 + _BITS_APART) * min(bits.values()):
            told = ", ".join(f"{backend} {value:.2f}" for backend, value in sorted(bits.items()))
            yield Doubt(
                f"quantisation {cells[0].run['quantisation']!r} is not one format: bits per weight are {told}",
                "compare formats of like bits, not of like names",
                rounds_of(*known),
            )


def more_weights_than_bytes(subject: Subject) -> Iterator[Doubt]:
    """Weights that were streamed faster than bytes were read: one of the two is not measured."""
    for cell in subject.finished:
        pairs = [
            (r.run["param_throughput_bytes_per_s"], r.run["memory_throughput_bytes_per_s"])
            for r in cell.rounds
            if r.run["param_throughput_bytes_per_s"] and r.run["memory_throughput_bytes_per_s"]
        ]
        if pairs and all(weights > _ROUNDING * read for weights, read in pairs):
            weights, read = pairs[0]
            yield Doubt(
                f"{subject.name(cell)}: parameter throughput {weights / 1e9:.1f} GB/s is above memory throughput "
                f"{read / 1e9:.1f} GB/s, which cannot be",
                "one of them is computed from a wrong size of the weights",
                rounds_of(cell),
                "error",
            )
