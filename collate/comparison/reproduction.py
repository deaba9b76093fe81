"""Whether an experiment that was measured again gave the same: outputs by prompt, ratios by Welch's test."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...core.records.metrics import Metric
from ...core.records.schema import Record
from ...core.records.store import Store
from ..statistics.intervals import Interval, scale_mean, welch_interval
from ..statistics.multiplicity import holm
from .accuracy import estimate
from .labels import labels
from .observations import Cell, Parts, load_cells, load_parts, metric_of, paired_rounds, usual_metric
from .result import Estimate

Outputs = Literal["same", "differ", "not comparable"]
Ratio = Literal["not different", "different", "not tested", "baseline"]


class CellReproduction(Record):
    """One cell, measured twice."""

    cell: str = Field(description="its name")
    cell_id: str = Field(description="its hash")
    outputs: Outputs = Field(description="'same': every prompt's output is one that the first measurement gave, too")
    compared: int = Field(ge=0, description="prompts that both answered")
    differing: tuple[str, ...] = Field(description="prompts whose output the first measurement never gave")
    ratio: Ratio = Field(description="whether the ratio to the baseline changed; not tested below two rounds each")
    before: Estimate = Field(description="ratio to the baseline, then")
    after: Estimate = Field(description="ratio to the baseline, now")
    change: Estimate = Field(description="the second divided by the first, Welch's interval")
    p_value: float | None = Field(description="of a change of 1, before the number of cells is counted")


class Reproduction(Record):
    """Two measurements of the same cells."""

    experiment: str = Field(description="the first one")
    again: str = Field(description="the second one")
    metric: str = Field(description="whose ratios are compared")
    is_same_host: bool = Field(description="whether the same host measured both")
    cells: tuple[CellReproduction, ...] = Field(description="in the order of the plan, the baseline first")

    @property
    def is_reproduced(self) -> bool:
        """Whether no output and no ratio is known to differ."""
        return not any(cell.outputs == "differ" or cell.ratio == "different" for cell in self.cells)

    @property
    def is_tested(self) -> bool:
        """Whether anything was compared at all."""
        return any(cell.outputs != "not comparable" or cell.change.low is not None for cell in self.cells)


def reproduction(store: Store, experiment: str, again: str, *, is_same_host: bool) -> Reproduction:
    """Compare two experiments of the same cells.

    The rejections are those of Holm's procedure over all cells, so that many cells do not differ by chance.

    Args:
        store: holds both.
        experiment, again: their names.
        is_same_host: whether the same host measured both.
    """
    before, after = load_cells(store, experiment), {cell.cell_id: cell for cell in load_cells(store, again)}
    before = [cell for cell in before if cell.cell_id in after]
    name = usual_metric(before)
    metric, names = metric_of(name), labels(before)
    parts = [load_parts(store, one, metric) for one in (experiment, again)]
    base = before[0]
    logs = [
        (_logs(cell, base, metric, parts[0]), _logs(after[cell.cell_id], after[base.cell_id], metric, parts[1]))
        for cell in before
    ]
    changes = [
        Interval(None) if cell is base else welch_interval(b, a) for cell, (a, b) in zip(before, logs, strict=True)
    ]
    tested = [at for at, change in enumerate(changes) if change.p_value is not None]
    rejected = dict(zip(tested, holm([changes[at].p_value or 0.0 for at in tested]), strict=True))
    rows = []
    for at, cell in enumerate(before):
        outputs, compared, differing = _outputs(cell, after[cell.cell_id])
        verdict: Ratio = "different" if rejected.get(at) else "not different" if at in rejected else "not tested"
        first, second = (estimate(scale_mean(np.exp(one))) if cell is not base else _ONE for one in logs[at])
        rows.append(
            CellReproduction(
                cell=names[cell.cell_id].label,
                cell_id=cell.cell_id,
                outputs=outputs,
                compared=compared,
                differing=differing,
                ratio="baseline" if cell is base else verdict,
                before=first,
                after=second,
                change=estimate(changes[at].exp()),
                p_value=changes[at].p_value,
            )
        )
    return Reproduction(experiment=experiment, again=again, metric=name, is_same_host=is_same_host, cells=tuple(rows))


_ONE = Estimate(value=1.0)


def _logs(cell: Cell, base: Cell, metric: Metric, parts: dict[str, Parts]) -> list[float]:
    """Return the log of each round's ratio of totals, turned so that above 0 is better."""
    better, worse = (cell, base) if metric.higher_is_better else (base, cell)
    rounds = paired_rounds(better, worse, parts)
    usable = [one for one in rounds if min(one.numerator.sum(), one.base_numerator.sum()) > 0]
    return [float(one.log_ratios(np.arange(len(one.numerator)))) for one in usable]


def _outputs(before: Cell, after: Cell) -> tuple[Outputs, int, tuple[str, ...]]:
    """Compare the outputs of each prompt: one that any earlier round gave is the same."""
    known: dict[Any, set[Any]] = {}
    for one in before.rounds:
        for key, sample in one.answers().items():
            known.setdefault(key, set()).add(_output(sample))
    common: set[Any] = set()
    differing: dict[str, None] = {}
    for one in after.rounds:
        for key, sample in one.answers().items():
            output = _output(sample)
            if key in known and output is not None and known[key] != {None}:
                common.add(key)
                if output not in known[key]:
                    differing[key[0]] = None
    verdict: Outputs = "not comparable" if not common else "differ" if differing else "same"
    return verdict, len(common), tuple(differing)


def _output(sample: dict[str, Any]) -> Any:  # noqa: ANN401 - ids or text
    return tuple(sample["output_ids"]) if sample["output_ids"] is not None else sample["text"]
