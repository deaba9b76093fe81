"""Measuring a bundle again, and saying whether the same came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....collate.comparison.reproduction import Reproduction, reproduction
from ....defaults import LAUNCHER
from ...errors import UsageError
from ...measure.machine.waiting import WhenBusy
from ..experiment import Experiment, Measurement, Reporter, planned
from ..results import open as open_results
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
    own = {"name": name, "allow_code_execution": allow_code_execution, "launcher": LAUNCHER}
    found = planned(folder / PLAN, own)
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
