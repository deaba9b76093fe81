"""What an export format is to the host: a name and a function that writes files from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..records.store import Store


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format that the store can be written in.

    Attributes:
        name: what ``export --format`` takes, e.g. ``"dflash"``.
        summary: one line on what reads such files.
        write: ``write(store, experiment, folder)`` writes the selected experiment (all where it is None) into
            ``folder``, each file whole or not at all, and returns the files.
    """

    name: str
    summary: str
    write: Callable[[Store, str | None, Path], Sequence[Path]]
