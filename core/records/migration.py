"""Raw logs of earlier schemas, read for ever: what their lines mean in the present one."""

from __future__ import annotations

from typing import Any

from .schema import SCHEMA_VERSION

_RUN_1: dict[str, Any] = {
    "seed": 0,
    "attempts": 1,
    "batch_size": 1,
    "depth": 0,
    "ignore_eos": False,
    "chat": False,
    "allow_clipped": False,
    "stop": [],
    "first_step_is_prefill": False,
}
"""Fields that a first line of version 1 may leave out, and what that means; since version 2 it means unknown."""

_SAMPLING_1: dict[str, Any] = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0}


def migrate(version: object, head: dict[str, Any]) -> dict[str, Any]:
    """Return the first line of a raw log as one of the present version; the other lines mean the same in all versions.

    Args:
        version: as the line has it.
        head: the line's fields.

    Raises:
        ValueError: a version that is not known.
    """
    match version:
        case 1:
            return {**_RUN_1, **head, "sampling": {**_SAMPLING_1, **(head.get("sampling") or {})}}
        case 2:
            return head
        case _:
            raise ValueError(f"raw log version {version}; this decodebench reads versions 1 to {SCHEMA_VERSION}")
