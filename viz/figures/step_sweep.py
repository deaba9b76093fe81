"""What more denoising steps cost in speed and buy in accuracy (L-S)."""

from __future__ import annotations

from ..drawing.dual_axis import sweep_figure

FIGURE = sweep_figure("step_sweep", "Accuracy and throughput by denoising steps", "steps")
