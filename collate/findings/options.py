"""Options that were swept and changed nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...core.contract.finding import Doubt
from ...core.records.cell_names import weight_format
from ..comparison.labels import option_values
from ..comparison.observations import Cell, Row
from ..load.curves import AXES
from ..statistics.intervals import means
from .subject import Subject, rounds_of


def inert_options(subject: Subject) -> Iterator[Doubt]:
    """Swept options that change neither outputs nor work nor, measurably, speed."""
    swept = list(_swept(subject.finished))
    work = _work(subject) if swept else {}
    for name, cells in swept:
        first, *others = cells
        if not all(_same_outputs(first, other) and _same_work(first, other, work) for other in others):
            continue
        apart = _differ_in_speed(cells, subject.metric)
        if apart:
            continue
        values = [option_values(cell)[name] for cell in cells]
        over = f"between {values[0]} and {values[1]}" if len(values) == 2 else f"over {', '.join(values)}"
        is_told = apart is not None
        speed = f"no difference in {subject.metric} shown" if is_told else _untold(cells, subject.metric)
        yield Doubt(
            f"option {name!r} changed nothing {over} for {_name(first)}: "
            f"same {_kind(first)}, {'same steps, ' if _has_steps(first, work) else ''}{speed}",
            "check that this backend reads it and this task uses it: a task that is scored by log-likelihood never "
            "reaches an option of the decoding loop",
            rounds_of(*cells),
            "warning" if is_told or not any(cell.values(subject.metric) for cell in cells) else "note",
        )


def _name(cell: Cell) -> str:
    return f"{cell.run['backend']} {weight_format(cell.run['quantisation'], option_values(cell))}"


def _swept(cells: list[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    """Yield each option with the cells that differ in it alone, one for each of its values."""
    names = sorted({name for cell in cells for name in option_values(cell)} - set(AXES))
    for name in names:
        groups: dict[str, dict[str, Cell]] = {}
        for cell in cells:
            options = option_values(cell)
            if name in options:
                value = options.pop(name)
                alike = [cell.run[key] for key in ("backend", "model", "quantisation", "device", "task")]
                groups.setdefault(repr((alike, sorted(options.items()))), {}).setdefault(value, cell)
        yield from ((name, list(group.values())) for group in groups.values() if len(group) > 1)


def _same_outputs(a: Cell, b: Cell) -> bool:
    ours, theirs = a.rounds[0].answers(), b.rounds[0].answers()
    return (
        bool(ours)
        and ours.keys() == theirs.keys()
        and all((said := _said(ours[key])) is not None and said == _said(theirs[key]) for key in ours)
    )


Work = tuple[Any, ...]
"""What a sample took: steps, tokens of the largest and the smallest, forwards, verify cycles, drafts, bytes read."""


def _work(subject: Subject) -> dict[tuple[str, int], Work]:
    """Return what was done for each measured sample, by run and index, as far as a log counts it."""
    rows = subject.store.query(
        "SELECT f.run_id, f.sample, f.steps, f.largest_step, f.smallest_step, f.decode_forwards, f.cycles, "
        "f.cycle_accepted, f.all_drafted, f.decode_bytes_read FROM sample_facts f JOIN runs r USING (run_id) "
        "WHERE r.experiment = ? AND NOT f.is_warmup",
        [subject.experiment],
    )[1]
    return {(run_id, sample): tuple(done) for run_id, sample, *done in rows}


def _same_work(a: Cell, b: Cell, work: Mapping[tuple[str, int], Work]) -> bool:
    """Whether two cells took the same steps with the same drafts and forwards, as far as their logs count them."""
    ours, theirs = a.rounds[0].answers(), b.rounds[0].answers()

    def done(sample: Row) -> Work | None:
        return work.get((sample["run_id"], sample["index"]))

    return all(done(ours[key]) == done(theirs[key]) for key in ours)


def _has_steps(cell: Cell, work: Mapping[tuple[str, int], Work]) -> bool:
    """Whether the log counts any work, as one of scored choices does not."""
    samples = cell.rounds[0].answers().values()
    return any(any(work.get((s["run_id"], s["index"]), ())) for s in samples)


def _said(sample: Row) -> list[int] | list[float] | None:
    """What identifies a sample's answer: its ids, or the log-probabilities of its choices."""
    said: list[int] | list[float] | None = sample["output_ids"] or sample["choice_logprobs"]
    return said


def _kind(cell: Cell) -> str:
    sample = next(iter(cell.rounds[0].answers().values()))
    return "outputs" if sample["output_ids"] else "log-probabilities of every choice"


def _differ_in_speed(cells: list[Cell], metric: str) -> bool | None:
    """Whether any two cells are shown to differ in speed; None where none are and some share fewer than two rounds."""
    keys = {key: at for at, key in enumerate(dict.fromkeys(r.key for cell in cells for r in cell.rounds))}
    logs = np.full((len(cells), len(keys)), np.nan)  # [cells, rounds]
    for row, cell in zip(logs, cells, strict=True):
        for r in cell.rounds:
            if r.run[metric]:
                row[keys[r.key]] = np.log(r.run[metric])
    is_told = True
    for at in range(len(cells) - 1):
        apart = logs[at + 1 :] - logs[at]  # all pairs of a cell at once: there are as many as cells squared
        present = ~np.isnan(apart)
        for rounds in np.unique(present, axis=0):
            pairs = apart[(present == rounds).all(axis=1)][:, rounds]
            if pairs.shape[1] < 2:
                is_told = False
                continue
            low, high = means(pairs).bounds()
            if bool(((low > 0) | (high < 0)).any()):
                return True
    return False if is_told else None


def _untold(cells: list[Cell], metric: str) -> str:
    if any(cell.values(metric) for cell in cells):
        return f"and with one round it is unknown whether {metric} differs"
    return f"and no log has {metric}"
