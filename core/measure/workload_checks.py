"""What a workload asks of every backend that is measured with it."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract.backend import Backend
from ..errors import UsageError
from ..records.workload import Workload


def idle_in_scoring(workload: Workload) -> Iterator[str]:
    """Say which settings of the workload are not at their default and have no effect where nothing is generated."""
    for name, value in workload.idle_in_scoring.items():
        shown = list(value) if isinstance(value, tuple) else value
        yield f"{name} = {shown!r} has no effect: task {workload.task!r} scores choices, nothing is generated"


def check_batch(backend: type[Backend], workload: Workload) -> None:
    """Refuse more rows than a backend takes, and sampling that it cannot do.

    Raises:
        UsageError: names the setting.
    """
    if workload.batch_size > backend.max_batch_size:
        raise UsageError(
            f"batch_size = {workload.batch_size}: backend {backend.name!r} takes at most {backend.max_batch_size}",
            code="not-supported",
        )
    if workload.temperature > 0 and "sampling" not in backend.supports:
        raise UsageError(
            f"temperature = {workload.temperature}: backend {backend.name!r} decodes greedily only",
            code="not-supported",
        )


def check_load(backend: type[Backend], workload: Workload) -> None:
    """Refuse requests that arrive while others run, or more of them at once, than a backend takes.

    Raises:
        UsageError: names the setting.
    """
    if workload.is_stream and "continuous" not in backend.supports:
        raise UsageError(
            f"{' and '.join(workload.loads()) or 'trace'}: backend {backend.name!r} has no continuous batching: "
            "it cannot start a request while others run",
            code="not-supported",
        )
    most = max(workload.concurrency, default=1)
    if most > backend.max_batch_size:
        raise UsageError(
            f"concurrency = {most}: backend {backend.name!r} takes at most {backend.max_batch_size}",
            code="not-supported",
        )
