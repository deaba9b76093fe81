"""What an import would give: the logs read for the time of a look, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import Field

from ..core.records.schema import Record
from ..core.records.store import Store
from ..core.sdk.logs.printed import LEFT_OUT
from .collate import CollateReport, collate
from .parsers.foreign import Intake, part_of_copy

if TYPE_CHECKING:
    from ..core.host.registry import Registry
    from .store_update.loading import Progress


class ImportedFile(Record):
    """What an import makes of one file."""

    file: str = Field(description="as given; a file in a zip as if that were a folder")
    format: str | None = Field(description="as --format takes it; None: the file is refused")
    versions: tuple[str, ...] = Field(default=(), description="of what wrote it, as far as it says")
    runs: int = Field(default=0, description="runs that are whole")
    failed: int = Field(default=0, description="runs that failed, or are incomplete")
    samples: int = Field(default=0, description="of all runs")
    left_out: tuple[str, ...] = Field(default=(), description="what is not in the runs, and why; a line each")


@contextmanager
def imported(
    intake: Intake, registry: Registry, progress: Progress | None = None
) -> Iterator[tuple[Store, CollateReport]]:
    """Give a store of what is imported and the report on it, as long as it is open; its folder is removed after."""
    with TemporaryDirectory(prefix="decodebench-") as folder:
        report = collate(Path(folder), registry, intake=intake, progress=progress)
        with Store.open(Path(folder)) as store:
            yield store, report


def files_of(store: Store, report: CollateReport) -> list[ImportedFile]:
    """Return what became of each file, in the order of their names."""
    problems = {problem.file: problem.text for problem in report.problems}
    found = [_file(store, copy, file, problems.get(copy)) for file, copy in report.imported]
    copies = {copy for _, copy in report.imported}
    refused = [name for name in problems if name not in copies]
    found += [ImportedFile(file=name, format=None, left_out=(problems[name],)) for name in refused]
    return sorted(found, key=lambda one: one.file)


def _file(store: Store, copy: str, file: str, problem: str | None) -> ImportedFile:
    samples = "(SELECT count(*) FROM samples WHERE run_id = runs.run_id) AS samples_read"
    sql = f"SELECT status, reason, backend_version, notes, {samples} FROM runs WHERE source_file = ? ORDER BY run_id"
    runs = store.dicts(sql, [copy])
    whole = [run for run in runs if run["status"] == "ok"]
    reasons = [problem] if problem else []
    reasons += [f"{run['status']}: {run['reason']}" for run in runs if run["status"] == "failed"]
    reasons += [note for run in runs for note in run["notes"] if note.startswith(LEFT_OUT)]
    return ImportedFile(
        file=file,
        format=part_of_copy(copy, "parser"),
        versions=tuple(sorted({run["backend_version"] for run in runs if run["backend_version"]})),
        runs=len(whole),
        failed=len(runs) - len(whole),
        samples=sum(run["samples_read"] for run in runs),
        left_out=tuple(dict.fromkeys(reasons)),
    )
