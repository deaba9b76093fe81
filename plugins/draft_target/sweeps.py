"""Presets: how long drafts should be."""

from __future__ import annotations

from typing import Any

from ...core.contract.model import ResolvedModel
from ...core.contract.sweep import Sweep, SweepCells
from .check import NAME

_LENGTHS = range(9)


def draft_lengths(model: ResolvedModel) -> SweepCells:
    """The target alone, drafts of 1 to 8 tokens, and a length that follows the acceptance."""
    fixed: list[dict[str, Any]] = [{"backend": NAME, "options": {"num_draft_tokens": k}} for k in _LENGTHS]
    return SweepCells([*fixed, {"backend": NAME, "options": {"adaptive": True}}])


SWEEPS = (
    Sweep(
        "draft-length",
        "draft/target decoding with drafts of 1 to 8 tokens against the target alone",
        draft_lengths,
        figures=("throughput_tpot_bars", "block_size_tau", "block_size_decode_cost", "decode_breakdown"),
        exporter="gsm8k-benchmark",
    ),
)
