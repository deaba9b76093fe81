"""What figures of engines under load share: a curve per engine over requests in flight, or over their rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...collate.load.break_even import Crossing, standing
from ...collate.load.curves import AXES, THROUGHPUT
from ...collate.load.knee import knee_of
from ...collate.statistics.intervals import Interval, scale_mean
from ...core.contract.figure import Row
from ...core.errors import UsageError
from ...core.records.cell_names import CellTraits, name_cells
from .series import CELL_COLUMNS, Cell, Look, looks

LOADS_SQL = f"""
SELECT {CELL_COLUMNS}, r.round, m.{THROUGHPUT}, m.tpot_mean_s, m.ttft_s, m.ttft_p99_s, m.e2e_s,
    TRY_CAST(r.options->>'concurrency' AS DOUBLE) AS concurrency,
    TRY_CAST(r.options->>'request_rate' AS DOUBLE) AS request_rate
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok' AND m.{THROUGHPUT} > 0
    AND isfinite(coalesce(concurrency, request_rate))
ORDER BY r.cell_id, r.round
"""
NEEDS = "finished rounds with --concurrency or --request-rate"
AXIS_LABELS = {"concurrency": "requests in flight", "request_rate": "requests per second"}


@dataclass(frozen=True, slots=True)
class Curve:
    """One engine at every load.

    Attributes:
        name: what it is called without the load.
        look: how it is drawn.
        points: its rounds by rising load.
    """

    name: str
    look: Look
    points: Mapping[float, Sequence[Row]]

    def figure(self, column: str, scale: float = 1.0) -> dict[float, Interval]:
        """Return a figure by load, where it is known: mean over rounds with its interval."""
        values = {load: [row[column] * scale for row in rows if row[column]] for load, rows in self.points.items()}
        return {load: scale_mean(found) for load, found in values.items() if found}

    @property
    def is_baseline(self) -> bool:
        """Whether the comparison's baseline is one of its points."""
        return any(row.get("is_baseline") for rows in self.points.values() for row in rows)

    @property
    def rounds(self) -> dict[float, dict[object, float]]:
        """Throughput by load and round."""
        return {load: {row["round"]: row[THROUGHPUT] for row in rows} for load, rows in self.points.items()}

    @property
    def knee(self) -> float | None:
        """The last load at which throughput still rises by 10 % per doubling; None where it does at the highest."""
        speeds = {load: point.value or 0.0 for load, point in self.figure(THROUGHPUT).items()}
        return knee_of(list(speeds), list(speeds.values()))


def curves(rows: Sequence[Row]) -> tuple[str, list[Curve]]:
    """Return what the load is, and the curve of each engine.

    Raises:
        UsageError: nothing was measured at two loads.
    """
    counts = {axis: len({row[axis] for row in rows if row[axis] is not None}) for axis in AXES}
    axis = max(AXES, key=lambda name: counts[name])
    if counts[axis] < 2:
        raise UsageError(
            "the experiment has only one load; give --concurrency or --request-rate several values", code="data-missing"
        )
    chosen = [row for row in rows if row[axis] is not None]
    names = name_cells([CellTraits.of(row) for row in {row["cell_id"]: row for row in chosen}.values()], without=AXES)
    found: dict[str, dict[float, list[Row]]] = {}
    for row in sorted(chosen, key=lambda one: float(one[axis])):
        found.setdefault(names[row["cell_id"]].label, {}).setdefault(float(row[axis]), []).append(row)
    made = looks(_as_cell(name, points) for name, points in found.items())
    return axis, [Curve(name, made[name], points) for name, points in found.items()]


def break_evens(found: Sequence[Curve]) -> list[tuple[Curve, Crossing]]:
    """Return each place where a curve crosses that of the baseline, as a comparison has it."""
    base = next((curve for curve in found if curve.is_baseline), None)
    if base is None:
        return []
    stands = [(curve, standing(curve.rounds, base.rounds)) for curve in found if curve is not base]
    return [(curve, one) for curve, stand in stands if stand is not None for one in stand.crossings]


def _as_cell(name: str, points: Mapping[float, Sequence[Row]]) -> Cell:
    first = next(iter(points.values()))[0]
    return Cell(first["cell_id"], name, first["backend"], name, first["quantisation"], None, ())
