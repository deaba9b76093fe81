"""What an option of the decoder changes in speed and in accuracy."""

from __future__ import annotations

from ...viz.drawing.dual_axis import sweep_figure

BLOCKS = sweep_figure("block_sweep", "Accuracy and throughput by block length", "block_length", without="steps")
STEPS = sweep_figure("step_sweep", "Accuracy and throughput by denoising steps", "steps")
