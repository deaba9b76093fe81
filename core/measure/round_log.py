"""The raw log of a round: where it lies, what its first line says, and what the worker's lines are taken for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ..contract.backend import Backend
from ..contract.task import Likelihood
from ..host.availability import availability
from ..host.registry import Registry
from ..isolation.remote_backend import RemoteBackend
from ..records.raw_log import SUFFIX, RawLogWriter
from ..records.schema import SCHEMA_VERSION, Environment, Sampling
from .cells import Cell
from .plan import Plan
from .progress import Progress
from .prompts import Prompts

_OF_WORKLOAD = {
    *("task", "attempts", "warmup", "batch_size", "depth", "ignore_eos", "chat", "system", "stop", "allow_clipped"),
}


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
        prepare_s: seconds that preparing the model took; None where it was prepared before, or not at all.
    """

    run_id: str
    experiment: str
    cell: Cell
    index: int
    order: int
    cell_index: int
    prepare_s: float | None

    def path(self, output: Path, environment: Environment, seed: int) -> Path:
        """Return its log's place in the output folder."""
        parts = (environment.hostname or "unknown", slug(self.cell.model.name), self.cell.quantisation)
        name = "_".join((*map(slug, parts), f"seed{seed}", self.run_id[:8]))
        return output / "raw" / slug(self.cell.backend.name) / f"{name}{SUFFIX}"


def head(now: Round, plan: Plan, prompts: Prompts, registry: Registry, environment: Environment) -> dict[str, Any]:
    """Return the first line of a round's log: everything of the run that is known before the worker starts.

    Args:
        now: the round.
        plan: its experiment.
        prompts: what it is asked.
        registry: says what provides backend and task.
        environment: of the machine; what changes from round to round is looked at again.
    """
    cell, workload = now.cell, plan.workload
    provider = registry.provider("decodebench_backends", cell.backend.name)
    machine = environment.model_copy(update=_as_it_is_now(cell.backend))
    return {
        "schema": SCHEMA_VERSION,
        "run_id": now.run_id,
        "experiment": now.experiment,
        "cell_id": cell.id,
        "round": now.index,
        "order": now.order,
        "cell_index": now.cell_index,
        "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "backend": cell.backend.name,
        "backend_version": availability(cell.backend).version,
        "plugin": provider.origin,
        "plugin_revision": provider.revision,
        "kind": cell.backend.kind,
        "model": cell.model.name,
        "model_hash": cell.model.content_hash,
        "quantisation": cell.quantisation,
        "device": cell.device,
        "options": cell.expanded_options,
        "changed_options": list(cell.changed_options),
        "task_version": prompts.task_version,
        **_task_plugin(prompts, registry),
        "seed": plan.seed,
        "samples": workload.measured,
        "max_new_tokens": workload.token_limit,
        **workload.model_dump(mode="json", include=_OF_WORKLOAD),
        "sampling": sampling_of(plan).model_dump(mode="json"),
        "first_step_is_prefill": cell.backend.first_step_is_prefill,
        "environment": machine.model_dump(mode="json"),
        "prepare_s": now.prepare_s,
    }


def sampling_of(plan: Plan) -> Sampling:
    """Return how a plan's tokens are drawn."""
    return Sampling(**plan.workload.model_dump(include={"temperature", "top_p", "top_k"}), seed=plan.seed)


def _task_plugin(prompts: Prompts, registry: Registry) -> Mapping[str, JsonValue]:
    if prompts.task is None:
        return {}
    provider = registry.provider_of_task(prompts.task)
    return {"task_plugin": provider.origin, "task_plugin_revision": provider.revision}


def _as_it_is_now(backend: type[Backend]) -> Mapping[str, Any]:
    """Return what of the environment changes between rounds: the load, and the versions that the worker has."""
    found: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 2)}
    if issubclass(backend, RemoteBackend):
        found |= {name: backend.description[name] for name in ("python", "packages")}
    return found


def slug(text: str) -> str:
    """Return a name that is safe as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-")[-60:] or "unnamed"


class Listener:
    """Takes the worker's lines: appends them to the raw log and remembers what scoring and progress need.

    Attributes:
        answers: sample index, sample id and text of each answer.
        likelihoods: the same for choices.
        device_peak_bytes: most device memory by the engine's own count, where it has one.
    """

    def __init__(self, log: RawLogWriter, progress: Progress) -> None:
        self._log, self._progress = log, progress
        self.answers: list[tuple[int, str, str]] = []
        self.likelihoods: list[tuple[int, str, list[Likelihood]]] = []
        self.device_peak_bytes: int | None = None

    def take(self, line: dict[str, Any]) -> None:
        """Take one line."""
        kind = line.pop("type")
        if kind == "text":
            with beside(self._log.path, ".txt").open("a", encoding="utf-8") as file:
                file.write(line["text"])
            self._progress.classic_log(line["text"])
            return
        self._log.write(kind, line)
        if kind == "sample" and line.get("status") != "failed":
            if line.get("choices"):
                pairs = zip(line["choice_logprobs"], line["choice_is_greedy"], strict=True)
                self.likelihoods.append((line["index"], line["sample_id"], [Likelihood(*pair) for pair in pairs]))
            else:
                self.answers.append((line["index"], line["sample_id"], line["text"]))
            peak = line["engine"].get("peak_device_bytes")
            if peak is not None:
                self.device_peak_bytes = max(int(peak), self.device_peak_bytes or 0)
            self._progress.sample(line["output_tokens"] or line["scored_tokens"], line["duration_s"])


def beside(log: Path, suffix: str) -> Path:
    """Return the file of another kind that belongs to a raw log."""
    return log.with_name(log.name.removesuffix(SUFFIX) + suffix)
