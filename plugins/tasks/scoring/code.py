"""Scoring by running: answers and their tests, each pair shut in a sandbox, several at once."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from .... import DecodebenchError
from ....core.contract.task import Score
from ..sandbox import LIMITS, Checks, Limits, Outcome, Sandbox

_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.I)
_AHEAD = 2  # programs that wait for each that runs, so that no answer is held longer than needed


def code_blocks(text: str) -> list[str]:
    """Return the fenced blocks of a text, in order; one that is cut by the token limit counts."""
    return _BLOCK.findall(text)


def cut_at(text: str, markers: Iterable[str]) -> str:
    """Return the text before the first of the markers."""
    ends = [at for at in map(text.find, markers) if at >= 0]
    return text[: min(ends, default=len(text))]


def score_programs(programs: Iterable[tuple[str, Checks]], limits: Limits = LIMITS) -> Iterator[Score]:
    """Run answers on all cores and yield their scores in order: 1 where answer and tests ran without an exception.

    Args:
        programs: answers with their tests, taken as they are needed.
        limits: for each.

    Raises:
        DecodebenchError: the sandbox cannot be started.
    """
    from ....core.sdk.cores import cores

    sandbox = Sandbox(limits)
    waiting: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(cores()) as pool:
        try:
            for answer, tests in programs:
                waiting.append(pool.submit(sandbox.run, answer, tests))
                if len(waiting) >= _AHEAD * cores():
                    yield _score(waiting.popleft())
            while waiting:
                yield _score(waiting.popleft())
        finally:  # Ctrl-C, or nobody wants the rest
            sandbox.stop()
            pool.shutdown(cancel_futures=True)


def _score(running: Future[Outcome]) -> Score:
    try:
        outcome = running.result()
    except OSError as error:
        raise DecodebenchError(f"the sandbox cannot be started: {error}", code="no-sandbox") from error
    return Score(float(outcome.is_ok), outcome.reason)
