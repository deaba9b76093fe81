"""What servers count in ``/metrics``: Prometheus' text format, of which a few counters are read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

COUNTERS = {
    "vllm:spec_decode_num_drafts_total": "speculation_rounds",
    "vllm:spec_decode_num_draft_tokens_total": "draft_tokens",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted_draft_tokens",
    "vllm:prefix_cache_hits_total": "server_prefix_cache_hit_tokens",
    "vllm:prefix_cache_queries_total": "server_prefix_cache_asked_tokens",
    "vllm:num_preemptions_total": "server_preemptions",
}
"""Our names of the counters, each of which only grows."""

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})?\s+(\S+)", re.MULTILINE)


def read_counters(text: str) -> dict[str, float]:
    """Return the counters that a page has, by our names, summed over their labels; NaN where a number is bad."""
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        if name in COUNTERS:
            found[COUNTERS[name]] = found.get(COUNTERS[name], 0.0) + _number(value)
    return found


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def growth(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> dict[str, float]:
    """Return by how much counters grew.

    One that has shrunk belongs to a server that was started anew, and of NaN, which nothing is above, nothing is known.

    Args:
        before: None where the page could not be read: then nothing is known of what has come since.
        after: likewise.
    """
    if before is None or after is None:
        return {}
    return {name: value - before.get(name, 0.0) for name, value in after.items() if value >= before.get(name, 0.0)}
