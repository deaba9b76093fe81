"""How widening the block that is filled in parallel changes speed and accuracy (L-B)."""

from __future__ import annotations

from ..drawing.dual_axis import sweep_figure

FIGURE = sweep_figure("block_sweep", "Accuracy and throughput by block length", "block_length", without="steps")
