"""Other tools' logs: recognised by a plugin's parser, copied into the output folder, and read from there.

A copy lies at ``raw/imported/EXPERIMENT/PARSER/DIGEST/NAME``: the digest makes a second import of the same file land in
the same place, and the name stays what the tool gave, since some formats keep facts in it. The store is thereby
rebuilt from the output folder alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ... import defaults
from ...core.contract.log_parser import HEAD_BYTES, LogParser
from ...core.errors import DecodebenchError, described
from ...core.files import write_whole
from ...core.host.registry import PluginRecord
from ...core.records.conditions import conditions_of, hash_of
from ...core.records.raw_log import RawLog, RawLogError
from ...core.records.schema import Run, Sample
from ...core.records.store_file import FILE_NAME
from ...core.sdk.logs.exchanges import why_unmeasured
from ...core.sdk.logs.json_values import parts_of
from ...core.sdk.logs.runs import UNKNOWN
from ...core.sdk.logs.structure import first_object, holds, text_of
from .columns import Columns
from .columns_csv import ColumnsCsv, with_columns
from .labels import Labels, labelled, labels_for, read_labels, write_labels
from .packed import Plain, packed_with, unpacked

IMPORTED = "imported"
_COPY_PARTS = ("raw", IMPORTED, "experiment", "parser", "digest", "name")

Parsers = Mapping[str, type[LogParser]]
Refuse = Callable[[Path, str], None]
"""Called with a file that is not taken in, and why; one line."""


def label(parser: type[LogParser]) -> str:
    """Parser and version, as ``Run.parser`` records it."""
    return f"{parser.name}/{parser.version}"


@dataclass(frozen=True, slots=True)
class Intake:
    """What is imported, and as what.

    Attributes:
        paths: files, and folders that are walked in sorted order.
        experiment: its name in the store.
        log_format: name of the parser that all files are for; None asks every parser.
        columns: what the columns of the files are, which are CSV then; the copies say so in their first line.
        labels: what is known of the runs beside what their logs have; see ``parse_labels``.
    """

    paths: Sequence[Path] = ()
    experiment: str = defaults.IMPORT_EXPERIMENT
    log_format: str | None = None
    columns: Columns | None = None
    labels: Labels = field(default_factory=dict)


def take_in(folder: Path, intake: Intake, parsers: Parsers, refuse: Refuse) -> list[tuple[Path, Path]]:
    """Copy every file of a known format into ``folder``; a file copied before is left as it is.

    Args:
        folder: the output folder.
        intake: what to copy; what is compressed or in a zip is unpacked.
        parsers: whom to ask.
        refuse: told of each file that is not taken in.

    Returns:
        The files that were taken in, each with its copy; a page of several formats with a copy for each.
    """
    taken: list[tuple[Path, Path]] = []
    labelled_as: dict[Path, Labels] = {}
    place = folder / "raw" / IMPORTED / intake.experiment

    def take(file: Plain) -> None:
        check_file(file.path)
        if intake.columns is not None:
            data, formats = with_columns(file.path, intake.columns), [ColumnsCsv.name]
        else:
            formats = [intake.log_format] if intake.log_format else recognise(file.path, parsers)
            data = file.path.read_bytes()
        labels = labels_for(file.origin.with_name(file.path.name), intake.labels)
        for log_format in formats:
            copy = _copy(data, file.path.name, place / log_format)
            if labelled_as.setdefault(copy, labels) != labels:
                raise RawLogError(f"the same content as a file that was labelled {_shown(labelled_as[copy])}")
            if labels:
                write_labels(copy, labels)
            taken.append((file.origin, copy))

    for file in _plain_files(intake.paths, folder, refuse):
        try:
            take(file)
        except (DecodebenchError, OSError) as error:
            refuse(file.origin, str(error).replace(str(file.path), str(file.origin)))
    return taken


def _plain_files(paths: Sequence[Path], folder: Path, refuse: Refuse) -> Iterator[Plain]:
    """Yield every file, unpacked as long as it is looked at."""
    for path in paths:
        files = _files(path, folder)
        if not files:
            refuse(path, "no file in it")
        for file in files:
            try:
                check_file(file)
                with unpacked(file) as plain:
                    yield from plain
            except (DecodebenchError, OSError) as error:
                refuse(file, str(error))


def _shown(labels: Labels) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def _files(path: Path, folder: Path) -> list[Path]:
    """List what the user names; the logs and the store of the output folder itself are not imported again."""
    if not path.is_dir():
        return [path]
    raw, store = (folder / "raw").resolve(), (folder / FILE_NAME).resolve()
    own = (store, store.with_name(FILE_NAME + ".wal"))
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return [file for file in files if not file.resolve().is_relative_to(raw) and file.resolve() not in own]


def check_file(path: Path) -> None:
    """Refuse what no parser could read.

    Raises:
        RawLogError: it is no file, empty, larger than any log, or its name cannot be told.
    """
    if not path.is_file():
        raise RawLogError("not a file" if path.exists() else "no such file")
    if not path.name.isprintable():  # also bytes that are no UTF-8, which neither the store nor JSON can hold
        raise RawLogError("its name has characters that cannot be printed")
    size = path.stat().st_size
    if not size:
        raise RawLogError("empty")
    if size > defaults.IMPORT_LIMIT_BYTES:
        limit = defaults.IMPORT_LIMIT_BYTES // 10**6
        raise RawLogError(f"{size // 10**6} MB, more than the {limit} MB that are read of another tool's log")


def recognise(path: Path, parsers: Parsers) -> list[str]:
    """Return the names of the parsers whose format a file has: one, or several whose formats share a page of text.

    Raises:
        RawLogError: none recognises it, or several of which one claims the whole file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    found, failed = [], []
    for name, parser in sorted(parsers.items()):
        try:
            if parser().matches(path, head):
                found.append(name)
        except Exception as error:  # noqa: BLE001 - the plugin boundary: a bad parser must not stop the others
            failed.append(f"; parser {label(parser)} failed: {described(error)}")
    whole = [name for name in found if not parsers[name].within_pages]
    if len(whole) == 1 and len(found) > 1 and first_object(path):
        pages = {name: parsers[name] for name in found if name not in whole}
        found = sorted([*whole, *_beside_json(path, pages)])
    if whole and len(found) > 1 and not (len(whole) == 1 and first_object(path)):
        raise RawLogError(f"recognised as {' and as '.join(found)}; name one with --format")
    if not found:
        raise RawLogError(f"not a log of a known format{_hint(path, head)}" + "".join(failed))
    return found


