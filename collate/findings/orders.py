"""Orders of backends that the machines make, not the backends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from ...core.contract.finding import Doubt, Place
from ...core.records.metrics import METRICS
from ..comparison.labels import whole_bits
from ..comparison.observations import Cell
from .printed import draft_tokens, printed_figure
from .subject import Subject, by_model, rounds_of, word_of

_CLEAR = 1.1
_WITHIN_ONE = "the hosts make the difference; compare within one"


def reversed_by_hosts(subject: Subject) -> Iterator[Doubt]:
    """Two backends whose order over all hosts is the reverse of that on a host that ran both."""
    for cells in by_model(subject.finished):
        timed = [cell for cell in cells if _host(cell) is not None and cell.values(subject.metric)]
        backends = sorted({cell.run["backend"] for cell in timed})
        for a, b in itertools.combinations(backends, 2):
            sides = [cell for cell in timed if cell.run["backend"] in (a, b)]
            seen = set()
            for word, alike in _formats(sides).items():
                for host in sorted({str(_host(cell)) for cell in alike}):
                    found = _reversal(subject, (a, b), alike, host)
                    rows = frozenset(cell.cell_id for cell in alike)
                    if found and (host, rows) not in seen:  # formats of one word may have the same bits, too
                        seen.add((host, rows))
                        yield Doubt(f"{a} against {b} at {word}: {found[0]}", _WITHIN_ONE, found[1], "error")


def _formats(cells: list[Cell]) -> dict[str, list[Cell]]:
    """Group cells by the word that they were asked for with, and by the bits of their weights."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(word_of(cell), []).append(cell)
        if (bits := whole_bits(cell)) is not None:
            groups.setdefault(f"{bits} bits", []).append(cell)
    return groups


def _reversal(
    subject: Subject, backends: tuple[str, str], cells: list[Cell], host: str
) -> tuple[str, list[Place]] | None:
    """Say how two backends stand over all hosts and on one, with the rows of the latter, where the order turns."""
    here = [[cell for cell in cells if cell.run["backend"] == x and _host(cell) == host] for x in backends]
    everywhere = [[cell for cell in cells if cell.run["backend"] == x] for x in backends]
    if not all(here) or here == everywhere:
        return None
    pooled, own = [_mean(subject, side) for side in everywhere], [_mean(subject, side) for side in here]
    if not (_is_clear(*pooled) and _is_clear(*own)) or (pooled[0] - pooled[1]) * (own[0] - own[1]) > 0:
        return None
    show = METRICS[subject.metric].format
    text = (
        f"{subject.metric} {show(pooled[0])} against {show(pooled[1])} over all hosts, but {show(own[0])} against "
        f"{show(own[1])} on {host}, where both ran"
    )
    return text, rounds_of(*here[0], *here[1])


def _is_clear(a: float, b: float) -> bool:
    """Whether two means lie further apart than machine noise moves them; one round has no interval."""
    return max(a, b) > _CLEAR * min(a, b)


def _host(cell: Cell) -> str | None:
    host: str | None = (cell.run["environment"] or {}).get("hostname")
    return host


def _mean(subject: Subject, cells: list[Cell]) -> float:
    return float(np.mean([value for cell in cells for value in cell.values(subject.metric)]))


def orders_by_machine(subject: Subject) -> Iterator[Doubt]:
    """Two backends, or two numbers of draft tokens, whose order changes between hosts or GPUs."""
    for cells in by_model(subject.finished):
        for alike in _formats(cells).values():
            sides: dict[str, dict[str, list[tuple[float, Cell]]]] = {}
            for cell in alike:
                figure, place = _figure(subject, cell), _machine(cell)
                if figure and place:
                    sides.setdefault(_side(cell), {}).setdefault(place, []).append((figure, cell))
            for a, b in itertools.combinations(sorted(sides), 2):
                yield from _turn(a, b, sides[a], sides[b])


def _turn(
    a: str, b: str, ours: dict[str, list[tuple[float, Cell]]], theirs: dict[str, list[tuple[float, Cell]]]
) -> Iterator[Doubt]:
    """Yield the machines between which an order turns most, if it clearly does."""
    ratios = sorted(
        (float(np.mean([x for x, _ in ours[place]]) / np.mean([x for x, _ in theirs[place]])), place)
        for place in ours.keys() & theirs.keys()
    )
    if len(ratios) > 1 and ratios[-1][0] > _CLEAR and ratios[0][0] < 1 / _CLEAR:
        (low, slow), (high, fast) = ratios[0], ratios[-1]
        yield Doubt(
            f"{a} is {high:.2f} times as fast as {b} on {fast}, but {low:.2f} times on {slow}",
            "a ranking on one machine does not carry over to another; state it per machine",
            rounds_of(*(cell for place in (slow, fast) for _, cell in (*ours[place], *theirs[place]))),
        )


def _figure(subject: Subject, cell: Cell) -> float | None:
    values = cell.values(subject.metric)
    return float(np.mean(values)) if values else printed_figure(cell.run)


def _machine(cell: Cell) -> str | None:
    """Return the host of a cell; its GPU where the host is not known."""
    return _host(cell) or ", ".join((cell.run["environment"] or {}).get("gpu") or ()) or None


def _side(cell: Cell) -> str:
    drafted = draft_tokens(cell.run)
    return f"{cell.run['backend']} with {drafted} draft tokens" if drafted else str(cell.run["backend"])
