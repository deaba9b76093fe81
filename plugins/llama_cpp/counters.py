"""What the engine counts by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.records.engine_counters import EngineCounters

_COUNTERS = (
    "engine_prompt_eval_s", "engine_prompt_eval_tokens", "engine_eval_s", "engine_eval_tokens", "engine_graphs_reused",
)  # fmt: skip


def count(contexts: Sequence[Any]) -> EngineCounters:
    """Return times and token counts of contexts since the last call, added up.

    The engine takes an evaluation of several sequences for one of a prompt.

    Args:
        contexts: the engine's handles; the last one's size is recorded.
    """
    import llama_cpp

    totals = dict.fromkeys(_COUNTERS, 0.0)
    for context in contexts:
        data = llama_cpp.llama_perf_context(context)
        llama_cpp.llama_perf_context_reset(context)
        # the engine reports a count of at least 1, to divide by
        now = (
            data.t_p_eval_ms / 1e3,
            data.n_p_eval if data.t_p_eval_ms else 0,
            data.t_eval_ms / 1e3,
            data.n_eval if data.t_eval_ms else 0,
            data.n_reused,
        )
        totals = {name: totals[name] + value for name, value in zip(_COUNTERS, now, strict=True)}
    return EngineCounters(own={**totals, "engine_n_ctx": float(llama_cpp.llama_n_ctx(contexts[-1]))})
