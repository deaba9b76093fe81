"""Preset: what weight formats cost and gain, over the engines of the workflow."""

from __future__ import annotations

from ...core.contract.model import ResolvedModel
from ...core.contract.sweep import Sweep, SweepCells

_ENGINES = ("transformers", "llama-cpp", "tinygrad", "mlx", "mlc")  # the first, in full precision, is the baseline
_FORMATS = ("fp32", "bf16", "8bit", "4bit")


def quantisations(model: ResolvedModel) -> SweepCells:
    """Every engine in full precision, in bfloat16, and in what it has of 8 and of 4 bits."""
    return SweepCells(
        [{"backend": name, "quantisation": list(_FORMATS)} for name in _ENGINES],
        is_over_engines=True,
    )


SWEEPS = (
    Sweep(
        "quantisations",
        f"weights in {', '.join(_FORMATS)} over {', '.join(_ENGINES)}, those that can run the model here",
        quantisations,
        figures=("quantization_impact", "backend_comparison"),
    ),
)
