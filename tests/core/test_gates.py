"""The gates for continuous integration: what trips them, what does not, and what cannot be told."""

from __future__ import annotations

import pytest

from decodebench.collate.comparison.gates import Gates
from decodebench.collate.comparison.result import Accuracy, CellLabel, Comparison, ComparisonRow, Estimate, Parity


def comparison(ratio=(0.9, 0.88, 0.92), verdict="slower", parity="identical", difference: float | None = 0.0):
    accuracy = Accuracy(
        task="t 1",
        value=Estimate(value=0.5, low=0.4, high=0.6, n=50),
        difference=None if difference is None else Estimate(value=difference, low=-0.2, high=0.2, n=50),
    )
    cell = CellLabel(cell_id="b", label="b", backend="b", model="m", quantisation="q", weight_format="q", device="cpu")
    row = ComparisonRow(
        cell=cell,
        baseline="a",
        rounds=3,
        n=9,
        metrics={},
        ratio=Estimate(value=ratio[0], low=ratio[0], high=ratio[0], n=3),
        ratio_simultaneous=Estimate(value=ratio[0], low=ratio[1], high=ratio[2], n=3),
        ratio_geomean=Estimate(value=ratio[0], n=3),
        verdict=verdict,
        parity=Parity(verdict=parity, identical=8, compared=9),
        accuracy=accuracy,
    )
    first = row.model_copy(update={"cell": cell.model_copy(update={"label": "a"}), "verdict": "baseline"})
    return Comparison(
        experiment="e", baseline="a", by="backend", metric="decode_tokens_per_s", min_effect=0.02, rows=(first, row)
    )


@pytest.mark.parametrize(
    ("case", "trips"),
    [
        ({}, True),
        ({"ratio": (0.9, 0.8, 0.97)}, False),  # it may be slower by 3 % only: not shown
        ({"ratio": (1.2, 1.1, 1.3), "verdict": "faster"}, False),
        ({"ratio": (0.5, None, None), "verdict": "not tested"}, True),
        ({"ratio": (None, None, None), "verdict": "not comparable"}, True),
    ],
)
def test_speed_trips_only_where_it_is_sure_or_cannot_be_told(case, trips):
    lines = Gates(slower=0.05).tripped(comparison(**case))
    assert bool(lines) is trips
    assert all(line.startswith("b: ") for line in lines), "the baseline never trips its own gate"


@pytest.mark.parametrize(
    ("difference", "trips"), [(0.0, False), (-0.005, False), (0.56 - 0.57, True), (-0.02, True), (None, True)]
)
def test_accuracy_trips_on_a_measured_drop_or_when_there_is_none(difference, trips):
    assert bool(Gates(accuracy_drop=0.01).tripped(comparison(difference=difference))) is trips


@pytest.mark.parametrize(
    ("parity", "trips"), [("identical", False), ("ties only", False), ("differs", True), ("not comparable", True)]
)
def test_outputs_trip_unless_they_are_the_same_up_to_ties(parity, trips):
    assert bool(Gates(outputs_differ=True).tripped(comparison(parity=parity))) is trips


def test_without_a_gate_nothing_trips():
    assert Gates().tripped(comparison(parity="differs", difference=-0.5)) == []
