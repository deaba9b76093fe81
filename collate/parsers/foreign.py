"""Other tools' logs: recognised by a plugin's parser, copied into the output folder, and read from there.

A copy lies at ``raw/imported/PARSER/DIGEST/NAME``: the digest makes a second import of the same file land in the same
place, and the name stays what the tool gave, since some formats keep facts in it. The store is thereby rebuilt from
the output folder alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ...core.errors import DecodebenchError
from ...core.logparser import HEAD_BYTES, LogParser
from ...core.rawlog import RawLog, RawLogError
from ...core.schema import Run, Sample
from ...core.store import FILE_NAME

IMPORTED = "imported"

Parsers = Mapping[str, type[LogParser]]
Refuse = Callable[[Path, str], None]
"""Called with a file that is not taken in, and why; one line."""


def label(parser: type[LogParser]) -> str:
    """Parser and version, as ``Run.parser`` records it."""
    return f"{parser.name}/{parser.version}"


def take_in(folder: Path, paths: Sequence[Path], parsers: Parsers, refuse: Refuse) -> list[Path]:
    """Copy every file that exactly one parser recognises into ``folder``; a file copied before is left as it is.

    Args:
        folder: the output folder.
        paths: files, and folders that are walked in sorted order.
        parsers: whom to ask.
        refuse: told of each file that is not taken in.

    Returns:
        The copies.
    """
    taken = []
    for path in paths:
        files = _files(path, folder)
        if not files:
            refuse(path, "no file in it")
        for file in files:
            try:
                taken.append(_copy(file, folder / "raw" / IMPORTED / recognise(file, parsers)))
            except (DecodebenchError, OSError) as error:
                refuse(file, str(error))
    return taken


def _files(path: Path, folder: Path) -> list[Path]:
    """List what the user names; the logs and the store of the output folder itself are not imported again."""
    if not path.is_dir():
        return [path]
    raw, store = (folder / "raw").resolve(), (folder / FILE_NAME).resolve()
    own = (store, store.with_name(FILE_NAME + ".wal"))
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return [file for file in files if not file.resolve().is_relative_to(raw) and file.resolve() not in own]


def recognise(path: Path, parsers: Parsers) -> str:
    """Return the name of the one parser whose format a file has.

    Raises:
        RawLogError: none or several recognise it, or it is empty.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise RawLogError("not a file" if path.exists() else "no such file")
    if not path.name.isprintable():  # also bytes that are no UTF-8, which neither the store nor JSON can hold
        raise RawLogError("its name has characters that cannot be printed")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise RawLogError("empty")
    found, failed = [], []
    for name, parser in sorted(parsers.items()):
        try:
            if parser().matches(path, head):
                found.append(name)
        except Exception as error:  # noqa: BLE001 - the plugin boundary: a bad parser must not stop the others
            failed.append(f"; parser {label(parser)} failed: {type(error).__name__}: {error}")
    if len(found) > 1:
        raise RawLogError(f"recognised as {' and as '.join(found)}; name one with --format")
    if not found:
        raise RawLogError(f"not a log of a known format ({', '.join(sorted(parsers)) or 'none'})" + "".join(failed))
    return found[0]


def _copy(path: Path, parent: Path) -> Path:
    data = path.read_bytes()
    target = parent / hashlib.sha256(data).hexdigest()[:12] / path.name
    if not (target.is_file() and target.read_bytes() == data):
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(target, data, scratch_folder=parent)  # not in target's own, where a copy cut short would be read
    return target


def _write_whole(target: Path, data: bytes, scratch_folder: Path) -> None:
    handle, scratch = tempfile.mkstemp(dir=scratch_folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(scratch, 0o644)
        os.replace(scratch, target)
    except BaseException:
        os.unlink(scratch)
        raise


def copies(folder: Path) -> Iterator[Path]:
    """Every path where a copy may lie."""
    return (folder / "raw" / IMPORTED).glob("*/*/*")


def read(path: Path, source: str, parser: type[LogParser]) -> list[RawLog]:
    """Read all runs of a copied file.

    Args:
        path: the copy.
        source: what to record as its name, relative to the output folder.
        parser: the parser of its format.

    Raises:
        RawLogError: it cannot be read as that format, or the parser fails on it.
    """
    logs: dict[str, RawLog] = {}
    try:
        for record in parser().read(path):
            if isinstance(record, Run):
                if record.run_id in logs:
                    raise RawLogError(f"{path}: run {record.run_id} stands in the file twice")
                logs[record.run_id] = RawLog(_placed(record, source, parser), problem=_problem(record))
            elif record.run_id not in logs:
                raise RawLogError(f"{path}: a sample or step of run {record.run_id!r} comes before that run")
            else:
                log = logs[record.run_id]
                (log.samples if isinstance(record, Sample) else log.steps).append(record)  # type: ignore[arg-type]
    except (DecodebenchError, OSError):
        raise
    except Exception as error:  # the plugin boundary: a bad parser becomes the problem of the file
        raise RawLogError(f"{path}: parser {label(parser)} failed: {type(error).__name__}: {error}") from error
    if not logs:
        raise RawLogError(f"{path}: no run in it")
    return list(logs.values())


def _placed(run: Run, source: str, parser: type[LogParser]) -> Run:
    """Give a run its provenance and its place among others: logs that differ in nothing are rounds of one cell."""
    hostname = run.environment.hostname if run.environment else None
    identity = [run.backend, run.model, run.quantisation, run.device, hostname, run.options, run.task, run.samples]
    return run.model_copy(
        update={
            "experiment": f"imported-{parser.name}",
            "cell_id": hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
            "source_format": parser.name,
            "source_file": source,
            "parser": label(parser),
        }
    )


def _problem(run: Run) -> str | None:
    return run.reason if run.status == "incomplete" else None
