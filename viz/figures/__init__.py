"""The built-in figures, one file each. A plugin adds its own through the same hook.

Imports: collate, contract, records, viz.drawing, viz.terminal. Imported by: nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from ...core.contract.figure import Figure
from ...core.contract.hookspecs import hookimpl

_IN_ORDER = """
backend_comparison speedup_comparison summary_stats latency_distribution quantization_impact device_comparison
parity_heatmap roofline memory_throughput param_throughput
block_size_tau block_size_decode_cost throughput_tpot_bars cycle_tau_trace rolling_tau sample_tau_box
cycle_tau_histogram cycle_tau_cdf wall_time_tau decode_breakdown startup_overhead
load_throughput load_latency
"""


@hookimpl
def decodebench_figures() -> Sequence[Figure]:
    """Return the figures of the toolkit, each ``FIGURE`` of the module of its name."""
    return [import_module(f".{name}", __name__).FIGURE for name in _IN_ORDER.split()]
