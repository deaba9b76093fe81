"""What a GGUF model holds: measured size, tensor types, and where the engine fell back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from .formats import FILE_TYPES, name_of
from .parts import read_parts
from .pretokenizer import assumed_kind

_SUPER_BLOCK = 256
_SMALL_BLOCKS = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4_moe")  # of 32


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """A model's weights.

    Attributes:
        quantisation: name of their format.
        weight_bytes: bytes of all tensors.
        bits_per_weight: measured over all tensors, scales included.
        matrices: (row length, tensor type in lower case) of every matrix.
        assumed: what the file does not state and the engine assumes.
    """

    quantisation: str
    weight_bytes: int
    bits_per_weight: float
    matrices: tuple[tuple[int, str], ...]
    assumed: tuple[str, ...] = ()


def inspect_gguf(path: Path) -> GgufFacts:
    """Read a model's tables; the weights themselves stay on disk.

    Args:
        path: its file, of a split one any part.

    Raises:
        ModelError: a file is missing, cut off or not GGUF.
    """
    header = read_parts(path)
    if not header.tensors:
        raise ModelError(f"{path}: has no tensors; it may be a file with the vocabulary only", code="weights-mismatch")
    matrices = tuple((tensor.shape[-1], tensor.kind.name) for tensor in header.tensors if len(tensor.shape) > 1)
    weight_bytes = sum(tensor.nbytes for tensor in header.tensors)
    elements = sum(tensor.elements for tensor in header.tensors)
    file_type = header.metadata.get("general.file_type")
    if file_type is None or name_of(file_type) not in FILE_TYPES:
        quantisation = _commonest(matrices)
    else:
        quantisation = name_of(file_type)
    return GgufFacts(quantisation, weight_bytes, 8 * weight_bytes / elements, matrices, assumed_kind(header.metadata))


def _commonest(matrices: tuple[tuple[int, str], ...]) -> str:
    """Name a file that does not say its type by the type of most of its matrices."""
    counts = Counter(kind for _, kind in matrices)
    kind = counts.most_common(1)[0][0] if counts else "f32"
    return next((name for name in (kind, f"{kind}_m", f"{kind}_moe") if name in FILE_TYPES), kind)


def notes_on(facts: GgufFacts) -> tuple[str, ...]:
    """Return what a reader of results must know: of the weights, and of what is assumed."""
    return (*_fallback_notes(facts), *facts.assumed)


def _fallback_notes(facts: GgufFacts) -> tuple[str, ...]:
    """Say how many matrices the engine stored in another type since their rows do not fill its blocks.

    llama.cpp's rule (llama-quant.cpp): a row that is no multiple of 256 gets a type with blocks of 32 instead of a
    K type; one that is no multiple of 32 gets f16.
    """
    if facts.quantisation in ("f32", "f16", "bf16"):
        return ()
    block = 32 if facts.quantisation in _SMALL_BLOCKS else _SUPER_BLOCK
    fallen = [(row, kind) for row, kind in facts.matrices if row % block]
    if not fallen:
        return ()
    kinds = ", ".join(f"{n} to {kind}" for kind, n in Counter(kind for _, kind in fallen).most_common())
    rows = ", ".join(str(row) for row in sorted({row for row, _ in fallen}))
    return (
        f"{facts.quantisation}: {facts.bits_per_weight:.2f} bits per weight, since {len(fallen)} of "
        f"{len(facts.matrices)} matrices fell back ({kinds}): their row length ({rows}) is not a multiple of {block}",
    )
