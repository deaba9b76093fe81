"""Gates for continuous integration: what of a comparison fails a build."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .result import Comparison, ComparisonRow

_ROUNDING = 1e-9  # 57 of 100 right against 56 is a difference of 0.01, whatever the last bit says


@dataclass(frozen=True, slots=True)
class Gates:
    """Which gates there are.

    Attributes:
        slower: a cell fails when even the upper end of its ratio's simultaneous interval, off which the verdict is
            read, is below ``1 - slower``; None: no gate.
        accuracy_drop: a cell fails when the measured drop is at least this; None: no gate.
        outputs_differ: a cell fails when greedy outputs differ beyond numerical ties.
    """

    slower: float | None = None
    accuracy_drop: float | None = None
    outputs_differ: bool = False

    def tripped(self, comparison: Comparison) -> list[str]:
        """Return a line for every gate that tripped.

        What could not be compared trips a gate as well: a gate that cannot tell must not pass.
        """
        return [line for row in comparison.rows if row.verdict != "baseline" for line in self._of(row, comparison)]

    def _of(self, row: ComparisonRow, comparison: Comparison) -> Iterator[str]:
        name, ratio = row.cell.label, row.ratio_simultaneous
        if self.slower is not None and row.verdict == "not comparable":
            yield f"{name}: speed cannot be compared with {row.baseline}"
        elif self.slower is not None and row.verdict == "not tested":
            yield f"{name}: speed is not tested: one round has no interval"
        elif self.slower is not None and ratio.high is not None and ratio.high < 1 - self.slower:
            yield f"{name}: {comparison.metric} ratio {ratio.value:.3f}, at most {ratio.high:.3f}"
        if self.accuracy_drop is not None:
            difference = row.accuracy.difference.value if row.accuracy and row.accuracy.difference else None
            if difference is None:
                yield f"{name}: accuracy cannot be compared"
            elif -difference >= self.accuracy_drop - _ROUNDING:
                yield f"{name}: accuracy fell by {-100 * difference:.1f} points"
        if self.outputs_differ and row.parity.verdict in ("differs", "not comparable"):
            what = row.parity.reason or f"{row.parity.compared - row.parity.identical} of {row.parity.compared} differ"
            yield f"{name}: outputs: {what}"
