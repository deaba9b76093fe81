"""The raw log of a round: where it lies, what its first line says, and what the worker's lines are taken for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ..contract.backend import Backend
from ..contract.launcher import Launcher, Line, Outcome
from ..contract.task import Likelihood
from ..foreign_text import path_part
from ..host.availability import availability
from ..host.registry import Registry
from ..isolation.processes.messages import Server, Text, message
from ..isolation.remote_backend import RemoteBackend
from ..records.engine_counters import EngineCounters
from ..records.log_content import LineError, LogContent
from ..records.raw_log import SUFFIX, RawLogWriter
from ..records.schema import SCHEMA_VERSION, Environment, Record, Run, Sample
from ..records.server_session import ServerSession
from .cells import Cell
from .machine.environment import as_it_is_now
from .plan import Plan
from .prompts import Prompts

_OF_WORKER = ("load", "sample", "step")


@dataclass(frozen=True, slots=True)
class Round:
    """One execution of a cell.

    Attributes:
        run_id: its own.
        experiment: name under which it is stored.
        cell: what runs.
        index: of the round, from 0.
        order: how many rounds came before it in this run.
        cell_index: place of the cell in the plan.
        block: id of the rounds that are measured in turn with it; None: it is alone.
        prepare_s: seconds that preparing the model took; None where it was prepared before, or not at all.
        launcher: runs the worker.
    """

    run_id: str
    experiment: str
    cell: Cell
    index: int
    order: int
    cell_index: int
    block: str | None
    prepare_s: float | None
    launcher: type[Launcher]

    def path(self, output: Path, environment: Environment, seed: int) -> Path:
        """Return its log's place in the output folder."""
        parts = (environment.hostname or "unknown", self.cell.model.name, self.cell.quantisation)
        name = "_".join((*map(path_part, parts), f"seed{seed}", self.run_id[:8]))
        return output / "raw" / path_part(self.cell.backend.name) / f"{name}{SUFFIX}"


def head(now: Round, plan: Plan, prompts: Prompts, registry: Registry, environment: Environment) -> dict[str, Any]:
    """Return the first line of a round's log: everything of the run that is known before the worker starts.

    Args:
        now: the round.
        plan: its experiment.
        prompts: what it is asked.
        registry: says what provides backend and task.
        environment: of the machine; what changes from round to round is looked at again, where that is this one.
    """
    cell, workload = now.cell, now.cell.workload
    settings = workload.recorded()
    provider = registry.provider("decodebench_backends", cell.backend.name)
    machine, version = environment, None
    if now.launcher.is_here:
        machine = environment.model_copy(update=_as_it_is_now(cell.backend))
        version = availability(cell.backend).version
    return {
        **{name: value for name, value in settings.items() if name in Run.model_fields},
        "schema": SCHEMA_VERSION,
        "run_id": now.run_id,
        "experiment": now.experiment,
        "cell_id": cell.id,
        "round": now.index,
        "order": now.order,
        "cell_index": now.cell_index,
        "max_rounds": plan.max_rounds if plan.looks else None,
        "block": now.block,
        "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "backend": cell.backend.name,
        "backend_version": version,
        "plugin": provider.origin,
        "plugin_revision": provider.revision,
        "kind": cell.backend.kind,
        "model": cell.model.name,
        "model_hash": cell.model.content_hash,
        "quantisation": cell.quantisation,
        "device": cell.device,
        "residence": cell.backend.residence,
        "options": cell.expanded_options,
        "changed_options": list(cell.changed_options),
        "task_version": prompts.task_version,
        **_task_plugin(prompts, registry),
        "seed": plan.seed,
        "samples": workload.measured,
        "max_new_tokens": workload.token_limit,
        "sampling": workload.sampling(plan.seed).model_dump(mode="json"),
        "workload": settings,
        "first_step_is_prefill": cell.backend.first_step_is_prefill,
        "launcher": now.launcher.name,
        "environment": machine.model_dump(mode="json"),
        "prepare_s": now.prepare_s,
    }


def _task_plugin(prompts: Prompts, registry: Registry) -> Mapping[str, JsonValue]:
    if prompts.task is None:
        return {}
    provider = registry.provider_of_task(prompts.task)
    return {"task_plugin": provider.origin, "task_plugin_revision": provider.revision}


def _as_it_is_now(backend: type[Backend]) -> Mapping[str, Any]:
    """Return what of the environment changes between rounds: load, power, heat, the versions that the worker has."""
    found = as_it_is_now()
    if issubclass(backend, RemoteBackend):
        found |= {name: backend.description[name] for name in ("python", "packages")}
    return found


