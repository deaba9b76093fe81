"""Requests to a loaded backend and what comes of them."""

from __future__ import annotations

from collections import Counter

from decodebench import Request
from decodebench.core.measure.timed_loop import measure

from .checkpoints import STOP


def requests(prompts, limit, stop=STOP, **changes):
    stops = () if stop is None else (stop,)
    return [Request(tuple(prompt), limit, stop_token_ids=stops, **changes) for prompt in prompts]


def outputs(backend, prompts, limit, **changes):
    return [row.ids for row in measure(backend, requests(prompts, limit, **changes)).rows]


def kinds(steps):
    """Count forwards by kind."""
    found = Counter()
    for step in steps:
        found.update([step.trace["forward"], *filter(None, step.trace.get("before", "").split(","))])
    return found
