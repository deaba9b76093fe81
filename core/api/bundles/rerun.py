"""Measuring a bundle again, and saying whether the same came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ....collate.comparison.reproduction import Reproduction, reproduction
from ....defaults import LAUNCHER
from ...errors import UsageError
from ...measure.cells import Cell
from ...measure.machine.waiting import WhenBusy
from ...measure.plan import load_toml
from ...records.raw_log import SUFFIX, RawLogError, parse_line
from ..experiment import Experiment, Measurement, Reporter, planned
from ..plugins import installed_plugins
from ..results import open as open_results
from .inputs import inputs_in
from .manifest import MANIFEST, PLAN, Manifest
from .privacy import hidden
from .unpack import read_manifest, unpack

_AGAIN = "rerun"


@dataclass(frozen=True, slots=True)
class Rerun:
    """A bundle that was measured again.

    Attributes:
        experiment: the new measurement, in a folder that holds the old one too.
        reproduction: both compared; None where the new one has no finished round.
    """

    experiment: Experiment
    reproduction: Reproduction | None


def rerun(
    bundle: str | Path,
    output: str | Path,
    *,
    allow_code_execution: bool = False,
    when_busy: WhenBusy | None = None,
    progress: Reporter = None,
) -> Rerun:
    """Unpack a bundle, measure its plan again and compare; a call that was cut short goes on where it was.

    Args:
        bundle: the file.
        output: a folder that is not there yet, or that of an earlier call with the same bundle.
        allow_code_execution: let its task run code that a model wrote; a bundle cannot allow that by itself.
        when_busy, progress: as ``run`` takes them.

    Raises:
        UsageError: it is no bundle, or what it measured is not what its plan would measure here, such as a model whose
            weights differ; the folder is of something else.
        ModelError: a model cannot be found.
    """
    folder = Path(output)
    manifest = _unpacked(Path(bundle), folder)
    name = f"{manifest.experiment}.{_AGAIN}"
    # The launcher is that of this machine, whatever cluster the bundle is from.
    here = {"launcher": LAUNCHER, "across_hosts": False}
    workload = load_toml(folder / PLAN).get("workload")
    inputs = inputs_in(workload, installed_plugins(), folder) if isinstance(workload, dict) else {}
    own = {"name": name, "allow_code_execution": allow_code_execution, **here, **inputs}
    found = planned(folder / PLAN, own)
    if "task" in inputs:
        found = _with_packed_ids(found, folder)
    _check_cells(found, manifest)
    experiment = found.run(folder, when_busy=when_busy, progress=progress)
    if experiment.comparison is None:
        return Rerun(experiment, None)
    with open_results(folder) as results:
        sql = "SELECT DISTINCT hostname FROM runs WHERE experiment = ?"
        hosts = {hidden(host or "") for (host,) in results.query(sql, [experiment.name]).rows}
        is_same_host = hosts == set(manifest.hosts)
        made = reproduction(results.store, manifest.experiment, experiment.name, is_same_host=is_same_host)
    return Rerun(experiment, made)


def _unpacked(bundle: Path, folder: Path) -> Manifest:
    if not folder.exists():
        try:
            return unpack(bundle, folder)
        except OSError as error:
            raise UsageError(f"cannot write {folder}: {error.strerror or error}", code="write-failed") from error
    manifest = read_manifest(bundle)
    try:
        kept = (folder / MANIFEST).read_text(encoding="utf-8")
    except OSError:
        kept = ""
    if kept != manifest.model_dump_json():
        raise UsageError(f"{folder} exists already and is not of this bundle: give another --output", code="path-taken")
    return manifest


def _with_packed_ids(found: Measurement, folder: Path) -> Measurement:
    """Give cells whose problems come from the bundle the ids in it: an id covers the path, which was another one.

    A cell whose weights, options or problems are others keeps its own id, and is refused.
    """
    ids = {}
    for log in sorted((folder / "raw").glob(f"*/*{SUFFIX}")):
        with suppress(RawLogError), log.open("rb") as file:
            head = parse_line(log, 1, file.readline())
            names = ("backend", "model_hash", "quantisation", "device", "options", "task_version")
            ids[json.dumps([head.get(name) for name in names], sort_keys=True)] = str(head.get("cell_id"))
    version = found.prompts.task_version

    def key(cell: Cell) -> str:
        model = cell.model.content_hash
        about = [cell.backend.name, model, cell.quantisation, cell.device, cell.expanded_options, version]
        return json.dumps(about, sort_keys=True)

    cells = [replace(cell, id=ids.get(key(cell), cell.id)) for cell in found.matrix.cells]
    return replace(found, matrix=replace(found.matrix, cells=cells))


def _check_cells(found: Measurement, manifest: Manifest) -> None:
    """Refuse to compare what is not the same: a cell's id covers weights, options, task and workload."""
    here: Mapping[str, Any] = {cell.id: cell for cell in found.matrix.cells}
    for cell_id, packed in manifest.cells.items():
        if cell_id in here:
            continue
        hashes = {cell.model.content_hash for cell in found.matrix.cells if cell.model.name == packed.model}
        if packed.model_hash is not None and hashes and packed.model_hash not in hashes:
            raise UsageError(
                f"model {packed.model!r} has different weights here: SHA-256 {sorted(hashes)[0][:16]}..., in the "
                f"bundle {packed.model_hash[:16]}...",
                code="bundle-differs",
            )
        raise UsageError(
            f"a cell of backend {packed.backend!r} (plugin {packed.plugin}) cannot be reproduced here: its options, "
            "its task or their defaults differ from those of the bundle; install the versions of its environment.json",
            code="bundle-differs",
        )
