"""The output folder: who may write to it, under which names it holds rounds, and what they are to be."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import Field, JsonValue, ValidationError

from ...errors import DecodebenchError, UsageError
from ...files import move_whole, write_whole
from ...foreign_text import path_part
from ...host.registry import Registry
from ...records.log_content import finished_run
from ...records.raw_log import PART_SUFFIX, SUFFIX
from ...records.schema import Record
from ..cells import workload_identity
from ..plan import Interleave, Plan
from .round_index import RoundIndex
from .shard import Shard

PLANS = "plans"
_LOCK = ".run.lock"
_PART = PART_SUFFIX.removeprefix(SUFFIX)


class KeptPlan(Record):
    """What an experiment is to hold, as its latest run was asked for."""

    rounds: int = Field(ge=1, description="rounds of each cell")
    cells: dict[str, str] = Field(description="name of each cell, by its id, in the order of the plan")
    shard: Shard | None = Field(None, description="the part of them that is measured into this folder; None: all")
    settings: dict[str, JsonValue] | None = Field(
        None, description="`Plan.run_settings`; None where an earlier decodebench kept the plan"
    )

    @classmethod
    def of(cls, plan: Plan, labels: Mapping[str, str], shard: Shard | None) -> KeptPlan:
        """Return what is kept of a plan whose cells are called so, by their ids."""
        return cls(rounds=plan.most_rounds, cells=dict(labels), shard=shard, settings=plan.run_settings)

    @property
    def wanted(self) -> set[tuple[str, int]]:
        """Cell id and index of each round that is to be in this folder."""
        if self.shard is not None:
            return self.shard.rounds(self.cells, self.rounds)
        return {(cell_id, index) for cell_id in self.cells for index in range(self.rounds)}


def writable(output: Path) -> None:
    """Create the output folder if need be.

    Raises:
        UsageError: it is no folder, or nothing can be written to it.
    """
    try:
        (output / "raw").mkdir(parents=True, exist_ok=True)
        probe = output / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to output folder {output}: {error.strerror}", code="write-failed") from error


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the folder for one run; two at once would disturb each other's figures.

    Raises:
        UsageError: another run holds it.
    """
    file = output / _LOCK
    lock = FileLock(file, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        holder = file.read_text().strip() or "unknown"
        raise UsageError(
            f"another run (process {holder}) is measuring into {output}; wait for it, or give another --output",
            code="folder-in-use",
        ) from error
    with lock:
        file.write_text(str(os.getpid()))
        yield


def held_since(output: Path) -> int | None:
    """Return since when a run holds the folder, in ns as files have it; None where none does."""
    file = output / _LOCK
    try:
        since = file.stat().st_mtime_ns  # it writes its process id then
        lock = FileLock(file, blocking=False)
        with lock:
            return None
    except Timeout:
        return since
    except OSError:  # no run was here, or only its owner can know
        return None


def finish_parts(output: Path) -> None:
    """Give each log that holds its end line its final name: its run was stopped after the last word.

    Where that fails, such as on a file system without room, the index counts it as it is.
    """
    for part in (output / "raw").glob(f"*/*{PART_SUFFIX}"):
        final = part.with_name(part.name.removesuffix(_PART))
        with suppress(OSError):
            if not final.exists() and finished_run(part) is not None:
                move_whole(part, final)


def default_name(plan: Plan, registry: Registry) -> str:
    """Name an experiment after its workload: what is measured alike belongs together, whenever it was measured.

    Of what the workload sweeps only the names count, so that a value that is added later joins the others.
    """
    models = sorted({name for spec in plan.cells for name in (spec.model or plan.workload.model or [])})
    fixed = {name: value for name, value in workload_identity(plan, registry).items() if name not in plan.axes}
    identity = json.dumps([fixed, models, *([sorted(plan.axes)] if plan.axes else [])], sort_keys=True)
    return f"{path_part(plan.workload.task or 'fixed')}-{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def next_name(index: RoundIndex, name: str) -> str:
    """Return ``name``, or ``name.2``, ``name.3``, ...: the first under which the folder holds no round."""
    taken = {entry.experiment for entry in index.rounds}
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}.{number}"
    return candidate


def latest_name(index: RoundIndex, name: str) -> str:
    """Return the last of ``name``, ``name.2``, ``name.3``, ... that the folder holds rounds of; else ``name``."""
    taken = {entry.experiment for entry in index.rounds}
    number, latest = 2, name
    while f"{name}.{number}" in taken:
        latest = f"{name}.{number}"
        number += 1
    return latest


def stored_threads(index: RoundIndex, experiment: str) -> int | None:
    """Return how many threads engines got by default in the first round of ``experiment``; None without one.

    On whichever host that was: a container has another name each time, and an anonymised name is another one, too.
    Before the number was recorded, every core had one.
    """
    found = [(entry.started_at, entry.threads) for entry in index.of(experiment) if entry.threads]
    return min(found)[1] if found else None


def check_max_rounds(index: RoundIndex, experiment: str, max_rounds: int | None) -> None:
    """Refuse to go on with another number of rounds at most: the looks so far have relied on it.

    Args:
        index: of the output folder.
        experiment: its name.
        max_rounds: of the plan; None where the number of rounds is fixed.

    Raises:
        UsageError: the experiment was begun otherwise.
    """
    others = {entry.max_rounds for entry in index.of(experiment)} - {max_rounds}
    if others:
        first = next(iter(others))
        how = "a fixed number of rounds" if first is None else f"--max-rounds {first}, on which its looks rely"
        raise UsageError(
            f"experiment {experiment!r} was started with {how}: continue with the same, or start over with --fresh",
            code="conflicting-flags",
        )


def stored_interleaving(index: RoundIndex, experiment: str) -> Interleave | None:
    """Return how the rounds of ``experiment`` are interleaved; None where nothing was decided yet.

    A plan of one cell decides nothing, nor does a cell whose engine never ran: at least two of a larger plan did.
    """
    entries = index.of(experiment)
    if any(entry.is_in_block for entry in entries):
        return "samples"
    began = {entry.cell_id for entry in entries if entry.wall_s != 0}
    are_of_several = any((entry.order or 0) > entry.round for entry in entries)
    return "rounds" if len(began) > 1 and are_of_several else None


def keep_plan(output: Path, experiment: str, plan: KeptPlan) -> None:
    """Keep what an experiment is to hold, so that it can be said what is missing; a full disk stops no run here."""
    with suppress(DecodebenchError):
        write_whole(plan_file(output, experiment), plan.model_dump_json())


def kept_plan(output: Path, experiment: str) -> KeptPlan | None:
    """Return what was kept of an experiment's latest plan; None where there is none that can be read."""
    try:
        return KeptPlan.model_validate_json(plan_file(output, experiment).read_bytes())
    except (OSError, ValidationError):
        return None


def planned_names(output: Path) -> list[str]:
    """Return the names of the experiments whose latest plan was kept."""
    return sorted(file.stem for file in (output / PLANS).glob("*.json"))


def plan_file(output: Path, experiment: str) -> Path:
    """Return where the plan of an experiment is kept."""
    return output / PLANS / f"{experiment}.json"


def check_free(place: Path) -> None:
    """Refuse to put a file where another one is.

    Raises:
        UsageError: there is one.
    """
    if place.exists():
        raise UsageError(f"{place} exists already", code="path-taken")
