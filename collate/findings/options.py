"""Options that were swept and changed nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from ...core.finding import Doubt
from ..labels import option_values
from ..observations import Cell
from ..statistics import t_interval
from .subject import Subject, rounds_of


def idle_options(subject: Subject) -> Iterator[Doubt]:
    """Swept options that changed neither outputs nor speed."""
    for a, b in itertools.combinations(subject.finished, 2):
        ours, theirs = option_values(a), option_values(b)
        changed = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
        same = all(a.run[key] == b.run[key] for key in ("backend", "model", "quantisation", "device"))
        if len(changed) == 1 and same and _same_outputs(a, b) and _same_speed(a, b, subject.metric):
            name = changed[0]
            yield Doubt(
                f"option {name!r} changed nothing between {ours.get(name)} and {theirs.get(name)} for "
                f"{a.run['backend']} {a.run['quantisation']}: same outputs, no difference in {subject.metric} shown",
                "does this backend read it, and does this task reach it?",
                rounds_of(a, b),
            )


def _same_outputs(a: Cell, b: Cell) -> bool:
    ours, theirs = a.rounds[0].answers(), b.rounds[0].answers()
    return (
        bool(ours)
        and ours.keys() == theirs.keys()
        and all(
            ours[key]["output_ids"] is not None and ours[key]["output_ids"] == theirs[key]["output_ids"] for key in ours
        )
    )


def _same_speed(a: Cell, b: Cell, metric: str) -> bool:
    theirs = {r.key: r.run[metric] for r in b.rounds}
    logs = [float(np.log(r.run[metric] / theirs[r.key])) for r in a.rounds if r.run[metric] and theirs.get(r.key)]
    interval = t_interval(logs)
    return interval.low is not None and interval.high is not None and interval.low <= 0 <= interval.high


OPTION_CHECKS = (idle_options,)
