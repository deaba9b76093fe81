"""Who verifies: a target in this process, or one behind a connection."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from ...core.contract.generation import Request
from .models import CausalModel
from .proposal import Proposal, Verdict
from .rules import Rule
from .target_session import TargetSession

Answer = Callable[[], Verdict]
"""Waits for a verdict."""


class Verifier(ABC):
    """The target as the decoding loop sees it; one generation at a time."""

    @abstractmethod
    def begin(self, request: Request) -> None:
        """Start a generation; its prompt counts as committed."""

    def fill(self, count: int) -> None:
        """Evaluate the first ``count`` ids of the prompt and wait for the device.

        Raises:
            NotImplementedError: this verifier cannot before it is asked for a verdict.
        """
        raise NotImplementedError

    @abstractmethod
    def submit(self, proposal: Proposal) -> Answer:
        """Ask for a verdict on what follows the committed tokens.

        The answer commits what it holds. Calling it raises ``SampleError`` where the verifier cannot be reached.
        """

    @abstractmethod
    def end(self) -> None:
        """End the generation, whether or not an answer is outstanding."""

    def close(self) -> None:  # noqa: B027 - nothing to close is a valid answer
        """Give everything back."""


class EmbeddedVerifier(Verifier):
    """A target in this process.

    Args:
        model: the target.
        rule: accepts drafts.
        is_concurrent: verify in a thread of its own, so that something can be drafted meanwhile.
        turn: makes what is held while the model is used, where others use it too.
    """

    def __init__(
        self,
        model: CausalModel,
        rule: Callable[[float], Rule],
        *,
        is_concurrent: bool,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._model, self._rule_for, self._turn = model, rule, turn
        self._executor = ThreadPoolExecutor(1, "verifier") if is_concurrent else None
        self._session: TargetSession | None = None

    def begin(self, request: Request) -> None:
        """Open a session with room for everything."""
        self._request, self._rule = request, self._rule_for(request.temperature)
        with self._turn():
            self._session = TargetSession(self._model, len(request.prompt_ids) + request.max_new_tokens)
        self._session.extend(0, request.prompt_ids)

    def fill(self, count: int) -> None:
        """Evaluate them in this thread: nothing is drafted meanwhile."""
        assert self._session is not None, "begin comes first"
        with self._turn():
            self._session.fill(count)

    def submit(self, proposal: Proposal) -> Answer:
        """Verify when the answer is asked for, or at once in the other thread."""
        session = self._session
        assert session is not None, "begin comes first"

        def verify() -> Verdict:
            with self._turn():
                began = time.perf_counter()
                judgement = session.verify(proposal, self._rule, self._request)
                return Verdict(judgement, time.perf_counter() - began)

        return verify if self._executor is None else self._executor.submit(verify).result

    def end(self) -> None:
        """Close the session once the last verification is over."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._executor is not None:
            self._executor.submit(session.close).result()
        else:
            session.close()

    def close(self) -> None:
        """End the thread."""
        if self._executor is not None:
            self._executor.shutdown()
