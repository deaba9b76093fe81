"""A backend with its model in memory, as the processes that look at it from within use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..contract.backend import Backend
from ..contract.generation import Request
from ..contract.model import ModelFacts
from ..measure.timed_loop import measure
from .outputs import first_difference

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

    def margin(self, prompt: int, one: Sequence[int], other: Sequence[int]) -> float | None:
        """Return by how much the likeliest id leads the next where two outputs part; None where that is not known."""
        parts = first_difference(one, other)
        if parts is None or "score-top-k" not in self.backend.supports:
            return None
        first, second = self.backend.score([*self.prompts[prompt], *one[: parts + 1]], 2).top_logprobs[-1]
        return float(first) - float(second)

    def depths(self) -> Iterator[tuple[int, list[int], list[int]]]:
        """Yield depths of the first prompt with its output behind none and behind each; none where it takes none."""
        if "depth" not in self.backend.supports:
            return
        plain, length = self.ids(self.request()), len(self.prompts[0])
        for depth in sorted({1, length // 2, length - 1}):
            yield depth, plain, self.ids(self.request(depth=depth))
