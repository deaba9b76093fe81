"""Packing an experiment: plan, logs, environment and hashes of models and outputs, as a ZIP file."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ....collate.comparison.observations import Cell, Round, load_cells
from ...errors import UsageError
from ...files import whole_file
from ...foreign_text import path_part
from ...records.raw_log import PART_SUFFIX, SUFFIX
from ..plan_again import plan_again
from ..plugins import installed_plugins
from ..results import Results
from .inputs import inputs_of
from .manifest import ENVIRONMENT, FORMAT, MANIFEST, PLAN, Manifest, PackedCell, PackedFile
from .privacy import Cleaner

_CHUNK_BYTES = 2**20
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # of every file, so that equal content gives equal bundles


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: the file.
        manifest: what is in it.
        left_out: logs without an end, and those of other tools, which are not in it.
        missing: a line for each file that the plan reads and that is not in it, with the reason.
    """

    path: Path
    manifest: Manifest
    left_out: tuple[str, ...]
    missing: tuple[str, ...] = ()


def bundle(results: Results, to: str | Path, experiment: str | None = None, *, with_names: bool = False) -> Bundle:
    """Write an experiment into one file, from which ``rerun`` measures it again.

    It has the plan, the trace or the problems that it reads from a file, every log of a finished round, the
    environment, and the hashes of models and outputs; neither weights nor what engines printed. What looks like a
    secret is replaced.

    Args:
        results: of a folder, open.
        to: the file, whose name ends in ``.zip``; what is there is replaced.
        experiment: which; None: the latest.
        with_names: keep names of hosts and users, and their folders.

    Raises:
        UsageError: an unknown experiment, one that no plan made, or another ending.
        DecodebenchError: the file cannot be written.
    """
    path = Path(to)
    if path.suffix != ".zip":
        raise UsageError(f"a bundle is a ZIP file: {path} must end in .zip", code="wrong-suffix")
    name = results.choose(experiment)
    cleaner = Cleaner(anonymise=not with_names)
    cells = load_cells(results.store, name)
    inputs = list(inputs_of(cells[0].run, installed_plugins(), Cleaner(anonymise=False)))
    packed = [one for one in inputs if one.reason is None]
    texts = {one.setting: one.text(one.place) for one in packed}
    plan = plan_again(results.store, results.folder, name, texts)
    if not plan:
        raise UsageError(
            f"experiment {name!r} was imported: no plan made it, so it cannot be measured again", code="not-supported"
        )
    logs, left_out = _logs(results.folder, cells)
    for cell in cells:
        for run in (*(one.run for one in cell.rounds), *cell.failed):
            cleaner.see(run["hostname"])
    with whole_file(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {place: _add(archive, place, _cleaned(log, cleaner)) for place, log in sorted(logs.items())}
        files |= {one.place: _add(archive, one.place, _parts(one.file)) for one in packed}
        files[PLAN] = _add(archive, PLAN, _clean_toml(plan, cleaner))
        environment = json.dumps({"type": "run", "environment": cells[0].run["environment"]}).encode() + b"\n"
        files[ENVIRONMENT] = _add(archive, ENVIRONMENT, iter([cleaner.line(environment)]))
        manifest = Manifest(
            format=FORMAT,
            decodebench=version("decodebench"),
            experiment=name,
            hosts=tuple(sorted(cleaner.hosts)),
            is_anonymised=not with_names,
            secrets_removed=cleaner.secrets,
            cells={cell.cell_id: _described(cell, cleaner) for cell in cells},
            files=files,
        )
        _add(archive, MANIFEST, iter([manifest.model_dump_json(indent=1).encode()]))
    missing = tuple(f"{one.file}: {one.reason}" for one in inputs if one.reason is not None)
    return Bundle(path, manifest, left_out, missing)


def output_hash(one: Round) -> str:
    """Return a hash over the outputs of a round, by prompt: ids where they were recorded, else text."""
    answers = sorted((key, _output(row)) for key, row in one.answers().items())
    return hashlib.sha256(json.dumps(answers).encode()).hexdigest()


def _output(sample: Mapping[str, Any]) -> list[Any]:
    return [sample["output_ids"], None if sample["output_ids"] is not None else sample["text"]]


def _described(cell: Cell, cleaner: Cleaner) -> PackedCell:
    own = ("backend", "backend_version", "plugin", "plugin_revision", "model", "model_hash")
    about = {"type": "run", "environment": cell.run["environment"], **{name: cell.run[name] for name in own}}
    clean = json.loads(cleaner.line(json.dumps(about).encode()))
    outputs = dict.fromkeys(map(output_hash, cell.rounds))
    return PackedCell(**{name: clean[name] for name in own}, rounds=len(cell.rounds), outputs=tuple(outputs))


def _logs(folder: Path, cells: list[Cell]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the logs of an experiment by their place in a bundle, and the files that are left out."""
    found: dict[str, Path] = {}
    left_out = []
    for cell in cells:
        for run in (*(one.run for one in cell.rounds), *cell.failed):
            name = str(run["source_file"])
            if run["source_format"] != "decodebench" or name.endswith(PART_SUFFIX):
                left_out.append(name)
            else:
                found[f"raw/{path_part(run['backend'])}/{path_part(run['run_id'])}{SUFFIX}"] = folder / name
    return found, tuple(dict.fromkeys(left_out))


def _cleaned(log: Path, cleaner: Cleaner) -> Iterator[bytes]:
    with log.open("rb") as file:
        for line in file:
            yield cleaner.line(line)


def _parts(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(_CHUNK_BYTES), b"")


def _clean_toml(plan: str, cleaner: Cleaner) -> Iterator[bytes]:
    """Clean a plan line by line, each as the text of a run; a name of a model in it is as in the logs."""
    for line in plan.splitlines():
        yield json.loads(cleaner.line(json.dumps({"type": "run", "text": line}).encode()))["text"].encode() + b"\n"


def _add(archive: zipfile.ZipFile, place: str, content: Iterator[bytes]) -> PackedFile:
    entry = zipfile.ZipInfo(place, _LONG_AGO)
    entry.compress_type, digest, size = zipfile.ZIP_DEFLATED, hashlib.sha256(), 0
    with archive.open(entry, "w", force_zip64=True) as file:
        for part in content:
            digest.update(part)
            size += len(part)
            file.write(part)
    return PackedFile(bytes=size, sha256=digest.hexdigest())
