"""What a process sees of a backend that batches continuously: which requests it takes when, and how rows go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..contract.backend import Backend
from ..contract.generation import Request
from ..measure.streams.source import Load, TimedSource

_TOGETHER = 2
_FEW, _SHORT, _LONG = 4, 8, 24  # tokens; a short row makes room while a long one runs
_CUT_AFTER = 3


class _Watched(TimedSource):
    """A source that notes what is taken."""

    def __init__(self, backend: Backend, requests: Sequence[Request], load: Load) -> None:
        super().__init__(backend, requests, load, time.perf_counter_ns)
        self.events: list[tuple[str, int]] = []

    def poll(self) -> Request | None:
        """Note which request is taken."""
        request = super().poll()
        if request is not None:
            self.events.append(("taken", request.row))
        return request


def stream_of(backend: Backend, request: Request, prompts: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Let requests of unlike lengths arrive, two of them in flight.

    Args:
        backend: with its model loaded.
        request: what they have in common.
        prompts: of the requests.

    Returns:
        ``events`` in order of time, each with its row: "taken", "step" and "end"; ``ids`` of every row; ``alone``, the
        ids of the same requests one by one.
    """
    limits = (_SHORT, _LONG, _SHORT, _FEW)
    requests = [
        replace(request, prompt_ids=prompts[row % len(prompts)], max_new_tokens=limit, row=row)
        for row, limit in enumerate(limits)
    ]
    source = _Watched(backend, requests, Load(_TOGETHER))
    for step in backend.stream(source, _TOGETHER):
        one = source.take(step, time.perf_counter_ns())
        source.events.append(("step", step.row))
        if one is not None and one.end is not None:
            source.events.append(("end", step.row))
    alone = [_ids(list(backend.generate([replace(one, row=0)]))) for one in requests]
    return {"events": source.events, "ids": [one.row.ids for one in source.asked], "alone": alone}


def cut_stream_of(backend: Backend, request: Request, prompts: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Let two rows run and want no more of the first after a few steps; return how many tokens each committed."""
    requests = [replace(request, prompt_ids=prompts[row], max_new_tokens=_LONG, row=row) for row in range(_TOGETHER)]
    source = _Watched(backend, requests, Load(_TOGETHER))
    tokens = [0] * _TOGETHER
    steps = 0
    for step in backend.stream(source, _TOGETHER):
        now = time.perf_counter_ns()
        one = source.take(step, now)
        tokens[step.row] += len(step.token_ids)
        steps += step.row == 0
        if one is not None and one.end is None and step.row == 0 and steps == _CUT_AFTER:
            one.row.is_cut = True
            source.end(one, now)
    return {"tokens": tokens, "limit": _LONG}


def _ids(steps: Sequence[Any]) -> list[int]:
    return [token for step in steps for token in step.token_ids]
