"""One line for each check: what it flags in several cells is reported once, with the cells behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...core.contract.finding import SEVERITIES, Doubt, Finding
from ...core.errors import plural

_MOST_NAMED = 2


def merged(check: str, doubts: Iterable[Doubt], names: Mapping[str, str]) -> Finding | None:
    """Return the finding of a check; None where it flags nothing.

    Args:
        check: its name.
        doubts: what it yields; the first of the gravest speaks for all.
        names: labels of the cells by the ids of their runs.
    """
    found = sorted(doubts, key=lambda doubt: SEVERITIES.index(doubt.severity))
    if not found:
        return None
    first, *others = found
    text = first.text
    if others:
        of_first = _cells([first], names)
        elsewhere = [name for name in _cells(others, names) if name not in of_first]
        text += f"; {len(others)} more such" + (f", in {_named(elsewhere)}" if elsewhere else "")
    return Finding(
        check=check,
        severity=first.severity,
        text=text,
        advice=first.advice,
        cells=tuple(_cells(found, names)),
        details=tuple(doubt.text for doubt in found) if others else (),
        rows=tuple(dict.fromkeys(row for doubt in found for row in doubt.rows) if others else first.rows),
    )


def _cells(doubts: Iterable[Doubt], names: Mapping[str, str]) -> list[str]:
    runs = dict.fromkeys(row.run_id for doubt in doubts for row in doubt.rows)
    return list(dict.fromkeys(names[run_id] for run_id in runs if run_id in names))


def _named(cells: Sequence[str]) -> str:
    told = ", ".join(map(repr, cells[:_MOST_NAMED]))
    return told if len(cells) <= _MOST_NAMED else f"{told} and {plural(len(cells) - _MOST_NAMED, 'more cell')}"
