"""What a process spends before it decodes at its steady pace."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.records.store import Store
from ..comparison.observations import Cell
from .figures import StartUp
from .observed import mean

Durations = dict[str, list[tuple[float, int]]]
"""Seconds and output tokens of every sample of a run, warm-up included, in order."""


def load_durations(store: Store, experiment: str) -> Durations:
    """Return the samples' durations and tokens of an experiment by run; samples without either are left out."""
    found: Durations = {}
    for run_id, duration_s, tokens in store.query(
        "SELECT s.run_id, s.duration_s, s.output_tokens FROM samples s JOIN runs r ON r.run_id = s.run_id "
        "WHERE r.experiment = ? AND r.status = 'ok' AND s.status = 'ok' AND s.duration_s IS NOT NULL "
        "AND s.output_tokens IS NOT NULL "
        'ORDER BY s.run_id, s."index"',
        [experiment],
    )[1]:
        found.setdefault(run_id, []).append((duration_s, tokens))
    return found


def start_up_of(cell: Cell, durations: Durations) -> StartUp | None:
    """Return the start-up costs of a cell; None where its logs tell none of them."""
    runs = [round.run for round in cell.rounds]
    import_s, load_s = (mean(run[name] for run in runs) for name in ("import_s", "load_s"))
    excess_s = mean(_excess(durations.get(run["run_id"], [])) for run in runs)
    known = [value for value in (import_s, load_s, excess_s) if value is not None]
    if not known:
        return None
    return StartUp(
        import_s=import_s,
        load_s=load_s,
        first_sample_excess_s=excess_s,
        total_s=sum(known) if len(known) == 3 else None,
    )


def _excess(durations: Sequence[tuple[float, int]]) -> float | None:
    """Time of the first sample beyond what its tokens take at the pace of the others."""
    if len(durations) < 2:
        return None
    (first_s, first_tokens), others = durations[0], durations[1:]
    tokens = sum(count for _, count in others)
    return first_s - first_tokens * sum(seconds for seconds, _ in others) / tokens if tokens else None
