"""Figures whose words mean different things: formats of one name, bytes that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...core.contract.finding import Doubt
from .subject import Subject, by_model, grouped, rounds_of, word_of

_ONE_NAME, _NAMES = 1.1, 1.05  # largest ratio of bits; q8_0 has 8.5 of them, int8 with a scale a row 8.0
_SYNONYMS = {"f16": "float16", "fp16": "float16", "f32": "float32", "fp32": "float32", "bf16": "bfloat16"}
_ROUNDING = 1.01


def unlike_formats(subject: Subject) -> Iterator[Doubt]:
    """Backends that mean different weight formats by the same name."""
    for model in by_model(subject.finished):
        for cells in grouped(model, word_of):
            formats: dict[tuple[str, str], float | None] = {}
            for cell in cells:
                key = cell.run["backend"], cell.run["quantisation"]
                formats[key] = formats.get(key) or cell.run["bits_per_weight"]
            if len({backend for backend, _ in formats}) > 1 and _are_unlike(formats):
                told = ", ".join(_told(*key, bits) for key, bits in sorted(formats.items()))
                yield Doubt(
                    f"quantisation {word_of(cells[0])!r} is not one format: {told}",
                    "compare formats by bits per weight, not by name",
                    rounds_of(*cells),
                )


def _are_unlike(formats: Mapping[tuple[str, str], float | None]) -> bool:
    """Whether bits lie apart, or, where they are not all known, the names of the formats do."""
    bits = [known for known in formats.values() if known]
    is_one_name = len({_SYNONYMS.get(name, name) for _, name in formats}) == 1
    if len(bits) > 1 and max(bits) > (_ONE_NAME if is_one_name else _NAMES) * min(bits):
        return True
    return len(bits) < len(formats) and not is_one_name


def _told(backend: str, name: str, bits: float | None) -> str:
    return f"{backend} {name} ({'bits unknown' if bits is None else f'{bits:.2f} bits'})"


def more_weights_than_bytes(subject: Subject) -> Iterator[Doubt]:
    """Weights streamed faster than bytes were read: one of the two is not measured."""
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
                f"{read / 1e9:.1f} GB/s, which is impossible",
                "one of them uses a wrong weight size",
                rounds_of(cell),
                "error",
            )
