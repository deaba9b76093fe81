"""When a machine counts as busy: one rule for whoever looks at it before, and whoever reads the records afterwards."""

from __future__ import annotations

_CPUS = 0.5  # one thread of an engine that shares its core half the time holds up all the others
_SHARE = 0.1  # of the cores, where there are few


def is_busy(other_cpus: float | None, cores: int | None) -> bool:
    """Say whether others disturb what is measured.

    Args:
        other_cpus: CPUs that other processes keep busy; None: unknown.
        cores: that may be used; None: unknown.
    """
    return other_cpus is not None and other_cpus > min(_CPUS, _SHARE * (cores or 1))
