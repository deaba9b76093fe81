"""What a run would take: each cell is loaded once and asked one batch, and nothing is recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...isolation.processes.messages import Line
from ..cells import Cell
from ..runner import Runner
from .time_left import duration


@dataclass(frozen=True, slots=True)
class RoundEstimate:
    """What one round of a cell takes.

    Attributes:
        cell: its label.
        round_s: if every sample is like the first; None where that failed.
        at_most_s: if every output is as long as is allowed.
        reason: why there is no estimate.
    """

    cell: str
    round_s: float | None = None
    at_most_s: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What all rounds of a matrix take.

    Attributes:
        cells: in the order of the matrix.
        rounds: of each, at most.
        timeout_s: after which a round is stopped.
    """

    cells: Sequence[RoundEstimate]
    rounds: int
    timeout_s: float

    @property
    def total_s(self) -> float:
        """All rounds of the cells that could be probed; one that is stopped takes the time-out."""
        return self.rounds * sum(min(self.timeout_s, one.round_s) for one in self.cells if one.round_s is not None)

    @property
    def at_most_s(self) -> float:
        """The same if every output is as long as is allowed."""
        return self.rounds * sum(min(self.timeout_s, one.at_most_s) for one in self.cells if one.at_most_s is not None)

    def warnings(self) -> Iterator[str]:
        """Name the cells whose rounds cannot end in time, or of which nothing is known."""
        for one in self.cells:
            if one.reason is not None:
                yield f"{one.cell}: no estimate: {one.reason}"
            elif one.round_s is not None and one.round_s > self.timeout_s:
                yield (
                    f"{one.cell}: a round takes about {duration(one.round_s)}, and is stopped after "
                    f"{duration(self.timeout_s)}: raise --timeout, or lower --samples"
                )


def estimate(runner: Runner) -> RunEstimate:
    """Probe every cell of a runner's matrix, one after another; models are prepared as for a run."""
    cells = [_probed(runner, cell) for cell in runner.matrix.cells]
    return RunEstimate(cells, runner.plan.most_rounds, runner.plan.timeout_s)


def _probed(runner: Runner, cell: Cell) -> RoundEstimate:
    label, prepared = runner.matrix.labels[cell.id], runner.prepared(cell)
    if prepared.reason is not None:
        return RoundEstimate(label, reason=prepared.reason)
    job = runner.measure_job(cell, "estimate")
    asked, size = job.prompts, job.workload.in_flight or job.workload.batch_size
    batch = tuple(prompt for prompt in asked if not prompt.is_warmup)[:size]
    lines: list[Line] = []
    runner.progress.probing(label)
    began = time.monotonic()
    outcome = runner.run_job(job.model_copy(update={"prompts": batch}), lines.append)
    wall_s = time.monotonic() - began
    samples = [line for line in lines if line["type"] == "sample" and line.get("status", "ok") == "ok"]
    if outcome.status != "ok" or not samples:
        return RoundEstimate(label, reason=outcome.reason or "no sample came")
    batches = math.ceil(len(asked) / size)
    batch_s = max(float(sample.get("batch_s") or sample["duration_s"]) for sample in samples)
    longest_s = max(_longest_s(sample, lines, job.workload.token_limit) for sample in samples)
    last_due_s = max((prompt.due_s or 0.0) for prompt in asked)  # of requests that come at a rate of their own
    return RoundEstimate(
        label,
        wall_s + max((batches - 1) * batch_s, last_due_s),
        wall_s - batch_s + max(batches * max(batch_s, longest_s), last_due_s + longest_s),
    )


def _longest_s(sample: dict[str, Any], lines: Iterable[Line], limit: int) -> float:
    """Return the time of a sample whose output is as long as allowed, at the rate of this one."""
    tokens, seconds = sample.get("output_tokens") or 0, float(sample["duration_s"])
    steps = [line for line in lines if line["type"] == "step" and line["sample"] == sample["index"]]
    if tokens < 2 or not steps:
        return seconds
    first = steps[0]
    decoded = tokens - int(first["tokens"])
    if decoded < 1:
        return seconds
    return seconds + (limit - tokens) * (seconds - float(first["t_s"])) / decoded
