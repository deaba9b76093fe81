"""As ``ewma``, but only block sizes near an adaptive draft length compete."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import JsonValue

from ..options import DFlashOptions
from .ewma import EwmaScheduler, averaged
from .scheduler import Observation


class AdlEwmaScheduler(EwmaScheduler):
    """The adaptive length is the averaged drafted length, and ``adl_delta`` more while all of it is accepted."""

    name: ClassVar[str] = "adl_ewma"

    def __init__(self, options: DFlashOptions) -> None:
        super().__init__(options)
        self._rho, self._delta = options.adl_rho, options.adl_delta
        self._generated: float | None = None
        self._accepted: float | None = None

    def _learn_lengths(self, observation: Observation) -> None:
        self._generated = averaged(self._generated, observation.l_gen, self._rho)
        self._accepted = averaged(self._accepted, observation.tau, self._rho)

    @property
    def _target(self) -> int:
        """The adaptive length in tokens."""
        assert self._generated is not None and self._accepted is not None
        options = self._options
        more = self._delta if self._accepted >= self._generated else 0.0
        low, high = options.adl_k_min or self._sizes[0], options.adl_k_max or self.largest
        return min(max(math.ceil(self._generated + more), low), high)

    @property
    def _centre(self) -> int:
        """The block size nearest to the adaptive length, the larger one on ties."""
        return min(self._sizes, key=lambda size: (abs(size - self._target), -size))

    def _competitors(self, scored: Sequence[int]) -> Sequence[int]:
        near = [size for size in scored if abs(size - self._centre) <= self._options.adl_neighborhood]
        return near or scored

    def trace(self) -> Mapping[str, JsonValue]:
        """Return the lengths, too."""
        known = dict(super().trace())
        if self._generated is not None:
            known |= {"adl_lgen_hat": self._generated, "adl_lacc_hat": self._accepted}
            known |= {"adl_target_k": self._target, "adl_target_bs": self._centre}
        return known
