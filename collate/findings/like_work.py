"""Checks over logs that have totals only: what must agree with itself, and cells that must agree with one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ...core.contract.finding import Doubt
from ..comparison.labels import option_values
from ..comparison.observations import Cell
from .subject import Subject, grouped, rounds_of

_SLOW = 1.1  # a machine that takes a tenth longer for the same work is worth a word
_MOST_PROBLEMS = 100_000
_TELLING = 0.25  # answers, by which an accuracy may be rounded and still be told from its neighbours


def inconsistent_totals(subject: Subject) -> Iterator[Doubt]:
    """A printed rate that is not tokens divided by time."""
    for cell in _cells(subject):
        totals = _totals(cell)
        tokens, wall, printed = (totals[name] for name in ("output_tokens", "wall_s", "tokens_per_s"))
        if None in (tokens, wall, printed):
            continue
        rounding = 0.005 + tokens / wall * 0.005 / wall  # both are printed with two decimals
        if abs(printed - tokens / wall) > rounding + 1e-9:
            yield Doubt(
                f"{subject.name(cell)}: {tokens} tokens in {wall:g} s are {tokens / wall:.2f} tokens/s, "
                f"the log says {printed:g}",
                "one of the three is wrong or of another run",
                rounds_of(cell),
                "error",
            )


def impossible_accuracies(subject: Subject) -> Iterator[Doubt]:
    """An accuracy that no count of right answers gives: it is of another run, or of partial points."""
    for cell in _cells(subject):
        share, samples = _totals(cell)["accuracy"], _totals(cell)["samples"]
        if share is None or not samples:
            continue
        digits = -int(Decimal(repr(share)).as_tuple().exponent)
        rounding = 0.5 * samples * 10.0**-digits
        if rounding < _TELLING and abs(share * samples - round(share * samples)) > rounding + 1e-6:
            yield Doubt(
                f"{subject.name(cell)}: an accuracy of {share:g} among {samples} samples would be "
                f"{share * samples:.2f} right answers",
                "it belongs to another run, or counts parts of answers",
                rounds_of(cell),
            )


def slow_hosts(subject: Subject) -> Iterator[Doubt]:
    """A cell that took longer than another for the very same work, on another host."""
    for cells in _comparable(subject):
        for twins in grouped(cells, lambda cell: (_totals(cell)["output_tokens"], _totals(cell)["accuracy"])):
            timed = [cell for cell in twins if _totals(cell)["wall_s"] and _totals(cell)["output_tokens"]]
            if len(timed) < 2:
                continue
            fastest = min(timed, key=lambda cell: float(_totals(cell)["wall_s"]))
            for cell in timed:
                ratio = _totals(cell)["wall_s"] / _totals(fastest)["wall_s"]
                slow, fast = ((one.run["environment"] or {}).get("hostname") for one in (cell, fastest))
                if ratio > _SLOW and slow and fast and slow != fast:
                    varied = _and(_varied([cell, fastest])) or "anything else"
                    yield Doubt(
                        f"{subject.name(cell)} took {ratio:.2f} times as long as {subject.name(fastest)} for the same "
                        f"{_totals(cell)['output_tokens']} tokens at the same accuracy, on {slow} instead of {fast}: "
                        "a slow host looks like this",
                        f"before {varied} is blamed, measure both on one",
                        rounds_of(cell, fastest),
                    )


def one_accuracy(subject: Subject) -> Iterator[Doubt]:
    """Three or more configurations with one accuracy to the last digit: the options did not reach the task."""
    for cells in _comparable(subject):
        values = {_totals(cell)["accuracy"] for cell in cells}
        texts = {_totals(cell)["output_tokens"] for cell in cells}
        options = _varied(cells)
        if len(cells) >= 3 and len(values) == len(texts) == 1 and None not in values and options:
            yield Doubt(
                f"{len(cells)} cells that differ in {_and(options)} have one and the same accuracy, "
                f"{100 * values.pop():.4f} %: the options changed nothing; a task that is scored by log-likelihood "
                "never reaches an option of the decoding loop",
                rows=rounds_of(*cells),
                severity="error",
            )


def options_without_effect(subject: Subject) -> Iterator[Doubt]:
    """An option whose values differ in accuracy by less than a standard error, wherever only it differs."""
    for cells in _comparable(subject):
        scored = [cell for cell in cells if _totals(cell)["accuracy"] is not None]
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
                    f"option {name!r} shows no effect on accuracy: in {len(groups)} groups of cells that differ in it "
                    f"alone accuracy differs by at most {largest:.2f} points, less than a standard error",
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
    shares = [float(_totals(cell)["accuracy"]) for cell in cells]
    problems = min(_totals(cell)["samples"] or _problems(share) for cell, share in zip(cells, shares, strict=True))
    middle = sum(shares) / len(shares)
    return max(shares) - min(shares), math.sqrt(2 * middle * (1 - middle) / problems)


def _problems(share: float) -> int:
    """Return the fewest problems of which a share with all its digits can be one."""
    return Fraction(share).limit_denominator(_MOST_PROBLEMS).denominator


def _and(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
