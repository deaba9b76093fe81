"""A comparison for Python: its fields, as a data frame, as a notebook shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...collate.comparison import result
from ...viz.drawing.numbers import with_interval
from ...viz.terminal.answer import accuracy_text, parity_text, ratio_text, sort_rows
from ...viz.terminal.captions import about_intervals, headline
from ..records.metrics import METRICS
from .table import Table, Tabular, html_table

if TYPE_CHECKING:
    from ...collate.comparison.result import ComparisonRow, Estimate

_STYLE = {"faster": "good", "slower": "bad", "identical": "good", "ties only": "good", "differs": "bad"}


class Comparison(Tabular, result.Comparison):
    """The cells of an experiment against a baseline, one row per cell, with warnings and findings."""

    @classmethod
    def of(cls, found: result.Comparison) -> Comparison:
        """Return a comparison with what Python adds to it."""
        return cls.model_construct(**dict(found))

    def table(self) -> Table:
        """Return a row per cell: its settings, every metric, ratio, parity and accuracy.

        Values are in the units of ``METRICS`` (docs/metrics.md). An estimate takes three columns: ``NAME``,
        ``NAME_low`` and ``NAME_high``, the ends of its 95 % interval, None where the logs support none.
        """
        names = [name for name in METRICS if name != "accuracy" and any(name in row.metrics for row in self.rows)]
        rows = [_flat(row, names) for row in self.rows]
        return Table(list(rows[0]), [list(row.values()) for row in rows])

    def _repr_html_(self) -> str:
        metric = METRICS[self.metric]
        rows = sort_rows(self)
        shown = [_shown(row, self) for row in rows]
        verdicts = [(_STYLE.get(row.verdict, ""), _STYLE.get(row.parity.verdict, "")) for row in rows]
        return html_table(
            ["cell", f"{metric.label}\n{metric.unit}", "ratio", "verdict", "same text", "accuracy", "rounds"],
            shown,
            title=f"{self.experiment}: {headline(self)}",
            notes=list(about_intervals(self))
            + [f"warning: {text}" for text in self.warnings]
            + [found.line for found in self.findings],
            styles=[["", "", "", *words, "", ""] for words in verdicts],
        )


def _flat(row: ComparisonRow, metrics: list[str]) -> dict[str, Any]:
    none = result.Estimate(value=None)
    cell, accuracy = row.cell, row.accuracy
    return {
        "cell": cell.label,
        "baseline": row.baseline,
        **{name: getattr(cell, name) for name in ("cell_id", "backend", "model", "quantisation", "device")},
        "bits_per_weight": cell.bits_per_weight,
        "rounds": row.rounds,
        "failed": row.failed,
        "samples": row.n,
        "verdict": row.verdict,
        "p_value": row.p_value,
        **_ends("ratio", row.ratio),
        "ratio_simultaneous_low": row.ratio_simultaneous.low,
        "ratio_simultaneous_high": row.ratio_simultaneous.high,
        "rounds_needed": row.rounds_needed,
        **_ends("ratio_geomean", row.ratio_geomean),
        **_ends("ratio_median", row.ratio_median),
        "parity": row.parity.verdict,
        "identical": row.parity.identical,
        "compared": row.parity.compared,
        **_ends("accuracy", accuracy.value if accuracy else none),
        **_ends("accuracy_difference", (accuracy.difference if accuracy else None) or none),
        **{key: value for name in metrics for key, value in _ends(name, row.metrics.get(name, none)).items()},
    }


def _ends(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _shown(row: ComparisonRow, comparison: result.Comparison) -> list[str]:
    metric = comparison.metric
    value = with_interval(row.metrics[metric], METRICS[metric].unit) if metric in row.metrics else ("n/a", "")
    return [
        row.cell.label,
        " ".join(value).strip(),
        ratio_text(row, comparison.comparisons),
        f"{row.verdict}, {row.failed} failed" if row.failed else row.verdict,
        parity_text(row.parity),
        accuracy_text(row),
        str(row.rounds),
    ]
