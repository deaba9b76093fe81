"""Checks of what happens at the end and when something is wrong: memory given back, errors that can be acted on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ..contract.model import ResolvedModel
from .check import check
from .memory import growth_per_cycle
from .outcome import Broken, NotApplicable
from .subject import Subject

_KEPT_SHARE = 0.5
_WEIGHT_FILES = ("*.safetensors", "*.gguf", "*.bin")


@check("Drop every reference to the model in close: attributes, compiled graphs, caches of the engine, worker threads.")
def close_frees_memory(subject: Subject) -> str:
    """Repeatedly loading, generating and closing in one process, with the closed instances kept, leaves less than half
    of the weights in memory each time.
    """
    if subject.backend.residence != "in-process":
        raise NotApplicable(f"its model is elsewhere: {subject.backend.residence}")
    if not subject.facts.weight_bytes:
        raise NotApplicable("it says that its model has no weights")
    if not subject.cell.device.startswith("cpu"):
        raise NotApplicable(f"only host memory is watched, and the model is on {subject.cell.device}")
    sizes = [line["resident_bytes"] for line in subject.ask("memory")]
    growth, weights = growth_per_cycle(sizes), subject.facts.weight_bytes
    told = f"{growth / 2**20:.1f} MiB kept per cycle, the weights have {weights / 2**20:.1f} MiB"
    if growth >= _KEPT_SHARE * weights:
        raise Broken(told)
    return told


@check("Raise ModelError, BackendError or UsageError with the file, device or value in its text.")
def errors_name_their_cause(subject: Subject) -> str:
    """Damaged weights, a missing device and an empty prompt are refused with an error of decodebench.core.errors that
    names the file, the device or the prompt; for a remote backend only the prompt.
    """
    reads_weights = bool(subject.facts.weight_bytes) and subject.backend.residence != "remote"
    with tempfile.TemporaryDirectory(prefix="decodebench-damaged-") as scratch:
        damaged = _damaged(subject.cell.model, Path(scratch)) if reads_weights else None
        lines = subject.ask("refusals", damaged)
    for line in lines:
        if line["error"] is None:
            raise Broken(f"{line['what']}: accepted without an error")
        if not line["is_declared"]:
            raise Broken(f"{line['what']}: {line['error']}: {line['text'][:200]}, which is not a declared error")
        if not line["names_cause"]:
            raise Broken(f"{line['what']}: {line['error']} does not name it: {line['text'][:200]}")
    return "; ".join(f"{line['what']}: {line['error']}" for line in lines)


def _damaged(model: ResolvedModel, scratch: Path) -> ResolvedModel | None:
    """Copy a model with its weight files cut in half; None where it has none."""
    copy = scratch / "damaged-model"
    if model.path.is_file():
        copy = copy.with_suffix(model.path.suffix)
        shutil.copy2(model.path, copy)
        files = [copy]
    else:
        shutil.copytree(model.path, copy)
        files = [file for pattern in _WEIGHT_FILES for file in copy.glob(pattern)]
    for file in files:
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size // 2)
    if not files:
        return None
    return ResolvedModel(copy.name, copy, f"damaged-{model.content_hash}", model.architecture, model.companions)
