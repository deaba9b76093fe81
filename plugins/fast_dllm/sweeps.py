"""Presets for the published two-stage design: how wide a block may be, then how many steps it needs."""

from __future__ import annotations

from typing import Any

from ... import UsageError
from ...core.contract.model import ResolvedModel
from ...core.contract.sweep import Sweep, SweepCells
from .variant import Variant

_LARGE = 1024  # width from which a model is real: the published lengths apply, and a smaller one gets fewer
_CANVAS, _SMALL_CANVAS = 256, 128
_STEP_BLOCK = 32
_THRESHOLD = 0.9


def _cell(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - options of the backend
    return {"backend": "fast-dllm", "options": options}


def _doubling(first: int, last: int) -> list[int]:
    return [first << at for at in range((last // first).bit_length())]


def blocks(model: ResolvedModel) -> SweepCells:
    """Stage 1: block lengths with a confidence threshold of 0.9; steps stay unset, since a threshold silences them."""
    variant = Variant.read(model.path)
    if variant.name == "v2":
        trained = variant.block_length
        lengths = sorted({*_doubling(min(4, trained), trained), trained})
        note = f"{model.name} is a v2 model: block lengths {_listed(lengths)}, up to the one that it was trained with"
        return SweepCells([_cell(block_length=length, threshold=_THRESHOLD) for length in lengths], [note])
    canvas, notes = _canvas(model, variant, "block lengths 4 to {canvas} in a canvas of {canvas} masks")
    cells = [_cell(block_length=length, gen_length=canvas, threshold=_THRESHOLD) for length in _doubling(4, canvas)]
    return SweepCells(cells, notes)


def steps(model: ResolvedModel) -> SweepCells:
    """Stage 2: blocks of 32 filled by quotas, from one step per block to one token per step.

    Raises:
        UsageError: a v2 model, which has no steps.
    """
    variant = Variant.read(model.path)
    if variant.name == "v2":
        raise UsageError(
            f"sweep 'steps': {model.name} is a v2 model, which has no number of steps; vary threshold",
            code="not-supported",
        )
    canvas, notes = _canvas(model, variant, "steps from one per block of 32 to {canvas} in a canvas of {canvas} masks")
    counts = _doubling(canvas // _STEP_BLOCK, canvas)
    return SweepCells([_cell(block_length=_STEP_BLOCK, gen_length=canvas, steps=count) for count in counts], notes)


def two_stages(model: ResolvedModel) -> SweepCells:
    """Both stages in one experiment.

    Raises:
        UsageError: a v2 model, which has no second stage.
    """
    first, second = blocks(model), steps(model)
    return SweepCells([*first.cells, *second.cells], [*first.notes, *second.notes])


def _canvas(model: ResolvedModel, variant: Variant, what: str) -> tuple[int, list[str]]:
    if variant.config.width >= _LARGE:
        return _CANVAS, []
    text = what.format(canvas=_SMALL_CANVAS)
    return _SMALL_CANVAS, [f"{model.name} is small: {text} instead of the published {_CANVAS}"]


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


SWEEPS = (
    Sweep(
        "block",
        "block lengths of a diffusion model at threshold 0.9",
        blocks,
        figures=("block_sweep",),
        exporter="diffusion-sweep",
    ),
    Sweep(
        "steps",
        "denoising steps of LLaDA and Dream in blocks of 32, by quotas",
        steps,
        figures=("step_sweep",),
        exporter="diffusion-sweep",
    ),
    Sweep(
        "two-stage",
        "both in one: one planned step per block at threshold 0.9, then blocks of 32 with more and more steps",
        two_stages,
        figures=("block_sweep", "step_sweep"),
        exporter="diffusion-sweep",
    ),
)
