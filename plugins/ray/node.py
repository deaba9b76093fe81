"""What runs on a node: one worker of decodebench, heard batch by batch. Ray makes an actor of it."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from threading import Thread

from ... import environment_here, run_here
from ...core.contract.launcher import Launch, Line, Outcome
from ...core.records.schema import Environment


@dataclass(frozen=True, slots=True)
class ActorNode:
    """Where an actor runs.

    Attributes:
        node: its id within Ray.
        version: of decodebench there.
    """

    node: str
    version: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker sent until it waits, or ended.

    Attributes:
        lines: in order.
        outcome: how it ended; None where it waits.
        engine_text: what the engine printed, once it has ended.
        error: why it could not be run at all.
    """

    lines: list[Line]
    outcome: Outcome | None = None
    engine_text: bytes = b""
    error: str | None = None


class NodeWorker:
    """Runs a worker on its node; it dies with this process, since its keeper's lifeline closes then."""

    def __init__(self) -> None:
        self._batches: Queue[Batch] = Queue()
        self._go_on: Queue[None] = Queue()
        self._lines: list[Line] = []
        self._thread: Thread | None = None

    def place(self) -> ActorNode:
        """Say where it is."""
        import ray

        return ActorNode(ray.get_runtime_context().get_node_id(), version("decodebench"))

    def environment(self) -> Environment:
        """Describe the machine."""
        return environment_here()

    def prepare(self, launch: Launch) -> Outcome:
        """Make a model ready on this node, as was done on another one before."""
        return run_here(dataclasses.replace(launch, engine_text=None), lambda _: None)

    def start(self, launch: Launch) -> None:
        """Start the worker; ``proceed`` says what it sends."""
        self._thread = Thread(target=self._run, args=(launch,), daemon=True)
        self._thread.start()

    def proceed(self) -> Batch:
        """Let the worker go on, and return what it sent when it waits or has ended."""
        self._go_on.put(None)
        return self._batches.get()

    def _run(self, launch: Launch) -> None:
        self._go_on.get()
        with tempfile.TemporaryDirectory(prefix="decodebench-") as folder:
            text = Path(folder, "engine.txt")
            try:
                outcome = run_here(dataclasses.replace(launch, engine_text=text), self._lines.append, self._hand_over)
            except OSError as error:  # of this machine: no process, no file
                outcome = Outcome("failed", f"no worker can be run on its node: {error}")
            printed = text.read_bytes() if text.is_file() else b""
        self._batches.put(Batch(self._taken(), outcome, printed))

    def _hand_over(self) -> None:
        self._batches.put(Batch(self._taken()))
        self._go_on.get()

    def _taken(self) -> list[Line]:
        taken = self._lines.copy()
        self._lines.clear()
        return taken
