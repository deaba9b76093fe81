"""Whether a cell can work: target, draft, options and sampling compared with one another, from configuration files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...core.contract.preflight import PlannedCell, Preflight
from ...core.sdk.checkpoint import check_headers
from ...core.sdk.torch_layers.causal_lm import read_config
from .candidates import clamped_options
from .draft_config import DraftConfig
from .inert import inert_options
from .options import DFlashOptions


def preflight(cell: PlannedCell[DFlashOptions]) -> Preflight:
    """Refuse what cannot work and say what will be done in another way than was asked for.

    Raises:
        ModelError: target or draft cannot be used, or do not belong together; names file, key and value.
    """
    options, temperature = cell.options, cell.workload.temperature
    target = read_config(cell.model.path)
    for model in (cell.model, *cell.model.companions.values()):
        check_headers(model.path)
    errors = (*_of_sampling(options, temperature), *_of_batch(options, cell.workload.batch_size), *_of_draft(cell))
    # Greedy drafts are kept where the target chooses the same.
    inexact = None if options.dtype in ("float32", "float64") else f"dtype = {options.dtype!r} rounds"
    is_our_loop = options.compat == "none" and not options.round_block_sizes
    found = Preflight(errors, inert=inert_options(options), inexact=inexact, lacks=() if is_our_loop else ("depth",))
    if errors:
        return found
    if options.block_size == 1:
        return found
    draft = DraftConfig.read(cell.model.companions["dflash"].path)
    draft.check_target(target, cell.model.path / "config.json")
    notes = (*clamped_options(options), *_beyond_training(options, draft), *_unused_rule(options, temperature))
    return replace(found, notes=notes)


def _of_draft(cell: PlannedCell[DFlashOptions]) -> Iterator[str]:
    if cell.options.block_size != 1 and "dflash" not in cell.model.companions:
        yield f"no draft is known for {cell.model.name!r}: give one with --set dflash.draft=NAME_OR_PATH"


def _of_sampling(options: DFlashOptions, temperature: float) -> Iterator[str]:
    if options.candidate_mode != "none" and temperature > 0:
        yield f"candidate_mode = {options.candidate_mode!r} needs temperature = 0, not {temperature:g}"
    if options.round_block_sizes and temperature == 0:
        yield f"round_block_sizes = {list(options.round_block_sizes)} samples: temperature = 0 must be above 0"


def _of_batch(options: DFlashOptions, batch_size: int) -> Iterator[str]:
    singles = {
        "candidate_mode": options.candidate_mode != "none",
        "round_block_sizes": bool(options.round_block_sizes),
        "compat": options.compat != "none",
    }
    for name, is_set in singles.items():
        if is_set and batch_size > 1:
            yield f"{name} = {getattr(options, name)!r} decodes one prompt at a time: batch_size = {batch_size}"


def _beyond_training(options: DFlashOptions, draft: DraftConfig) -> Iterator[str]:
    largest = max(options.candidate_block_sizes) if options.scheduler != "fixed" else options.block_size
    if largest is not None and largest > draft.block_size:
        yield f"blocks of {largest} are longer than those that the draft was trained with ({draft.block_size})"


def _unused_rule(options: DFlashOptions, temperature: float) -> Iterator[str]:
    if options.acceptance == "rejection" and temperature == 0:
        yield "acceptance = 'rejection' is for temperature above 0: greedy decoding compares with the target's choice"
