"""The built-in figures, one file each. A plugin adds its own through the same hook."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.figure import Figure
from ...core.hookspecs import hookimpl
from . import (
    backend_comparison,
    latency_distribution,
    memory_throughput,
    param_throughput,
    parity_heatmap,
    quantization_impact,
    roofline,
    speedup_comparison,
)


@hookimpl
def decodebench_figures() -> Sequence[Figure]:
    """Return the figures of the toolkit."""
    return [
        backend_comparison.FIGURE,
        speedup_comparison.FIGURE,
        latency_distribution.FIGURE,
        quantization_impact.FIGURE,
        parity_heatmap.FIGURE,
        roofline.FIGURE,
        memory_throughput.FIGURE,
        param_throughput.FIGURE,
    ]
