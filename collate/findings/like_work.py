"""Checks over logs that have totals only: cells that did the same work must agree with one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from ...core.contract.finding import Doubt
from ..comparison.labels import option_values
from ..comparison.observations import Cell
from ..statistics.multiplicity import holm
from ..statistics.proportions import unpaired_difference
from .subject import Subject, grouped, rounds_of

_SLOW = 1.1  # a machine that takes a tenth longer for the same work is worth a word
_ALIKE, _SLOW_ALIKE = 0.02, 1.5  # tokens that differ by less than a fiftieth, and the ratio that is suspect then


def slow_hosts(subject: Subject) -> Iterator[Doubt]:
    """A cell that took longer than another for the same work, on another host."""
    slower: dict[str, tuple[float, Cell, Cell]] = {}
    for cells in _comparable(subject):
        timed = [cell for cell in cells if _totals(cell)["wall_s"] and _totals(cell)["output_tokens"] and _host(cell)]
        for cell, other in itertools.permutations(timed, 2):
            ratio = _seconds_per_token(cell) / _seconds_per_token(other)
            if _host(cell) != _host(other) and ratio > _slow(cell, other) and ratio > slower.get(cell.cell_id, (0,))[0]:
                slower[cell.cell_id] = ratio, cell, other
    for ratio, cell, other in sorted(slower.values(), key=lambda found: -found[0]):
        ours, theirs = (_totals(one)["output_tokens"] for one in (cell, other))
        tokens = f"the same {ours} tokens" if ours == theirs else f"as good as the same tokens ({ours}, {theirs})"
        yield Doubt(
            f"{subject.name(cell)} took {ratio:.2f} times as long as {subject.name(other)} for {tokens}, on "
            f"{_host(cell)} instead of {_host(other)}: possibly a slow host",
            f"measure both on one host before attributing this to {_and(_varied([cell, other])) or 'anything else'}",
            rounds_of(cell, other),
        )


def _slow(cell: Cell, other: Cell) -> float:
    """Return the ratio of times from which a host is suspect: what did not do exactly the same may differ itself."""
    ours, theirs = (_totals(one)["output_tokens"] for one in (cell, other))
    if ours == theirs:
        return _SLOW
    return _SLOW_ALIKE if abs(ours - theirs) < _ALIKE * max(ours, theirs) else math.inf


def one_accuracy(subject: Subject) -> Iterator[Doubt]:
    """Three or more configurations with the same accuracy to the last digit: the options did not reach the task."""
    for cells in _comparable(subject):
        values = {_totals(cell)["accuracy"] for cell in cells}
        texts = {_totals(cell)["output_tokens"] for cell in cells}
        options = _varied(cells)
        if len(cells) >= 3 and len(values) == len(texts) == 1 and None not in values and options:
            yield Doubt(
                f"{len(cells)} cells that differ in {_and(options)} have the same accuracy, "
                f"{100 * values.pop():.4f} %: the options changed nothing; a task that is scored by log-likelihood "
                "never reaches an option of the decoding loop",
                rows=rounds_of(*cells),
                severity="error",
            )


def accuracies_of_other_runs(subject: Subject) -> Iterator[Doubt]:
    """Cells with exactly the same number of tokens whose accuracies differ beyond chance."""
    tests = []
    for cells in _comparable(subject):
        scored = [cell for cell in cells if _totals(cell)["accuracy"] is not None and _totals(cell)["output_tokens"]]
        for twins in grouped(scored, lambda cell: _totals(cell)["output_tokens"]):
            worst, best = (choose(twins, key=lambda cell: _totals(cell)["accuracy"]) for choose in (min, max))
            found = unpaired_difference(_share(best), _share(worst)) if _share(best)[1] and _share(worst)[1] else None
            if found is not None and found.p_value is not None:
                tests.append((found.p_value, twins))
    for (_, twins), is_told in zip(tests, holm([p_value for p_value, _ in tests]), strict=True):
        if is_told:
            told = ", ".join(f"{_totals(cell)['accuracy']:g}" for cell in twins)
            options = _and(_varied(twins)) or "nothing"
            yield Doubt(
                f"{len(twins)} cells that differ in {options} made {_totals(twins[0])['output_tokens']} tokens each, "
                f"but have accuracies of {told}: the same texts cannot be right more or less often",
                "accuracies were read from another run's file; score the texts again",
                rounds_of(*twins),
                "error",
            )


def options_without_effect(subject: Subject) -> Iterator[Doubt]:
    """An option whose values differ in accuracy by less than a standard error, all else being equal."""
    for cells in _comparable(subject):
        scored = [cell for cell in cells if _totals(cell)["accuracy"] is not None and _share(cell)[1]]
        for name in _varied(scored):
            groups = [
                group
                for group in grouped(scored, lambda cell, name=name: _without(cell, name))  # type: ignore[misc]
                if len({option_values(cell).get(name) for cell in group}) > 1
            ]
            spans = [_span(group) for group in groups]
            if len(groups) > 1 and 0 < max(difference for difference, _ in spans) and all(d < e for d, e in spans):
                largest = 100 * max(difference for difference, _ in spans)
                yield Doubt(
                    f"option {name!r} shows no effect on accuracy: in {len(groups)} groups of cells that differ only "
                    f"in it, accuracy differs by at most {largest:.2f} points, less than a standard error",
                    rows=rounds_of(*itertools.chain.from_iterable(groups)),
                    severity="note",
                )


def _cells(subject: Subject) -> list[Cell]:
    return [cell for cell in subject.cells if cell.rounds and cell.run["totals"]]


def _totals(cell: Cell) -> dict[str, Any]:
    totals: dict[str, Any] = cell.run["totals"]
    return totals


def _comparable(subject: Subject) -> list[list[Cell]]:
    """Group the cells that answer one question: the same model and task in the same engine."""
    return grouped(_cells(subject), lambda cell: tuple(cell.run[key] for key in ("backend", "model", "task")))


def _without(cell: Cell, name: str) -> str:
    return repr(sorted((option, value) for option, value in option_values(cell).items() if option != name))


def _varied(cells: list[Cell]) -> list[str]:
    values = [option_values(cell) for cell in cells]
    names = sorted(set(itertools.chain.from_iterable(values)))
    return [name for name in names if len({one.get(name) for one in values}) > 1]


def _span(cells: list[Cell]) -> tuple[float, float]:
    """Return the largest difference of accuracy, and the standard error of a difference of two such shares."""
    shares = [_share(cell)[0] for cell in cells]
    problems = min(_share(cell)[1] for cell in cells)
    middle = sum(shares) / len(shares)
    return max(shares) - min(shares), math.sqrt(2 * middle * (1 - middle) / problems)


def _share(cell: Cell) -> tuple[float, int]:
    """Return a cell's accuracy and of how many answers at least it is; 0 where the log does not say.

    A limit holds for each part of a task that is a group, so it is the fewest.
    """
    totals = _totals(cell)
    return float(totals["accuracy"]), int(totals["samples"] or cell.run["samples"] or 0)


def _seconds_per_token(cell: Cell) -> float:
    return float(_totals(cell)["wall_s"]) / float(_totals(cell)["output_tokens"])


def _host(cell: Cell) -> str | None:
    host: str | None = (cell.run["environment"] or {}).get("hostname")
    return host


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
