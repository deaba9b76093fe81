"""Other tools' logs looked at without keeping them: what an import would give, and what is doubtful in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from ...collate.findings import findings
from ...collate.parsers.foreign import Intake
from ...collate.preview import ImportedFile, files_of, imported
from ..contract.finding import Finding
from ..errors import UsageError
from ..records.schema import Record
from ..records.store_file import FILE_NAME
from .plugins import installed_plugins

if TYPE_CHECKING:
    from ...collate.store_update.loading import Progress


class Audit(Record):
    """What is doubtful in somebody's results."""

    files: tuple[ImportedFile, ...] = Field(description="every file that was looked at")
    findings: tuple[Finding, ...] = Field(description="the gravest first")


def preview(intake: Intake, progress: Progress | None = None) -> list[ImportedFile]:
    """Return what importing would make of each file; nothing is written.

    Raises:
        UsageError: there is no such format.
    """
    with imported(intake, installed_plugins(), progress) as (store, report):
        return files_of(store, report)


def audit(paths: Sequence[str | Path], progress: Progress | None = None) -> Audit:
    """Check other tools' results as those of one experiment; nothing is written.

    Args:
        paths: files, and folders that are walked.
        progress: called before each file.

    Raises:
        UsageError: no file is of a known format.
    """
    registry = installed_plugins()
    intake = Intake([Path(path) for path in paths])
    with imported(intake, registry, progress) as (store, report):
        files = files_of(store, report)
        if not any(file.runs or file.failed for file in files):
            reasons = [f"{file.file}: {text}" for file in files[:3] for text in file.left_out[:1]] or ["no run in it"]
            own = [path for path in intake.paths if (path / FILE_NAME).exists()]
            reasons += [f"`decodebench findings {path}` checks results of decodebench itself" for path in own]
            raise UsageError(f"nothing to audit: {'; '.join(reasons)}", code="no-results")
        found = findings(store, intake.experiment, further=registry.findings.values)
        return Audit(files=tuple(files), findings=found)
