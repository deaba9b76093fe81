"""A figure of each cell over the experiments of a folder, in the order in which they were measured."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from ...core.errors import UsageError
from ...core.records.metrics import METRICS
from ...core.records.schema import Record
from ...core.records.store import Store
from ..statistics.intervals import scale_mean
from .accuracy import estimate
from .labels import labels
from .observations import Cell, Round, metric_of, usual_metric
from .result import Estimate

_JSON = ("options", "sampling", "environment", "conditions", "workload")
_SAME = ("hostname", "backend_version", "plugin_revision", "cpu_model")


class Point(Record):
    """One cell in one experiment."""

    experiment: str = Field(description="its name")
    started_at: str = Field(description="when its first round began, UTC, ISO 8601; empty where the logs do not say")
    value: Estimate = Field(description="mean over rounds, in the metric's unit")
    hostname: str | None = Field(description="of its first round")
    backend_version: str | None = Field(description="version of the engine")
    plugin_revision: str | None = Field(description="as in a run")
    changed: tuple[str, ...] = Field(description="what is not as in the point before: host, processor, engine, plugin")


class Series(Record):
    """One cell over time: the same weights, options and workload at each point."""

    cell: str = Field(description="its name")
    cell_id: str = Field(description="its hash")
    backend: str = Field(description="backend name")
    points: tuple[Point, ...] = Field(description="the oldest first")


class History(Record):
    """A metric over experiments.

    Experiments ran at different times, so what changed on the machine is in every difference between points: they show
    where to look, and a comparison in one run says whether it holds.
    """

    metric: str = Field(description="name in METRICS")
    unit: str = Field(description="of the values")
    series: tuple[Series, ...] = Field(description="cells that have the metric, the most points first")


def history(store: Store, metric: str | None = None) -> History:
    """Return a metric of every cell over the experiments that have it.

    Args:
        store: an open store.
        metric: a name in ``METRICS`` but accuracy; None: the usual one of what is there.

    Raises:
        UsageError: an unknown metric, accuracy, or no finished round has it.
    """
    runs = store.dicts(
        "SELECT * FROM run_metrics WHERE status = 'ok' ORDER BY started_at, experiment, cell_id, round, run_id"
    )
    for run in runs:
        run.update({name: json.loads(run[name]) for name in _JSON if run[name] is not None})
    places: dict[str, dict[str, list[dict[str, Any]]]] = {}
    cells = {run["cell_id"]: Cell(run["cell_id"], run, [], []) for run in reversed(runs)}
    name = metric or _usual(runs)
    if metric_of(name).name == "accuracy":
        raise UsageError(
            "accuracy is measured over problems, not rounds: `decodebench compare` gives it for each experiment",
            code="not-supported",
        )
    for run in runs:
        if run[name] is not None:
            places.setdefault(run["cell_id"], {}).setdefault(run["experiment"], []).append(run)
    if not places:
        raise UsageError(f"no finished round in {store.path} has metric {name!r}", code="no-results")
    names = labels([cells[cell_id] for cell_id in places])
    series = [
        Series(
            cell=names[cell_id].label,
            cell_id=cell_id,
            backend=cells[cell_id].run["backend"],
            points=_points(name, list(found.values())),
        )
        for cell_id, found in places.items()
    ]
    series.sort(key=lambda one: -len(one.points))
    return History(metric=name, unit=METRICS[name].unit, series=tuple(series))


def _usual(runs: list[dict[str, Any]]) -> str:
    """Return the metric that says how fast cells are, by the latest run of each."""
    latest = {run["cell_id"]: Cell(run["cell_id"], run, [Round((0, 0), run)], []) for run in runs}
    return usual_metric(latest.values())


def _points(metric: str, experiments: list[list[dict[str, Any]]]) -> tuple[Point, ...]:
    points = []
    before: dict[str, Any] | None = None
    for runs in experiments:
        first = runs[0]
        changed = () if before is None else tuple(key for key in _SAME if first[key] != before[key])
        about = {name: first[name] for name in ("experiment", "started_at", "hostname", "backend_version")}
        value = estimate(scale_mean([run[metric] for run in runs]))
        points.append(Point(**about, plugin_revision=first["plugin_revision"], value=value, changed=changed))
        before = first
    return tuple(points)
