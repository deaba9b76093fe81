"""What readers must know before they believe a number: warnings and findings, the gravest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...collate.comparison.result import Comparison
from ...core.contract.finding import SEVERITIES, Place
from ..drawing.numbers import counted

_MOST_PLACES = 6


@dataclass(frozen=True, slots=True)
class Note:
    """One of them.

    Attributes:
        kind: its severity.
        text: what, where and with which figures.
        advice: what to do about it; may be empty.
        details: further cases of the same.
        rows: the cells, rounds and samples behind it; may be empty.
    """

    kind: str
    text: str
    advice: str = ""
    details: Sequence[str] = ()
    rows: str = ""


def notes_of(comparison: Comparison, rounds: Mapping[str, str]) -> list[Note]:
    """Return the notes of a comparison, the gravest first.

    Args:
        comparison: whose warnings and findings.
        rounds: by run id, what a reader calls it.
    """
    notes = [Note("warning", text) for text in comparison.warnings]
    notes += [
        Note(found.severity, found.text, found.advice, found.details[1:], _places(found.rows, rounds))
        for found in comparison.findings
    ]
    return sorted(notes, key=lambda note: SEVERITIES.index(note.kind))


def summary(notes: Sequence[Note]) -> str:
    """Count notes by their kind: ``1 error, 2 warnings``."""
    counts = Counter(note.kind for note in notes)
    return ", ".join(counted(counts[kind], kind) for kind in SEVERITIES if kind in counts)


def _places(rows: Sequence[Place], rounds: Mapping[str, str]) -> str:
    """Name the rows behind a finding."""
    named = dict.fromkeys(
        rounds.get(row.run_id, row.run_id) + ("" if row.sample is None else f", sample {row.sample}") for row in rows
    )
    shown = list(named)[:_MOST_PLACES]
    return "; ".join(shown) + (f"; {len(named) - len(shown)} more" if len(named) > len(shown) else "")