def _beside_json(path: Path, parsers: Parsers) -> list[str]:
    """Return the names of the parsers that recognise what is around the objects of a page, not a text within one."""
    pieces = (part.source for part in parts_of(text_of(path)) if part.content is None)
    data = "\n".join(pieces).encode("utf-8", "replace")
    with TemporaryDirectory(prefix="decodebench-") as folder:
        around = Path(folder) / path.name
        around.write_bytes(data)
        return [name for name, parser in parsers.items() if parser().matches(around, data[:HEAD_BYTES])]


def _hint(path: Path, head: bytes) -> str:
    """Return what to do about a file that no parser recognises."""
    if holds(path, head, "type", "schema", "cell_id", "round"):
        return "; it is one of decodebench's own, which `decodebench collate FOLDER` reads where they lie"
    if path.suffix.lower() in (".csv", ".tsv"):
        return "; say with --columns what its columns are"
    if name := packed_with(head):
        return f"; it is packed with {name}: unpack it first"
    return f": {reason}" if (reason := why_unmeasured(text_of(path))) else ""


def _copy(data: bytes, name: str, parent: Path) -> Path:
    target = parent / hashlib.sha256(data).hexdigest()[:12] / name
    if not (target.is_file() and target.read_bytes() == data):
        write_whole(target, data, parent)  # not in target's own folder, where a copy cut short would be read
    return target


def copies(folder: Path) -> Iterator[Path]:
    """Every path where a copy may lie."""
    return (folder / "raw" / IMPORTED).glob("*/*/*/*")


def part_of_copy(name: str, part: Literal["experiment", "parser"]) -> str:
    """Return what a copy's path, relative to the output folder, says of it."""
    return Path(name).parts[_COPY_PARTS.index(part)]


def read(
    path: Path,
    source: str,
    parser: type[LogParser],
    experiment: str = defaults.IMPORT_EXPERIMENT,
    plugin: PluginRecord | None = None,
) -> list[RawLog]:
    """Read all runs of a copied file.

    Args:
        path: the copy.
        source: what to record as its name, relative to the output folder.
        parser: the parser of its format.
        experiment: what the runs belong to.
        plugin: what provided the parser.

    Raises:
        RawLogError: it cannot be read as that format, or the parser fails on it.
    """
    by = {"parser_plugin": plugin.origin, "parser_plugin_revision": plugin.revision} if plugin else {}
    logs: dict[str, RawLog] = {}
    labels = read_labels(path)
    try:
        for record in parser().read(path):
            if isinstance(record, Run):
                if record.run_id in logs:
                    raise RawLogError(f"{path}: run {record.run_id} is in the file twice")
                about = {"source_format": parser.name, "source_file": source, "parser": label(parser), **by}
                run = labelled(record, labels).model_copy(update={"experiment": experiment, **about})
                apart_by = path.parent.name if run.model == UNKNOWN and not labels else None
                logs[record.run_id] = RawLog(_placed(run, apart_by), problem=_problem(record))
            elif record.run_id not in logs:
                raise RawLogError(f"{path}: a sample or step of run {record.run_id!r} comes before that run")
            else:
                log = logs[record.run_id]
                (log.samples if isinstance(record, Sample) else log.steps).append(record)  # type: ignore[arg-type]
    except (DecodebenchError, OSError, MemoryError):
        raise
    except Exception as error:  # the plugin boundary: a bad parser becomes the problem of the file
        raise RawLogError(f"{path}: parser {label(parser)} failed: {described(error)}") from error
    if not logs:
        raise RawLogError(f"{path}: no run in it")
    return list(logs.values())


def _placed(run: Run, apart_by: str | None) -> Run:
    """Give a run its place among others: runs that agree in every condition are rounds of one cell.

    Logs of a model that nobody names are kept apart by their content, for nothing shows that they agree.
    """
    if apart_by is not None:
        run = run.model_copy(update={"conditions": {**run.conditions, "log": apart_by}})
    identity = hash_of(conditions_of(run))
    return run.model_copy(update={"cell_id": identity, "conditions_hash": identity})


def _problem(run: Run) -> str | None:
    return run.reason if run.status == "incomplete" else None
