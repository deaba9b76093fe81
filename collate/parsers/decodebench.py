"""decodebench's own raw logs: what ``core.rawlog`` reads, with its provenance."""

from __future__ import annotations

from pathlib import Path

from ...core import rawlog
from ...core.schema import SCHEMA_VERSION

NAME = f"decodebench/{SCHEMA_VERSION}"


def read(path: Path, source: str) -> rawlog.RawLog:
    """Read one raw log.

    Args:
        path: the file.
        source: what to record as its name, relative to the output folder.

    Raises:
        RawLogError: it cannot be read; the text names file, line and field.
    """
    log = rawlog.read(path)
    log.run = log.run.model_copy(update={"source_file": source, "parser": NAME})
    return log
