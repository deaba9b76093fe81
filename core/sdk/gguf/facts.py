"""What a GGUF file holds: measured size, tensor types, and where the engine fell back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from .formats import FILE_TYPES, name_of

_SUPER_BLOCK = 256


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """A file's weights.

    Attributes:
        quantisation: name of its format.
        weight_bytes: bytes of all tensors.
        bits_per_weight: measured over all tensors, scales included.
        matrices: (row length, tensor type in lower case) of every matrix.
    """

    quantisation: str
    weight_bytes: int
    bits_per_weight: float
    matrices: tuple[tuple[int, str], ...]


def inspect_gguf(path: Path) -> GgufFacts:
    """Read a GGUF file's tables; the weights themselves stay on disk.

    Raises:
        ModelError: the file is missing, cut off or not GGUF.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        field = reader.fields.get("general.file_type")
        file_type = None if field is None else int(field.contents())
        tensors = [(t.shape, t.tensor_type.name.lower(), int(t.n_bytes), int(t.n_elements)) for t in reader.tensors]
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise ModelError(f"{path}: cannot be read as GGUF, or is cut off ({error})") from error
    parts = reader.fields.get("split.count")
    if parts is not None and int(parts.contents()) > 1:
        raise ModelError(f"{path}: is one of {parts.contents()} parts; merge them first (llama-gguf-split --merge)")
    if not tensors:
        raise ModelError(f"{path}: holds no tensors (a vocabulary only?)")
    matrices = tuple((int(shape[0]), kind) for shape, kind, _, _ in tensors if len(shape) > 1)
    weight_bytes = sum(nbytes for _, _, nbytes, _ in tensors)
    elements = sum(count for _, _, _, count in tensors)
    if file_type is None or name_of(file_type) not in FILE_TYPES:
        quantisation = _commonest(matrices)
    else:
        quantisation = name_of(file_type)
    return GgufFacts(quantisation, weight_bytes, 8 * weight_bytes / elements, matrices)


def _commonest(matrices: tuple[tuple[int, str], ...]) -> str:
    """Name a file that does not say its type by the type of most of its matrices."""
    counts = Counter(kind for _, kind in matrices)
    return counts.most_common(1)[0][0] if counts else "f32"


def fallback_notes(facts: GgufFacts) -> tuple[str, ...]:
    """Say how many matrices the engine stored in another type since their rows do not fill its blocks.

    llama.cpp's rule (llama-quant.cpp): a row that is no multiple of 256 gets a type with blocks of 32 instead of a
    K type; one that is no multiple of 32 gets f16.
    """
    if facts.quantisation in ("f32", "f16", "bf16"):
        return ()
    block = _SUPER_BLOCK if "_k" in facts.quantisation or facts.quantisation == "iq4_xs" else 32
    fallen = [(row, kind) for row, kind in facts.matrices if row % block]
    if not fallen:
        return ()
    kinds = ", ".join(f"{n} to {kind}" for kind, n in Counter(kind for _, kind in fallen).most_common())
    rows = ", ".join(str(row) for row in sorted({row for row, _ in fallen}))
    return (
        f"{facts.quantisation}: {len(fallen)} of {len(facts.matrices)} matrices fell back ({kinds}), since their "
        f"row length ({rows}) is no multiple of {block}",
    )
