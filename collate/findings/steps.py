"""What the steps of a long generation show: a cold first one, a change of pace, a clock that is too coarse.

Only rounds of one or two samples are looked at step by step: where there are more, drift shows between samples, and
a scan of every step would make the comparison of a large store wait.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...core.contract.finding import Doubt, Place
from ..comparison.observations import Cell
from ..statistics.change_point import FEWEST, change_point
from .subject import Subject

_COLD = 1.5
_COARSE = 20  # steps that are fewer of the clock's ticks long have an error of more than 5 %
_SAMPLES = 2

Times = list[tuple[str, int, NDArray[np.float64]]]
"""Run, sample and seconds of each step."""


def cold_first_steps(subject: Subject) -> Iterator[Doubt]:
    """A slow first step that the log does not declare as prefill."""
    for cell, times in _step_times(subject):
        for run_id, sample, seconds in times:
            middle = float(np.median(seconds[1:]))
            if seconds[0] > _COLD * middle and not _has_prompt(cell, run_id):
                with_it, without = len(seconds) / seconds.sum(), (len(seconds) - 1) / seconds[1:].sum()
                yield Doubt(
                    f"{subject.name(cell)}: the first of {len(seconds)} steps takes {1e3 * seconds[0]:.2f} ms, "
                    f"{seconds[0] / middle:.1f} times the median of the others: a cold start or the prompt; "
                    f"{with_it:.2f} steps/s with it, {without:.2f} without",
                    "compare decode figures, which exclude it",
                    [Place(run_id=run_id, sample=sample, step=0)],
                )


def changes_of_pace(subject: Subject) -> Iterator[Doubt]:
    """A step after which a generation keeps running at another speed."""
    for cell, times in _step_times(subject):
        for run_id, sample, seconds in times:
            at = change_point(seconds[1:])
            if at is None:
                continue
            before, after = seconds[1 : 1 + at], seconds[1 + at :]
            yield Doubt(
                f"{subject.name(cell)}: the pace changes at step {1 + at} (from 0): {1e3 * np.median(before):.2f} ms "
                f"a step before, {1e3 * np.median(after):.2f} ms after, {len(after)} steps to the end",
                "a mean over both describes neither; check for throttling or another process, and measure longer",
                [Place(run_id=run_id, sample=sample, step=1 + at)],
            )


def coarse_clocks(subject: Subject) -> Iterator[Doubt]:
    """Steps only a few ticks of the clock long, or of the last digit that the log prints."""
    for cell, times in _step_times(subject):
        for run_id, sample, seconds in times:
            gaps = np.diff(np.unique(np.round(seconds, 9)))
            tick = float(gaps.min()) if len(gaps) else 0.0
            middle = float(np.median(seconds))
            if 0 < middle < _COARSE * tick:
                yield Doubt(
                    f"{subject.name(cell)}: a step takes {1e3 * middle:.3g} ms and the clock resolves "
                    f"{1e3 * tick:.3g} ms",
                    "figures of single steps are rounded; use those over all of them",
                    [Place(run_id=run_id, sample=sample)],
                    "note",
                )


def _step_times(subject: Subject) -> Iterator[tuple[Cell, Times]]:
    rows = subject.store.dicts(
        """
        WITH few AS (
            SELECT r.run_id FROM runs r JOIN samples s ON s.run_id = r.run_id
            WHERE r.experiment = $experiment AND r.status = 'ok' GROUP BY r.run_id HAVING count(*) <= $samples
        ) SELECT t.run_id, t.sample, list(t.step_s ORDER BY t."index") AS seconds
        FROM steps t JOIN samples s ON s.run_id = t.run_id AND s."index" = t.sample
        WHERE t.run_id IN (SELECT run_id FROM few) AND NOT s.is_warmup AND s.status = 'ok'
        GROUP BY ALL HAVING count(t.step_s) = count(*) AND count(*) >= $fewest ORDER BY ALL
        """,
        {"experiment": subject.experiment, "samples": _SAMPLES, "fewest": FEWEST},
    )
    by_run: dict[str, Times] = {}
    for row in rows:
        times = np.array(row["seconds"], dtype=float)
        by_run.setdefault(row["run_id"], []).append((row["run_id"], row["sample"], times))
    for cell in subject.finished:
        found = [each for r in cell.rounds for each in by_run.get(r.run["run_id"], ())]
        if found:
            yield cell, found


def _has_prompt(cell: Cell, run_id: str) -> bool:
    """Whether the log tells that the first step holds a prompt, which may take any time."""
    return any(s["prompt_tokens"] is not None for r in cell.rounds if r.run["run_id"] == run_id for s in r.samples)
