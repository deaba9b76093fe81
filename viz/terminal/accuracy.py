"""Accuracy in figures, as ``compare`` says it: each problem once, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.intervals import Interval
from ...core.contract.figure import Row
from ..drawing.numbers import counted


def accuracy_of(row: Row) -> Interval:
    """Return the accuracy of a row's cell in per cent; no value where it was not scored."""
    value, low, high = (
        None if row.get(name) is None else 100 * float(row[name])
        for name in ("accuracy", "accuracy_low", "accuracy_high")
    )
    return Interval(value, low, high, row.get("problems") or 0)


def accuracy_note(rows: Sequence[Row]) -> str:
    """Say which task was scored, on how many problems, and what the whisker is; or that none was."""
    scored = [row for row in rows if row.get("accuracy") is not None]
    if not scored:
        return "No accuracy: the experiment ran no task with right answers."
    tasks = ", ".join(sorted({str(row["accuracy_task"]) for row in scored}))
    problems = sorted({int(row["problems"]) for row in scored if row["problems"]})
    if not problems:
        return f"Accuracy: {tasks}; the logs have no number of problems, hence no interval."
    span = " to ".join([f"{n:,}" for n in {*problems[:-1][:1]}] + [counted(problems[-1], "problem")])
    has_interval = any(row["accuracy_low"] is not None for row in scored)
    whisker = "95 % Wilson interval" if has_interval else "of totals, which support no interval"
    return f"Accuracy: {tasks}, n = {span}, each counted once; {whisker}."
