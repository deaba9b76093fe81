"""The experiments of an output folder: what is done of each, and new names, or a bin, for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from pydantic import Field

from ..errors import UsageError, unknown_name
from ..files import write_whole
from ..measure.output.folder import check_free, held_since, kept_plan, locked, plan_file, planned_names
from ..measure.output.round_index import PARITY, Entry, RoundIndex
from ..measure.plan import check_experiment_name
from ..records.raw_log import PART_SUFFIX, SUFFIX
from ..records.schema import Record

_BIN = "bin"
_RENAMING = ".renaming"
"""Says which name takes the place of which, as long as not every log has it."""
_IMPORTED = Path("raw", "imported")
_PARITY = Path("raw", PARITY)


class FailedRound(Record):
    """A round that did not end with status ok, and is to be run again."""

    cell: str = Field(description="name of the cell; its id where no plan was kept")
    round: int = Field(description="from 1")
    status: str = Field(description="as its log ends; incomplete without an end, unreadable if damaged before it")
    log: str = Field(description="its log, relative to the output folder")


class RunningRound(Record):
    """A round that is being measured now."""

    cell: str = Field(description="as of a failed round")
    round: int = Field(description="from 1")
    started_at: str = Field(description="when it began, ISO 8601")
    log: str = Field(description="its log so far, relative to the output folder")


class ExperimentState(Record):
    """What is done of an experiment."""

    name: str = Field(description="under which its rounds are stored; empty: of logs that do not say it")
    shard: str | None = Field(default=None, description="the part of the plan's rounds that is wanted here, I/N")
    cells: int = Field(description="cells that are wanted; without a kept plan those that have a round")
    done: int = Field(description="rounds that ended with status ok, of those that are wanted")
    failed: tuple[FailedRound, ...] = Field(default=(), description="rounds to be run again")
    running: tuple[RunningRound, ...] = Field(default=(), description="rounds that are being measured now")
    unreadable: tuple[str, ...] = Field(
        default=(), description="logs whose first line does not say of which round they are; `collate` says why"
    )
    to_do: int | None = Field(
        default=None, description="rounds that are missing, failed and running ones included; None: no plan"
    )
    seconds_left: float | None = Field(
        default=None, description="what the missing rounds will take, by the mean of their cell's rounds or of all"
    )
    imported_files: int = Field(default=0, description="other tools' logs")
    last_round_at: str = Field(default="", description="when the latest round began, ISO 8601")


def status(folder: str | Path) -> list[ExperimentState]:
    """Return the state of every experiment of a folder, the latest first.

    Neither plugins nor the store are needed: what is wanted was kept by the last run, what is there is in the index.

    Raises:
        UsageError: there is no such folder, or a log cannot be read now.
    """
    output = Path(folder)
    if not output.is_dir():
        raise UsageError(f"no output folder {output}", code="folder-missing")
    index = RoundIndex(output)
    imported = _imported(output)
    by_name: dict[str, list[Entry]] = {name: [] for name in (*imported, *planned_names(output))}
    for entry in index.rounds:
        by_name.setdefault(entry.experiment, []).append(entry)
    running = _running(output, [*index.rounds, *index.nameless])
    found = [
        _state(output, name, rounds, running).model_copy(update={"imported_files": imported.get(name, 0)})
        for name, rounds in by_name.items()
    ]
    nameless = tuple(f"raw/{entry.name}" for entry in index.nameless if entry.name not in running)
    if nameless:
        found.append(ExperimentState(name="", cells=0, done=0, unreadable=nameless))
    return sorted(found, key=lambda state: (state.last_round_at, state.name), reverse=True)


def _running(output: Path, entries: Iterable[Entry]) -> set[str]:
    """Return the names of the logs that are being written: those without an end that changed since a run began here."""
    open_now = [entry for entry in entries if entry.status is None and entry.name.endswith(PART_SUFFIX)]
    since = held_since(output) if open_now else None
    return set() if since is None else {entry.name for entry in open_now if entry.mtime_ns >= since}


def _state(output: Path, name: str, rounds: Sequence[Entry], running: Collection[str]) -> ExperimentState:
    plan = kept_plan(output, name)
    done = {(entry.cell_id, entry.round): entry for entry in rounds if entry.status == "ok"}
    wanted = plan.wanted if plan else {(entry.cell_id, entry.round) for entry in rounds}
    missing = wanted - done.keys()
    latest = {(e.cell_id, e.round): e for e in sorted(rounds, key=lambda e: e.started_at)}
    unfinished = [entry for key, entry in latest.items() if key in missing]
    names = plan.cells if plan else {}
    return ExperimentState(
        name=name,
        shard=str(plan.shard) if plan and plan.shard else None,
        cells=len(plan.cells if plan else {entry.cell_id for entry in rounds}),
        done=len(wanted & done.keys()),
        failed=tuple(
            FailedRound(
                cell=names.get(e.cell_id, e.cell_id),
                round=e.round + 1,
                status=e.status or "incomplete",
                log=f"raw/{e.name}",
            )
            for e in unfinished
            if e.name not in running
        ),
        running=tuple(
            RunningRound(
                cell=names.get(e.cell_id, e.cell_id), round=e.round + 1, started_at=e.started_at, log=f"raw/{e.name}"
            )
            for e in unfinished
            if e.name in running
        ),
        to_do=len(missing) if plan else None,
        seconds_left=_seconds_left(missing, done.values()) if plan else None,
        last_round_at=max((entry.started_at for entry in rounds), default=""),
    )


def _seconds_left(missing: set[tuple[str, int]], done: Iterable[Entry]) -> float | None:
    times: dict[str, list[float]] = {}
    for entry in done:
        if entry.wall_s is not None:
            times.setdefault(entry.cell_id, []).append(entry.wall_s)
    if not times:
        return None
    means = {cell_id: fmean(values) for cell_id, values in times.items()}
    of_all = fmean(means.values())
    return sum(means.get(cell_id, of_all) for cell_id, _ in missing)


def rename(folder: str | Path, old: str, new: str) -> int:
    """Give an experiment another name; return how many logs have it now. If it is cut short, it can be run again.

    Raises:
        UsageError: there is no such experiment, the new name is taken or cannot be one, or the folder is in use.
        DecodebenchError: a log cannot be written.
    """
    output = Path(folder)
    check_experiment_name(new)
    with locked(_existing(output)):
        index = RoundIndex(output)
        files = _files_of(output, index, old)
        begun, words = output / _RENAMING, json.dumps([old, new])
        is_begun = begun.is_file() and begun.read_text(encoding="utf-8") == words
        if not is_begun and new in _names(output, index):
            raise UsageError(f"{output} has an experiment {new!r} already", code="path-taken")
        write_whole(begun, words)
        for file in files:
            if file.is_dir():
                file.rename(file.with_name(new))
            else:
                _rename_in(file, old, new)
        plan = plan_file(output, old)
        if plan.is_file():
            plan.rename(plan_file(output, new))
        begun.unlink()
        return len(files)


def delete(folder: str | Path, name: str) -> Path:
    """Move an experiment's logs into the folder's bin; return where they are.

    Raises:
        UsageError: there is no such experiment, or the folder is in use.
    """
    output = Path(folder)
    with locked(_existing(output)):
        # Files of parity are of several experiments: they stay, and are read for those that are there.
        logs = [file for file in _files_of(output, RoundIndex(output), name) if file.parent != output / _PARITY]
        target = output / _BIN / f"{name}.{datetime.now(UTC):%Y%m%dT%H%M%S}"
        plan = plan_file(output, name)
        for file in (*logs, *(other for log in logs for other in _beside(log)), *([plan] if plan.is_file() else ())):
            place = target / file.relative_to(output)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, place)
        return target


def restore(folder: str | Path, name: str) -> Path:
    """Move the experiment that was deleted last under a name out of the bin; return where it was.

    Raises:
        UsageError: none of that name is in the bin, one is in the folder, or the folder is in use.
    """
    output = Path(folder)
    with locked(_existing(output)):
        found = sorted((output / _BIN).glob(f"{name}.*T*"))
        kept = sorted({place.name.rpartition(".")[0] for place in (output / _BIN).glob("*.*T*")})
        found = [place for place in found if place.name.rpartition(".")[0] == name]
        if not found:
            raise unknown_name("experiment in the bin", name, kept)
        if name in _names(output, RoundIndex(output)):
            raise UsageError(f"{output} has an experiment {name!r} already; rename it first", code="path-taken")
        for file in sorted(path for path in found[-1].rglob("*") if path.is_file()):
            place = output / file.relative_to(found[-1])
            place.parent.mkdir(parents=True, exist_ok=True)
            check_free(place)
            shutil.move(file, place)
        shutil.rmtree(found[-1])
        return found[-1]


def _existing(output: Path) -> Path:
    if not output.is_dir():
        raise UsageError(f"no output folder {output}", code="folder-missing")
    return output


def _imported(output: Path) -> dict[str, int]:
    """Return how many files were imported, by the experiment that they are of."""
    places = (place for place in (output / _IMPORTED).glob("*") if place.is_dir())
    counts = {place.name: len([file for file in place.glob("*/*/*") if file.is_file()]) for place in places}
    return {name: count for name, count in counts.items() if count}


def _names(output: Path, index: RoundIndex) -> set[str]:
    """Return the names of the experiments that ``status`` lists."""
    return {entry.experiment for entry in index.rounds} | _imported(output).keys() | set(planned_names(output))


def _files_of(output: Path, index: RoundIndex, name: str) -> list[Path]:
    """Return the logs of an experiment, the folder of its imports, and the files of parity that name it."""
    files = [output / "raw" / entry.name for entry in index.of(name)]
    if name in _imported(output):
        files.append(output / _IMPORTED / name)
    if name not in _names(output, index):
        raise unknown_name("experiment", name, sorted(_names(output, index)))
    scored = (output / _PARITY).glob(f"*{SUFFIX}")
    return files + [file for file in scored if json.dumps(name) in file.read_text(encoding="utf-8", errors="ignore")]


def _rename_in(file: Path, old: str, new: str) -> None:
    """Write a log again with another experiment in those lines that have the old one; the others as they are."""
    lines = file.read_bytes().split(b"\n")
    is_parity = file.parent.name == _PARITY.name
    for at, line in enumerate(lines if is_parity else lines[:1]):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and content.get("experiment") == old:
            lines[at] = json.dumps(content | {"experiment": new}, ensure_ascii=False, allow_nan=False).encode()
    write_whole(file, b"\n".join(lines))


def _beside(log: Path) -> list[Path]:
    """Return what else a round left: its engine's output and its texts."""
    stem = log.name.removesuffix(PART_SUFFIX).removesuffix(SUFFIX)
    others = (log.with_name(stem + suffix) for suffix in (".engine.txt", ".txt"))
    return [other for other in others if other.is_file()]
