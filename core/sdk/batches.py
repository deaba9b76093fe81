"""Requests that a backend is given: what every backend checks of them, and a batch for one that takes streams."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.generation import Request
from ..contract.stream import RequestSource
from ..errors import BackendError


def check_prompts(batch: Sequence[Request]) -> None:
    """Refuse a batch with an empty prompt; raises ``BackendError``."""
    if any(not request.prompt_ids for request in batch):
        raise BackendError("the prompt has no tokens", code="prompt-refused")


def only_request(backend: str, batch: Sequence[Request]) -> Request:
    """Return the one request of a batch.

    Raises:
        BackendError: there are several, or its prompt is empty.
    """
    if len(batch) != 1:
        raise BackendError(f"{backend} takes one request at a time, not {len(batch)}", code="not-supported")
    check_prompts(batch)
    return batch[0]


class AllDue(RequestSource):
    """A batch as a stream: every request is due at once. With it ``stream`` does for ``generate``.

    Args:
        batch: the requests.
    """

    def __init__(self, batch: Sequence[Request]) -> None:
        check_prompts(batch)
        self._waiting = list(reversed(batch))

    def poll(self) -> Request | None:
        """Return the next request."""
        return self._waiting.pop() if self._waiting else None

    def wait(self) -> None:
        """Return: a request is due as long as there is one."""

    @property
    def ended(self) -> bool:
        """Whether every request was handed out."""
        return not self._waiting

    def until_due_s(self) -> float | None:
        """Return 0 as long as there is a request."""
        return 0.0 if self._waiting else None

    def wants(self, row: int) -> bool:
        """Return true: a batch that is not wanted any more is closed as a whole."""
        return True