class RoundLog(RawLogWriter):
    """The log of a round while it is written: nothing gets in that could not be read again."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.content = LogContent()
        self._begins: dict[int, int] = {}  # the size before each sample

    def add(self, kind: str, line: Mapping[str, Any]) -> Record:
        """Check one line, append it and return the record that it makes.

        Raises:
            LineError: it cannot be recorded, and is not.
            OSError: it cannot be written, such as on a full disk.
        """
        record = self.content.accept(kind, line)
        if isinstance(record, Sample) and kind == "sample":
            self._begins[record.index] = self.size
        self.write(kind, line)
        return record

    def keep(self, count: int) -> Collection[int]:
        """Leave the first ``count`` samples; return the indices of the others, which came last and are gone."""
        dropped = list(self._begins)[count:]
        if dropped:
            self.cut(self._begins[dropped[0]])
            self.content.forget(dropped)
        for sample in dropped:
            del self._begins[sample]
        return dropped


class Listener:
    """Takes the worker's lines: appends them to the raw log and remembers what scoring and progress need.

    Args:
        log: of the round.
        on_sample: given the tokens of each sample that is finished, and its seconds.
        on_text: given what the backend says of a sample in the format of its own tools.

    Attributes:
        answers: sample index, sample id and text of each answer.
        likelihoods: the same for choices.
        device_peak_bytes: most device memory by the engine's own count, where it has one.
        sessions: the servers that answered.
    """

    def __init__(self, log: RoundLog, on_sample: Callable[[int, float], None], on_text: Callable[[str], None]) -> None:
        self._log, self._on_sample, self._on_text = log, on_sample, on_text
        self.answers: list[tuple[int, str, str]] = []
        self.likelihoods: list[tuple[int, str, list[Likelihood]]] = []
        self.device_peak_bytes: int | None = None
        self.sessions: tuple[ServerSession, ...] = ()

    def take(self, line: Line) -> None:
        """Take one line.

        Raises:
            LineError: it cannot be recorded.
            OSError: it cannot be written.
        """
        if line["type"] == "text":
            self._keep_text(message(Text, line).text)
            return
        if line["type"] == "server":
            peak = {"peak_rss_bytes": message(Server, line).peak_rss_bytes}
            self.sessions = tuple(session.model_copy(update=peak) for session in self.sessions)
            return
        if line["type"] not in _OF_WORKER:
            raise LineError(f"a line of unknown type {line['type']!r}")
        record = self._log.add(line.pop("type"), line)
        if isinstance(record, Run):
            self.sessions = record.sessions
        if isinstance(record, Sample) and record.status == "ok":
            self._keep_sample(record)

    def forget(self, samples: Collection[int]) -> None:
        """Forget the answers of samples that the log no longer holds."""
        self.answers = [one for one in self.answers if one[0] not in samples]
        self.likelihoods = [one for one in self.likelihoods if one[0] not in samples]

    def _keep_text(self, text: str) -> None:
        with beside(self._log.path, ".txt").open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        self._on_text(text)

    def _keep_sample(self, sample: Sample) -> None:
        if sample.choices:
            scored = zip(sample.choice_logprobs or (), sample.choice_is_greedy or (), strict=False)
            likelihoods = [Likelihood(*one) for one in scored]
            if len(likelihoods) != len(sample.choices):
                raise LineError(f"{len(likelihoods)} log-probabilities for {len(sample.choices)} choices")
            self.likelihoods.append((sample.index, sample.sample_id or "", likelihoods))
        elif sample.text is None:
            raise LineError(f"sample {sample.index} with neither a text nor choices")
        else:
            self.answers.append((sample.index, sample.sample_id or "", sample.text))
        try:
            peak = EngineCounters.of(sample.engine).peak_device_bytes
        except ValueError as error:
            raise LineError(f"{error} in sample {sample.index}") from error
        if peak is not None:
            self.device_peak_bytes = max(peak, self.device_peak_bytes or 0)
        self._on_sample(sample.output_tokens or sample.scored_tokens or 0, sample.duration_s or 0.0)


def beside(log: Path, suffix: str) -> Path:
    """Return the file of another kind that belongs to a raw log."""
    return log.with_name(log.name.removesuffix(SUFFIX) + suffix)


def peak_of(cell: Cell, outcome: Outcome, listener: Listener) -> int | None:
    """Return the largest resident set of a round's engine: its process, or its server's; None where it is elsewhere."""
    if cell.backend.residence == "in-process":
        return outcome.peak_rss_bytes
    found = [session.peak_rss_bytes for session in listener.sessions if session.peak_rss_bytes is not None]
    return sum(found) if found else None
