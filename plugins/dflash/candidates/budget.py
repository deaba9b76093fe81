"""How many candidates a cycle gets."""

from __future__ import annotations

from ..options import DFlashOptions


class AdaptiveBudget:
    """Few candidates after a cycle that was accepted well, many after one that was not."""

    def __init__(self, options: DFlashOptions) -> None:
        self._options = options

    def budget(self, cycle: int, previous_ratio: float | None) -> int:
        """Return the number of candidates.

        Args:
            cycle: index of the cycle.
            previous_ratio: tau / block size of the cycle before; None for the first.
        """
        options = self._options
        if not options.adaptive_candidates:
            return options.max_candidates
        low, mid, high = options.adaptive_budgets
        wanted = high
        if not self._is_generous(cycle) and previous_ratio is not None:
            from_high, from_mid = options.adaptive_accept_thresholds
            wanted = low if previous_ratio >= from_high else mid if previous_ratio >= from_mid else high
        return max(1, min(wanted, options.max_candidates))

    def _is_generous(self, cycle: int) -> bool:
        """Whether this is a cycle of the warm-up or a probe."""
        interval = self._options.adaptive_probe_interval
        return cycle < self._options.adaptive_warmup_cycles or (interval > 0 and cycle > 0 and cycle % interval == 0)
