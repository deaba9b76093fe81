"""What llama.cpp counts of its contexts; it takes an evaluation of several sequences for one of a prompt."""

from __future__ import annotations

from typing import Any

import llama_cpp

_NAMES = (
    "engine_prompt_eval_s", "engine_prompt_eval_tokens", "engine_eval_s", "engine_eval_tokens", "engine_graphs_reused",
)  # fmt: skip


def taken(*contexts: Any) -> dict[str, float]:  # noqa: ANN401 - C pointers
    """Return the sums of the contexts' times and counts, and start them again; None is no context."""
    totals = dict.fromkeys(_NAMES, 0.0)
    for context in contexts:
        if context is None:
            continue
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
        totals = {name: totals[name] + value for name, value in zip(_NAMES, now, strict=True)}
    return totals
