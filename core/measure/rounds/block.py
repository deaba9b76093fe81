"""A block: workers that are loaded together and go on one at a time, a batch each in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from ...contract.launcher import Outcome
from .conversation import Conversation
from .round_run import RoundRun
from .turn_order import turns

MOST_IDLE_USE = 0.01  # of a CPU, while another measures; what spins takes 0.09 and more
_LEAST_S = 0.02  # of CPU time that counts: a thread may take a millisecond to stop, and a batch be as short
_OUT_OF_MEMORY = "out of memory"


def measure_block(rounds: Sequence[RoundRun], timeout_s: float, seed: str, ends_at: float | None = None) -> None:
    """Measure rounds in turn, and say of each how it ended; nothing of one that was interrupted.

    Args:
        rounds: each with its job.
        timeout_s: of each, of the time that it goes on for.
        seed: of the order of turns.
        ends_at: time of ``time.monotonic`` at which all of them end; None: at none.

    Raises:
        KeyboardInterrupt, OSError: passed on after all workers were ended.
    """
    with ExitStack() as stack:
        workers = []
        for one in rounds:
            assert one.job is not None
            worker = Conversation(one.job, one.listener.take, timeout_s, one.engine_text, ends_at=ends_at)
            workers.append(stack.enter_context(worker))
        try:
            take_turns(workers, seed, lambda at: rounds[at].begins(timeout_s))
        finally:
            for one, worker in zip(rounds, workers, strict=True):
                one.wall_s, one.outcome = worker.active_s, _outcome(worker, one.now.cell.backend.name)
                one.figures["idle_cpus"] = idle_cpus(worker)


def _outcome(worker: Conversation, backend: str) -> Outcome | None:
    found, fault = worker.outcome, disturbance(worker, backend)
    if found is not None and found.status == "ok" and fault is not None:
        return replace(found, status="failed", reason=fault)
    if found is not None and found.status != "ok" and _OUT_OF_MEMORY in (found.reason or ""):
        others = "others were in memory with it: --interleave rounds measures one at a time"
        return replace(found, reason=f"{found.reason}; {others}")
    return found


def take_turns(workers: Sequence[Conversation], seed: str, on_turn: Callable[[int], object]) -> None:
    """Load workers one after another, then let each measure a batch in turn, until all have ended.

    While one goes on the others are stopped. Each worker's outcome is its own: one that fails leaves the block, and the
    others go on.

    Args:
        workers: none of them started; loaded in this order.
        seed: of the order of turns.
        on_turn: told whose turn it is.

    Raises:
        KeyboardInterrupt, OSError: passed on; the workers live until they are ended.
    """
    for at, worker in enumerate(workers):
        _turn(worker, at, on_turn)
    for order in turns(len(workers), seed):
        for at in order:
            if workers[at].outcome is None:
                _turn(workers[at], at, on_turn)
        if all(worker.outcome is not None for worker in workers):
            return


def _turn(worker: Conversation, at: int, on_turn: Callable[[int], object]) -> None:
    on_turn(at)
    if worker.proceed() is None:
        worker.pause()
    else:
        worker.end()


def idle_cpus(worker: Conversation) -> float | None:
    """Return the CPUs that a worker used on average while it was stopped; None where the system does not say."""
    family = worker.family
    if family is None or family.stopped_cpu_s is None or family.stopped_s == 0:
        return None
    return family.stopped_cpu_s / family.stopped_s


def disturbance(worker: Conversation, backend: str) -> str | None:
    """Say that a worker did not rest while others measured; None where it did, or nobody knows."""
    use, family = idle_cpus(worker), worker.family
    if use is None or use <= MOST_IDLE_USE or family is None or (family.stopped_cpu_s or 0.0) <= _LEAST_S:
        return None
    return (
        f"backend {backend!r} used {use:.1%} of a CPU while others measured, at most {MOST_IDLE_USE:.0%} may be: "
        "something of it runs outside its process; measure with --interleave rounds"
    )
