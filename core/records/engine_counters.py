"""What an engine counts by itself, beside the steps: typed where the host reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """An engine's counters of one batch. The host reads the fields; what is in ``own`` is for readers of the record.

    They are stored flat, as ``Sample.engine``: names in ``own`` must differ from the fields'.

    Attributes:
        peak_device_bytes: largest device memory since the counters were last asked for; the largest of a round is the
            round's ``peak_device_bytes``.
        speculation_rounds: verify cycles, for an engine that reports only their total.
        draft_tokens: tokens drafted in them.
        accepted_draft_tokens: how many of these were accepted.
        own: further figures under the engine's own names, with units (``engine_eval_s``).
    """

    peak_device_bytes: int | None = None
    speculation_rounds: int | None = None
    draft_tokens: int | None = None
    accepted_draft_tokens: int | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, figures: Mapping[str, float]) -> EngineCounters:
        """Return stored figures as counters.

        Raises:
            ValueError: a count is negative or no 64-bit integer; names it.
        """
        for name in _COUNTS & set(figures):
            if not 0 <= figures[name] < 2**63:
                raise ValueError(f"a counter {name} of {figures[name]:g}")
        counts = {name: int(figures[name]) for name in _COUNTS & set(figures)}
        return cls(**counts, own={name: value for name, value in figures.items() if name not in _COUNTS})

    def figures(self) -> dict[str, float]:
        """Return what is known by name, as it is stored."""
        known = {name: value for name in sorted(_COUNTS) if (value := getattr(self, name)) is not None}
        return {**self.own, **known}


def counter(name: str) -> str:
    """Return SQL for a counter of a row of ``samples``, NULL where it is not there.

    Raises:
        KeyError: there is no field of that name.
    """
    if name not in _COUNTS:
        raise KeyError(name)
    return f"(engine->>'{name}')::DOUBLE"


_COUNTS = frozenset(one.name for one in fields(EngineCounters)) - {"own"}
