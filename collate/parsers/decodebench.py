"""decodebench's own raw logs: what ``raw_log`` reads, with its provenance."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from ...core.contract.hookspecs import PROJECT
from ...core.host.provenance import revision
from ...core.records import raw_log as rawlog
from ...core.records.schema import SCHEMA_VERSION

L = TypeVar("L", rawlog.RawLog, rawlog.AnyLog)

NAME = f"decodebench/{SCHEMA_VERSION}"


def read(path: Path, source: str) -> rawlog.AnyLog:
    """Read one raw log.

    Args:
        path: the file.
        source: what to record as its name, relative to the output folder.

    Raises:
        RawLogError: it cannot be read; the text names file, line and field.
    """
    return placed(rawlog.read(path), source)


def placed(log: L, source: str) -> L:
    """Give a log its provenance."""
    own = {"parser_plugin": _own_version(), "parser_plugin_revision": revision(PROJECT, None)}
    log.run = log.run.model_copy(update={"source_file": source, "parser": NAME, **own})
    return log


@cache
def _own_version() -> str:
    return f"{PROJECT} {version(PROJECT)}"
