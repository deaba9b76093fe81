"""The same backend and format on one device and host beside another."""

from __future__ import annotations

from collections.abc import Sequence

from ...collate.statistics.intervals import scale_mean
from ...core.contract.figure import Figure, Panels, Row
from ...core.errors import UsageError
from ..drawing import style
from ..drawing.intervals import interval
from ..drawing.numbers import digits
from ..drawing.scales import scale_values, spans_a_decade
from ..drawing.series import CELL_COLUMNS, SPEED_COLUMNS, cells, looks, means_note, speed_label, speed_note, speed_of

SQL = f"""
SELECT {CELL_COLUMNS}, r.round, r.environment->'gpu'->>0 AS gpu, {SPEED_COLUMNS}
FROM runs r JOIN run_metrics m ON m.run_id = r.run_id
WHERE r.experiment = $experiment AND r.status = 'ok'
ORDER BY r.started_at, r.cell_id, r.round
"""


def draw(axes: Panels, rows: Sequence[Row]) -> None:
    """Draw a bar per backend, format and place, bars of one backend and format beside each other.

    Raises:
        UsageError: everything ran in one place.
    """
    (ax,) = style.panels(axes)
    # cells that differ in the device alone are one here, split by place below
    found = cells([row | {"device": "", "cell_id": _apart_from_device(row), "place": place_of(row)} for row in rows])
    speed = speed_of(found)
    known = [(cell, row) for cell in found for row in cell.rows if row[speed.name] is not None]
    places = list(dict.fromkeys(row["place"] for _, row in known))
    if len(places) < 2:
        raise UsageError(
            f"every round ran on {places[0]}; measure or import some of a second device or host", code="data-missing"
        )
    rounds: dict[tuple[str, str], list[float]] = {}
    for cell, row in sorted(
        known, key=lambda pair: (pair[0].backend, found.index(pair[0]), places.index(pair[1]["place"]))
    ):
        rounds.setdefault((cell.cell_id, row["place"]), []).append(row[speed.name])
    everything = [value for speeds in rounds.values() for value in speeds]
    is_logarithmic = spans_a_decade(everything)
    by_id = {cell.cell_id: cell for cell in found}
    look = looks(found)
    names = [f"{by_id[cell_id].name}: {place}" for cell_id, place in rounds]
    for ((cell_id, _), speeds), y in zip(rounds.items(), style.name_rows(ax, names), strict=True):
        own, mean = look[by_id[cell_id].series], scale_mean(speeds)
        if is_logarithmic:
            ax.plot([mean.value or 0.0], [y], own.marker, color=own.colour)
        else:
            ax.barh(y, mean.value or 0.0, height=0.7, color=own.colour, hatch=own.hatch or None, linewidth=0)
        interval(ax, y, (mean.low, mean.high), along="x", colour=own.colour if is_logarithmic else style.INK)
        end = min(max(mean.value or 0.0, mean.high or 0.0), 1.1 * max(everything))
        ax.annotate(f"{digits(mean.value or 0.0)}, n={mean.n}", (end, y), (4, 0), textcoords="offset points",
                    va="center", fontsize=style.SMALL)  # fmt: skip
    scale_values(ax, "x", everything)
    style.note(
        ax,
        f"{'Point' if is_logarithmic else 'Bar'}: {means_note(map(len, rounds.values()))}. {speed_note(speed)}",
        label=speed_label(speed),
    )


def place_of(row: Row) -> str:
    """Return device and host of a round, the GPU by its name."""
    device = str(row["device"])
    named = f"{device} ({row['gpu']})" if row.get("gpu") and not device.startswith("cpu") else device
    return f"{named} on {row['hostname']}" if row.get("hostname") else named


def _apart_from_device(row: Row) -> str:
    return "\n".join(str(row[name]) for name in ("backend", "model", "quantisation", "options"))


FIGURE = Figure(id="device_comparison", title="Throughput by device and host", sql=SQL, draw=draw, topic="devices")
