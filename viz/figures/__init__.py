"""The built-in figures, one file each. A plugin adds its own through the same hook."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.figure import Figure
from ...core.contract.hookspecs import hookimpl
from . import (
    backend_comparison,
    block_size_decode_cost,
    block_size_tau,
    block_sweep,
    cycle_tau_cdf,
    cycle_tau_histogram,
    cycle_tau_trace,
    decode_breakdown,
    device_comparison,
    latency_distribution,
    memory_throughput,
    param_throughput,
    parity_heatmap,
    quantization_impact,
    rolling_tau,
    roofline,
    sample_tau_box,
    speedup_comparison,
    startup_overhead,
    step_sweep,
    summary_stats,
    throughput_tpot_bars,
    wall_time_tau,
)


@hookimpl
def decodebench_figures() -> Sequence[Figure]:
    """Return the figures of the toolkit."""
    return [
        backend_comparison.FIGURE,
        speedup_comparison.FIGURE,
        summary_stats.FIGURE,
        latency_distribution.FIGURE,
        quantization_impact.FIGURE,
        device_comparison.FIGURE,
        parity_heatmap.FIGURE,
        roofline.FIGURE,
        memory_throughput.FIGURE,
        param_throughput.FIGURE,
        block_size_tau.FIGURE,
        block_size_decode_cost.FIGURE,
        throughput_tpot_bars.FIGURE,
        cycle_tau_trace.FIGURE,
        rolling_tau.FIGURE,
        sample_tau_box.FIGURE,
        cycle_tau_histogram.FIGURE,
        cycle_tau_cdf.FIGURE,
        wall_time_tau.FIGURE,
        decode_breakdown.FIGURE,
        startup_overhead.FIGURE,
        block_sweep.FIGURE,
        step_sweep.FIGURE,
    ]
