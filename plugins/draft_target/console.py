"""A line per prompt, as a draft/target benchmark prints its progress."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.contract.generation import Step


def line(number: int, steps: Sequence[Step], seconds: float) -> str:
    """Word one generation.

    Args:
        number: of the prompt, from 1.
        steps: what it committed.
        seconds: from its start to its last step.
    """
    tokens = sum(len(step.token_ids) for step in steps)
    cycles = [step for step in steps if step.drafted is not None]
    drafted, accepted = (sum(getattr(step, name) or 0 for step in cycles) for name in ("drafted", "accepted"))
    rate = f"{100 * accepted / drafted:.1f} % ({accepted}/{drafted})" if drafted else "nothing drafted"
    speed = f"{tokens / seconds:.1f} tok/s" if seconds > 0 else "no time"
    counts = f"{tokens} tokens in {len(cycles)} verify cycles"
    return f"question {number}: {seconds:.2f} s, {speed}; acceptance {rate}; {counts}\n"
