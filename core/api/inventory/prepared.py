"""Prepared models in the cache: chosen by name, age and room, and deleted."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence

from ...cache import Entry, default_root, entries, remove, sweep

_DAY_S = 24 * 3600


def prepared_models(
    *, name: str | None = None, older_than_days: float | None = None, beyond_bytes: int | None = None
) -> list[Entry]:
    """Return the prepared models of this user's cache; what killed preparations left there is deleted.

    Args:
        name: a pattern such as ``gguf-*-q8_0*``; None: all.
        older_than_days: only those that were not used for so long; None: all.
        beyond_bytes: without the latest used of them that fit into so many bytes; None: all.
    """
    root = default_root()
    sweep(root)
    return _beyond(beyond_bytes, [entry for entry in entries(root) if _is_meant(entry, name, older_than_days)])


def prune(chosen: Sequence[Entry]) -> None:
    """Delete prepared models; one that another process is making goes once it is made."""
    for entry in chosen:
        remove(entry)


def _is_meant(entry: Entry, name: str | None, older_than: float | None) -> bool:
    is_old = older_than is None or time.time() - entry.used > older_than * _DAY_S
    return is_old and (name is None or fnmatch.fnmatchcase(entry.path.name, name))


def _beyond(keep: int | None, chosen: Sequence[Entry]) -> list[Entry]:
    """Return the entries that do not fit into so many bytes, the latest used being kept; None: all."""
    if keep is None:
        return list(chosen)
    room, rest = keep, set[Entry]()
    for entry in sorted(chosen, key=lambda entry: entry.used, reverse=True):
        room -= entry.size_bytes
        if room < 0:
            rest.add(entry)
    return [entry for entry in chosen if entry in rest]
