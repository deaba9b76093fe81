"""What a backend that batches continuously is handed: requests that arrive while others run."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .generation import Request


class RequestSource(ABC):
    """Where ``Backend.stream`` gets its requests.

    The loop of an in-process backend, in which running rows never pause::

        while rows or not source.ended:
            if not rows:
                source.wait()
            while len(rows) < max_in_flight and (request := source.poll()) is not None:
                rows[request.row] = admit(request)
            yield from advance(rows)

    A client of a server polls in the same way, and sleeps for at most ``until_due_s()`` while it waits for chunks. All
    calls come from the iterator that ``stream`` returned, between two of its steps: no other thread may call.
    """

    @abstractmethod
    def poll(self) -> Request | None:
        """Return a request that is due, or None; never blocks.

        The request counts as sent from now on, and as admitted where the engine runs in process: call only if it
        can start at once.
        """

    @abstractmethod
    def wait(self) -> None:
        """Return once a request is due, or none will come. Blocks: call it only while no row runs."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether ``poll`` will never return another request."""

    @abstractmethod
    def until_due_s(self) -> float | None:
        """Return the seconds until ``poll`` returns a request, 0 for now; None: not before a running row ends."""

    @abstractmethod
    def wants(self, row: int) -> bool:
        """Return whether more of a row is wanted; False once a stop string was met in its text.

        Steps of a row that is not wanted are ignored. End it as soon as possible, without another step.
        """
