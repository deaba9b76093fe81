"""A backend with its model in memory, as the processes that look at it from within use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..contract.backend import Backend
from ..contract.generation import Request
from ..contract.model import ModelFacts
from ..measure.timed_loop import measure

_SHORT = 8  # tokens of a request that says nothing else


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backend with its model in memory.

    Attributes:
        prompts: token ids of each prompt.
        stop_ids: ids that end a generation, as the worker takes them.
    """

    backend: Backend
    facts: ModelFacts
    prompts: Sequence[tuple[int, ...]]
    stop_ids: tuple[int, ...]

    def request(self, prompt: int = 0, **changes: Any) -> Request:  # noqa: ANN401 - fields of Request
        """Return a greedy request that runs to its limit, with changes."""
        return replace(Request(self.prompts[prompt], _SHORT, ignore_eos=True), **changes)

    def ids(self, request: Request) -> list[int]:
        """Generate one request and return its output."""
        return measure(self.backend, [request]).rows[0].ids
