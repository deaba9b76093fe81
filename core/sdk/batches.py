"""What every backend checks of the requests that it is given."""

from __future__ import annotations

from collections.abc import Sequence

from ..contract.generation import Request
from ..errors import BackendError


def check_prompts(batch: Sequence[Request]) -> None:
    """Refuse a batch with an empty prompt; raises ``BackendError``."""
    if any(not request.prompt_ids for request in batch):
        raise BackendError("the prompt has no tokens")


def only_request(backend: str, batch: Sequence[Request]) -> Request:
    """Return the one request of a batch.

    Raises:
        BackendError: there are several, or its prompt is empty.
    """
    if len(batch) != 1:
        raise BackendError(f"{backend} takes one request at a time, not {len(batch)}")
    check_prompts(batch)
    return batch[0]
