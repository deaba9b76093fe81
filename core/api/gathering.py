"""Several output folders put together into one, such as those of the shards of a plan."""

from __future__ import annotations

import filecmp
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DecodebenchError, UsageError
from ..files import whole_file
from ..measure.output.folder import PLANS, KeptPlan, keep_plan, kept_plan, locked, writable
from ..measure.output.round_index import FILE_NAME, RoundIndex
from ..records.raw_log import PART_SUFFIX


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was put together.

    Attributes:
        copied: files that are new to the folder, relative to it.
        kept: how many it had already, with the same content.
        unfinished: logs without an end, which stay where they are: their round may go on.
    """

    copied: Sequence[str]
    kept: int
    unfinished: Sequence[Path]


def gather(folder: str | Path, sources: Sequence[str | Path]) -> Gathered:
    """Copy the logs of other output folders into one; its store is then that of a single run.

    Everything is checked before anything is copied, and a call that was cut short can be repeated.

    Args:
        folder: gets the logs; made where it is not there.
        sources: output folders, which stay as they are.

    Raises:
        UsageError: a source is no output folder, a round is in two of them, or two files of one name differ.
        DecodebenchError: a file cannot be written.
    """
    output, others = Path(folder), [Path(source) for source in sources]
    for other in others:
        if not (other / "raw").is_dir():
            raise UsageError(f"{other} is not an output folder: it has no raw/", code="folder-missing")
        if other.resolve() == output.resolve():
            raise UsageError(f"{other} is the target folder itself", code="conflicting-flags")
    writable(output)
    with locked(output):
        indexes = {folder: RoundIndex(folder) for folder in (output, *others)}
        _check_rounds(indexes)
        wanted, kept = _wanted(output, others)
        for relative, source in wanted.items():
            _copy(source, output / relative)
        indexes[output].take(entry for other in others for entry in indexes[other].rounds)
        for other in others:
            _merge_plans(output, other)
    unfinished = [file for other in others for file in _files(other) if file.name.endswith(PART_SUFFIX)]
    return Gathered(sorted(wanted), kept, unfinished)


def _files(output: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(output / "raw"):
        for name in sorted(names):
            file = Path(parent, name)
            if name != FILE_NAME and file.is_file() and not file.is_symlink():
                yield file


def _check_rounds(indexes: Mapping[Path, RoundIndex]) -> None:
    """Refuse a round that two folders have finished, each in a log that the other does not have: it would count twice.

    One folder may hold a round twice, such as that of a baseline which ran again beside cells that were added.
    """
    found: dict[tuple[str, str, int], dict[Path, set[str]]] = {}
    for output, index in indexes.items():
        for entry in index.rounds:
            if entry.status == "ok" and not entry.name.endswith(PART_SUFFIX):
                of_round = found.setdefault((entry.experiment, entry.cell_id, entry.round), {})
                of_round.setdefault(output, set()).add(entry.name)
    for (experiment, cell_id, number), of_round in found.items():
        for (one, names), (other, others) in itertools.combinations(of_round.items(), 2):
            if names - others and others - names:
                raise UsageError(
                    f"round {number + 1} of cell {cell_id} of experiment {experiment!r} is in "
                    f"{one / 'raw' / min(names - others)} and in {other / 'raw' / min(others - names)}: it would count "
                    "twice; was one shard run into two folders? leave one of them out",
                    code="logs-conflict",
                )


def _wanted(output: Path, sources: Sequence[Path]) -> tuple[dict[str, Path], int]:
    """Return what is to be copied, by its place in the folder, and how many files are there already."""
    wanted: dict[str, Path] = {}
    kept = 0
    for source in sources:
        for file in _files(source):
            if file.name.endswith(PART_SUFFIX):
                continue
            relative = file.relative_to(source).as_posix()
            there = output / relative if (output / relative).exists() else wanted.get(relative)
            if there is None:
                wanted[relative] = file
            elif filecmp.cmp(there, file, shallow=False):
                kept += 1
            else:
                raise UsageError(f"{there} and {file} differ under one name: nothing was copied", code="logs-conflict")
    return wanted, kept


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as scratch:
        try:
            shutil.copy2(source, scratch)
        except OSError as error:
            raise DecodebenchError(f"cannot copy {source} to {target}: {error.strerror or error}") from error


def _merge_plans(output: Path, source: Path) -> None:
    """Keep what the experiments of a source are to hold as a whole, its shards together."""
    for file in sorted((source / PLANS).glob("*.json")):
        theirs, ours = kept_plan(source, file.stem), kept_plan(output, file.stem)
        if theirs is not None:
            rounds = max(theirs.rounds, ours.rounds if ours else 0)
            cells = {**(ours.cells if ours else {}), **theirs.cells}
            settings = theirs.settings if theirs.settings is not None or ours is None else ours.settings
            keep_plan(output, file.stem, KeptPlan(rounds=rounds, cells=cells, settings=settings))
