"""The launcher: each worker is an actor of a Ray cluster, on a node that has its device and its engine."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from threading import Lock
from typing import Any, ClassVar

from ... import Availability, Launch, Launcher, Outcome, Place, Requires, UsageError
from ...core.contract.launcher import Need, OnLine
from ...core.records.log_content import LineError
from ...core.records.schema import Environment
from .needs import best_host, missing, needed, on_host, places_of
from .node import ActorNode, Batch, NodeWorker
from .settings import read_settings

_LOOK_S = 1.0  # between two looks at the cluster while a worker waits for a node
_ANSWER_S = 10.0  # until a head that does not answer is given up
_END_S = 10.0  # until an actor that was killed is known to be gone


class RayLauncher(Launcher):
    """Runs workers on one host of a Ray cluster, or on all of it."""

    name: ClassVar[str] = "ray"
    summary: ClassVar[str] = "a node of a Ray cluster that has the device and the engine (docs/scaling.md)"

    def __init__(self) -> None:
        self._settings = read_settings()
        self._host: str | None = self._settings.host
        self._preparations: dict[str, Launch] = {}  # that went well, by job
        self._ready: dict[str, set[str]] = {}  # jobs of those, by node
        self._changing = Lock()  # of what is prepared where, and of the actors
        self._actors: list[Any] = []  # that run

    @classmethod
    def probe(cls) -> Availability:
        """Say whether Ray is installed."""
        return Requires(("ray",), "pip install 'decodebench[ray]'").availability()

    def choose(self, needs: Collection[Need]) -> None:
        """Connect, and choose the host that can run most of what is needed.

        Raises:
            UsageError: the cluster cannot be reached, or no host can run anything.
        """
        ray = self._connected()
        deadline = time.monotonic() + self.placement_timeout_s
        while self._host is None:
            self._host = best_host(needs, ray.nodes())
            if self._host is None and time.monotonic() > deadline:
                lacking = sorted({name for need in needs for name in missing(needed(need), ray.nodes())})
                raise UsageError(
                    f"no node of the Ray cluster has {' or '.join(lacking)}; start nodes with "
                    '`ray start --num-cpus 0 --resources "$(decodebench ray-resources)"`',
                    code="device-missing",
                )
            if self._host is None:
                time.sleep(_LOOK_S)

    def places(self, needs: Collection[Need]) -> Sequence[Place]:
        """Return the devices of all nodes."""
        return [place for node in self._connected().nodes() for place in places_of(needs, node, self._settings.host)]

    def describe(self, need: Need) -> str:
        """Name the resources."""
        return " and ".join(needed(need))

    def environment(self) -> Environment:
        """Ask the chosen host."""
        assert self._host is not None
        return self._environment(self._actor(on_host({}, self._host)), self._host)

    def environment_of(self, place: Place) -> Environment:
        """Ask the node of a place."""
        return self._environment(self._actor({}, place.id), place.host)

    def _environment(self, actor: Any, host: str) -> Environment:  # noqa: ANN401 - a handle of Ray's own making
        ray = self._connected()
        try:
            found: Environment = ray.get(actor.environment.remote(), timeout=self.placement_timeout_s)
        except ray.exceptions.RayError as error:
            raise UsageError(
                f"host {host} of the Ray cluster does not answer: {_first_line(error)}", code="no-answer"
            ) from error
        finally:
            self._end(actor)
        return found

    def stop(self) -> None:
        """Kill the actors; their workers end with them."""
        import ray

        with self._changing:
            for actor in self._actors:
                ray.kill(actor)

    def run(self, launch: Launch, on_line: OnLine) -> Outcome:
        """Run one worker at its place, or on a node of the chosen host; see ``Launcher.run``."""
        ray = self._connected()
        resources = needed(launch.need)
        if launch.place is None and self._host is not None:
            resources = on_host(resources, self._host)
        actor = self._actor(resources, None if launch.place is None else launch.place.id)
        try:
            place = self._placed(actor, resources)
            if isinstance(place, Outcome):
                return place
            failed = self._prepared(actor, place.node, launch)
            return failed or self._measured(actor, place.node, launch, on_line)
        except ray.exceptions.ActorUnschedulableError as error:
            return Outcome("crashed", f"its node was lost before it began: {_first_line(error)}", is_lost=True)
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                return Outcome("failed", f"no worker can be started on its node: {_last_line(error)}")
            return Outcome("crashed", f"its node or its Ray worker was lost: {_first_line(error)}", is_lost=True)
        except ray.exceptions.RayError as error:
            return Outcome("crashed", f"Ray: {_first_line(error)}")
        finally:
            self._end(actor)

    def _connected(self) -> Any:  # noqa: ANN401 - the module, which is imported only when it is used
        import ray

        if not ray.is_initialized():
            address = read_settings(self.address).address
            address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
            try:
                _answers(address)
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError) as error:
                raise UsageError(f"no Ray cluster at {address!r}: {_first_line(error)}", code="no-answer") from error
        return ray

    def _actor(self, resources: Mapping[str, float], node: str | None = None) -> Any:  # noqa: ANN401
        """Start an actor that takes resources, on one node where that is given."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        where = "DEFAULT" if node is None else NodeAffinitySchedulingStrategy(node, soft=False)
        chosen = {"num_cpus": 0, "max_restarts": 0, "resources": dict(resources), "scheduling_strategy": where}
        actor = ray.remote(NodeWorker).options(**chosen).remote()
        with self._changing:
            self._actors.append(actor)
        return actor

    def _placed(self, actor: Any, resources: Mapping[str, float]) -> ActorNode | Outcome:  # noqa: ANN401
        """Wait until the actor runs: as long as it takes where nodes are busy, not so long where none is fit."""
        import ray

        nodes: Callable[[], Sequence[Mapping[str, Any]]] = ray.nodes
        asked, limit_s = actor.place.remote(), self.placement_timeout_s
        deadline = time.monotonic() + limit_s
        while not ray.wait([asked], timeout=_LOOK_S)[0]:
            lacking = missing(resources, nodes())
            if not lacking:
                deadline = time.monotonic() + limit_s
            elif time.monotonic() > deadline:
                what, where = " and ".join(lacking), f" of host {self._host}" if self._host else ""
                words = f"no node{where} has {what}, and none came within {limit_s:g} s"
                return Outcome("failed", words, code="no-engine")
        place: ActorNode = ray.get(asked)
        if place.version != version("decodebench"):
            other = f"its node has decodebench {place.version}, and this is {version('decodebench')}"
            return Outcome("failed", f"{other}: install the same on both", code="version-mismatch")
        return place

    def _prepared(self, actor: Any, node: str, launch: Launch) -> Outcome | None:  # noqa: ANN401
        """Make the models ready that rounds of this need rely on, once per node; return what went wrong."""
        import ray

        with self._changing:
            ready = self._ready.setdefault(node, set())
        for job, preparation in self._preparations.items():
            if preparation.need == launch.need and job not in ready and not launch.is_preparation:
                outcome: Outcome = ray.get(actor.prepare.remote(preparation))
                if outcome.status != "ok":
                    return outcome
                ready.add(job)
        return None

    def _measured(self, actor: Any, node: str, launch: Launch, on_line: OnLine) -> Outcome:  # noqa: ANN401
        import ray

        ray.get(actor.start.remote(launch))
        while True:
            batch: Batch = ray.get(actor.proceed.remote())
            try:
                for line in batch.lines:
                    on_line(line)
            except LineError as error:
                return Outcome("failed", f"backend {launch.need.backend!r} sent {error}", code="contract-broken")
            if batch.outcome is not None:
                break
        if launch.engine_text is not None and batch.engine_text:
            launch.engine_text.write_bytes(batch.engine_text)
        if launch.is_preparation and batch.outcome.status == "ok":
            with self._changing:
                self._preparations[launch.job] = launch
                self._ready.setdefault(node, set()).add(launch.job)
        return batch.outcome

    def _end(self, actor: Any) -> None:  # noqa: ANN401
        """End an actor with its worker, and wait until its node says that it is gone."""
        import ray

        with self._changing:
            self._actors.remove(actor)
        ray.kill(actor)
        with suppress(ray.exceptions.RayError):
            ray.get(actor.place.remote(), timeout=_END_S)


def _answers(address: str) -> None:
    """Raise ``OSError`` where nothing listens at HOST:PORT: Ray would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
