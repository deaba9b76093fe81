"""Whether a cell can work: target, draft, options and sampling held against one another, from configuration files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ... import UsageError
from ...core.contract.model import ResolvedModel
from ...core.sdk.torch_layers.causal_lm import read_config
from .candidates import clamped_options
from .draft_config import DraftConfig
from .options import DFlashOptions

if TYPE_CHECKING:
    from ...core.records.workload import Workload


def check_cell(model: ResolvedModel, options: DFlashOptions, workload: Workload) -> Sequence[str]:
    """Refuse what cannot work and return what will be done in another way than was asked for.

    Raises:
        UsageError: options that do not go with this sampling or batch size, or no draft is known.
        ModelError: target or draft cannot be used, or do not belong together; names file, key and value.
    """
    _check_sampling(options, workload.temperature)
    _check_batch(options, workload.batch_size)
    target = read_config(model.path)
    if options.block_size == 1:
        return []
    draft_model = model.companions.get("dflash")
    if draft_model is None:
        raise UsageError(f"dflash: no draft is known for {model.name!r}: give one with --set dflash.draft=NAME_OR_PATH")
    draft = DraftConfig.read(draft_model.path)
    draft.check_target(target, model.path / "config.json")
    return [*clamped_options(options), *_beyond_training(options, draft), *_unused_rule(options, workload.temperature)]


def _check_sampling(options: DFlashOptions, temperature: float) -> None:
    if options.candidate_mode != "none" and temperature > 0:
        raise UsageError(f"candidate_mode = {options.candidate_mode!r} needs temperature = 0, not {temperature:g}")
    if options.round_block_sizes and temperature == 0:
        raise UsageError(
            f"round_block_sizes = {list(options.round_block_sizes)} samples: temperature = 0 must be above 0"
        )


def _check_batch(options: DFlashOptions, batch_size: int) -> None:
    singles = {
        "candidate_mode": options.candidate_mode != "none",
        "round_block_sizes": bool(options.round_block_sizes),
        "compat": options.compat != "none",
    }
    for name, is_set in singles.items():
        if is_set and batch_size > 1:
            raise UsageError(
                f"{name} = {getattr(options, name)!r} decodes one prompt at a time: batch_size = {batch_size}"
            )


def _beyond_training(options: DFlashOptions, draft: DraftConfig) -> Iterator[str]:
    largest = max(options.candidate_block_sizes) if options.scheduler != "fixed" else options.block_size
    if largest is not None and largest > draft.block_size:
        yield f"blocks of {largest} are longer than those that the draft was trained with ({draft.block_size})"


def _unused_rule(options: DFlashOptions, temperature: float) -> Iterator[str]:
    if options.acceptance == "rejection" and temperature == 0:
        yield "acceptance = 'rejection' is for temperature above 0: greedy decoding compares with the target's choice"
