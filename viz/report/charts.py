"""What the page's charts draw: figures, rounds and latencies of every cell, small enough to stand in the page."""

from __future__ import annotations

from typing import Any

from ...collate.comparison.result import Comparison, ComparisonRow, Estimate
from ...collate.statistics.noise import supports_percentile
from ...core.records.metrics import METRICS
from ...core.records.store import Store
from ..drawing.series import CELL_COLUMNS, Look, cells, looks

PERCENTILES = (0.5, 0.9, 0.95, 0.99)
_LATENCIES = ("ttft_s", "tpot_s", "step_s")
_DIGITS = 6

_SHAPES = {
    "o": "circle", "s": "rect", "D": "rectRot", "^": "triangle", "v": "triangleDown", "P": "cross", "X": "crossRot",
}  # fmt: skip
"""The markers of the static figures by their names in the charting library."""


def chart_data(store: Store, comparison: Comparison) -> dict[str, Any]:
    """Return what the charts of the page show, as JSON can hold it.

    Keys: ``metric``, ``baseline``, ``minEffect``, ``metrics`` (name to label and unit, those that some cell has),
    ``latencies`` (likewise), ``percentiles`` and ``cells``, in the order of the comparison's rows. A figure with its
    interval is ``[value, low, high, n]``.
    """
    shown = _looks(store, comparison.experiment)
    rounds = _rounds(store, comparison)
    latencies = _latencies(store, comparison.experiment)
    ids = [row.cell.cell_id for row in comparison.rows]
    return {
        "metric": comparison.metric,
        "baseline": comparison.baseline,
        "minEffect": comparison.min_effect,
        "metrics": {name: _words(name) for name in _told(comparison)},
        "latencies": {kind: _words(kind) for kind in _LATENCIES if any(kind in latencies.get(i, {}) for i in ids)},
        "percentiles": PERCENTILES,
        "cells": [
            _cell(row, shown[row.cell.cell_id])
            | {"rounds": rounds.get(row.cell.cell_id, []), "latencies": latencies.get(row.cell.cell_id, {})}
            for row in comparison.rows
        ],
    }


def dimensions(row: ComparisonRow) -> dict[str, str]:
    """Return what a cell can be filtered by: the dimensions of every comparison, and the options that differ."""
    cell = row.cell
    fixed = {"backend": cell.backend, "model": cell.model, "quantisation": cell.weight_format, "device": cell.device}
    return fixed | cell.options


def _told(comparison: Comparison) -> list[str]:
    return [
        name
        for name in METRICS
        if any(row.metrics[name].value is not None for row in comparison.rows if name in row.metrics)
    ]


def _words(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    return {"label": metric.label, "unit": metric.unit, "better": metric.higher_is_better}


def _cell(row: ComparisonRow, look: Look) -> dict[str, Any]:
    accuracy = row.accuracy.value if row.accuracy else None
    return {
        "label": row.cell.label,
        "dimensions": dimensions(row),
        "colour": look.colour,
        "onDark": look.on_dark,
        "marker": _SHAPES[look.marker],
        "verdict": row.verdict,
        "ratio": _figure(row.ratio_simultaneous),
        "metrics": {name: _figure(value) for name, value in row.metrics.items() if value.value is not None},
        "accuracy": _figure(accuracy) if accuracy and accuracy.value is not None else None,
    }


def _figure(estimate: Estimate) -> list[float | None]:
    return [*(_short(end) for end in (estimate.value, estimate.low, estimate.high)), estimate.n]


def _short(value: float | None) -> float | None:
    """Round to digits enough for any chart: the page need not carry seventeen."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _looks(store: Store, experiment: str) -> dict[str, Look]:
    """Return the look of each cell, the same as in the static figures of this store."""
    backends = tuple(name for (name,) in store.query("SELECT DISTINCT backend FROM runs ORDER BY backend")[1])
    sql = f"SELECT DISTINCT {CELL_COLUMNS} FROM runs r WHERE r.experiment = ? ORDER BY ALL"
    found = cells([row | {"backends": backends} for row in store.dicts(sql, [experiment])])
    by_series = looks(found)
    return {cell.cell_id: by_series[cell.series] for cell in found}


def _rounds(store: Store, comparison: Comparison) -> dict[str, list[dict[str, Any]]]:
    """Return, by cell, each finished round with its start and every metric that it has."""
    names = _told(comparison)
    sql = f"""
        SELECT cell_id, round, started_at{"".join(f", {name}" for name in names)} FROM run_metrics
        WHERE experiment = ? AND status = 'ok' ORDER BY cell_id, round, started_at, run_id
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in store.dicts(sql, [comparison.experiment]):
        figures = {name: _short(row[name]) for name in names if row[name] is not None}
        one = {"round": row["round"], "at": row["started_at"], "metrics": figures}
        found.setdefault(row["cell_id"], []).append(one)
    return found


def _latencies(store: Store, experiment: str) -> dict[str, dict[str, Any]]:
    """Return, by cell and latency, how many there are, tokens per observation and the percentiles that they support.

    Time to first token and time per output token are of samples, time per step of every step after a sample's first.
    """
    measured = "r.experiment = $experiment AND r.status = 'ok' AND s.status = 'ok' AND NOT s.is_warmup"
    of_samples = " UNION ALL ".join(
        f"SELECT r.cell_id, '{name}' AS kind, s.{name} AS x, 1 AS tokens "
        f"FROM sample_metrics s JOIN runs r USING (run_id) WHERE {measured}"
        for name in ("ttft_s", "tpot_s")
    )
    sql = f"""
        WITH observed AS (
            {of_samples}
            UNION ALL
            SELECT r.cell_id, 'step_s', t.step_s, t.tokens FROM steps t
            JOIN sample_facts f ON f.run_id = t.run_id AND f.sample = t.sample JOIN runs r ON r.run_id = t.run_id
            WHERE r.experiment = $experiment AND r.status = 'ok' AND NOT f.is_warmup AND t."index" > 0
        )
        SELECT cell_id, kind, count(x) AS n, avg(tokens) AS tokens, quantile_cont(x, {list(PERCENTILES)}) AS quantiles
        FROM observed WHERE x IS NOT NULL GROUP BY cell_id, kind ORDER BY cell_id, kind
    """
    found: dict[str, dict[str, Any]] = {}
    for row in store.dicts(sql, {"experiment": experiment}):
        quantiles = zip(PERCENTILES, row["quantiles"], strict=True)
        supported = [_short(value) if supports_percentile(row["n"], q) else None for q, value in quantiles]
        one = {"n": row["n"], "tokens": _short(row["tokens"]), "quantiles": supported}
        found.setdefault(row["cell_id"], {})[row["kind"]] = one
    return found
