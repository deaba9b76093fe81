"""Whether a cell can work: checkpoint, options and workload compared with one another, from small files alone."""

from __future__ import annotations

from collections.abc import Iterator

from ... import BackendError
from ...core.contract.preflight import PlannedCell, Preflight
from ...core.sdk.checkpoint import check_headers
from .full_attention import FullAttentionPlan
from .layer_reuse import subset_layers
from .options import FastDllmOptions
from .variant import Variant

_CACHES = {"llada": ("none", "prefix", "dual"), "dream": ("none", "prefix", "dual"), "v2": ("block", "sub-block")}
_ONLY_V2 = ("small_block_size", "reuse", "reuse_k", "layer_subset")
_ONLY_LLADA = ("cfg_scale", "logits_eos_inf", "confidence_eos_eot_inf")
_ONLY_DREAM = ("alg_temp",)
_FOREIGN = {
    "llada": (*_ONLY_V2, *_ONLY_DREAM),
    "dream": (*_ONLY_V2, *_ONLY_LLADA),
    "v2": ("gen_length", "steps", *_ONLY_LLADA, *_ONLY_DREAM),
}
"""Options that do not exist for a variant."""


def preflight(cell: PlannedCell[FastDllmOptions]) -> Preflight:
    """Refuse what cannot work and say what a reader of the result must know.

    Raises:
        ModelError: the checkpoint is of another architecture, its mask id is outside the vocabulary, or an option needs
            an end token that the model lacks.
    """
    options, folder = cell.options, cell.model.path
    variant = Variant.read(folder)
    check_headers(folder)
    variant.mask(options.mask_id, folder)
    block = options.block_length or variant.block_length
    errors = tuple(_of_variant(variant, options))
    if variant.name == "v2":
        errors += tuple(_of_blocks(options, block, cell.workload.batch_size))
        notes = (*_other_block(variant, block), *_reuse_notes(variant, options)) if not errors else ()
    else:
        limit = cell.workload.token_limit
        try:
            plan = FullAttentionPlan.of(options, limit, block_length=block, is_shifted=variant.is_shifted)
            notes = (*_rounded(plan, limit), *_other_costs(plan))
        except BackendError as error:
            errors, notes = (*errors, str(error)), ()
    if not errors and (options.scoring == "published" or options.logits_eos_inf or options.confidence_eos_eot_inf):
        variant.end_id(folder)
    return Preflight(errors, notes, _inert_options(options))


def _inert_options(options: FastDllmOptions) -> dict[str, str]:
    """Return the options that another one silences, with the reason."""
    inert = {"scoring": "where answers are generated"}
    if options.reuse == "published-january":
        inert["cache"] = "with reuse = 'published-january', which evaluates whole blocks"
    if options.threshold is not None or options.factor is not None:
        inert["steps"] = f"with {'factor' if options.factor is not None else 'threshold'}"
    if options.threshold is not None and options.factor is not None:
        inert["threshold"] = "with factor"
    return inert


def _of_variant(variant: Variant, options: FastDllmOptions) -> Iterator[str]:
    defaults = FastDllmOptions()
    for name in _FOREIGN[variant.name]:
        value = getattr(options, name)
        if value != getattr(defaults, name):
            yield f"{name} = {value!r} does not exist for a {variant.name} model"
    known = _CACHES[variant.name]
    if options.cache is not None and options.cache not in known:
        yield f"cache = {options.cache!r} does not exist for a {variant.name} model: {', '.join(known)}"
    if options.remasking == "origin" and (variant.name, options.cache) != ("dream", "none"):
        yield "remasking = 'origin' is that of dream models without a cache: give cache=none"
    if options.scoring == "published" and variant.name != "v2":
        yield f"scoring = 'published' is that of v2 models; this is a {variant.name} model"


def _of_blocks(options: FastDllmOptions, block: int, batch_size: int) -> Iterator[str]:
    if options.small_block_size is not None and options.small_block_size > block:
        yield f"small_block_size = {options.small_block_size} is larger than a block of {block}"
    if options.reuse in ("published", "residual"):
        if options.cache != "sub-block":
            yield f"reuse = {options.reuse!r} needs cache = 'sub-block': it skips narrow forwards"
        if batch_size > 1:
            yield f"reuse = {options.reuse!r} decodes one prompt at a time: batch_size = {batch_size}"


def _other_block(variant: Variant, block: int) -> Iterator[str]:
    if block != variant.block_length:
        yield f"block_length = {block}: the model was trained with blocks of {variant.block_length}"


def _reuse_notes(variant: Variant, options: FastDllmOptions) -> Iterator[str]:
    if options.layer_subset is None:
        return
    layers = subset_layers(options.layer_subset, variant.config.layers)
    span = f"layers {layers[0]} to {layers[-1]} of {variant.config.layers}"
    if options.reuse_k == 1:
        yield f"reuse_k = 1 recomputes every step: layer_subset = {options.layer_subset!r} changes nothing"
    elif options.reuse == "published":
        yield (
            f"reuse = 'published' skips {span}; whichever layers those are, the logits are the old ones: "
            "layer_subset cannot change the text, and reuse = 'stale-logits' gives the same for nothing"
        )
    else:
        yield f"reuse = 'residual' skips {span}; it is a scheme of decodebench's own, not the published one"


def _other_costs(plan: FullAttentionPlan) -> Iterator[str]:
    options = plan.options
    if options.cfg_scale:
        yield f"cfg_scale = {options.cfg_scale:g}: every forward runs twice, with the prompt and without"
    if plan.is_shifted and plan.has_table and options.cache != "none" and options.steps == plan.blocks:
        yield (
            f"steps = {options.steps} is one step per block: with a cache the first one fills a single position, so a "
            "second fills the rest (the published code leaves them masked)"
        )


def _rounded(plan: FullAttentionPlan, limit: int) -> Iterator[str]:
    if plan.length != limit and plan.options.gen_length is None:
        yield f"a canvas of {plan.length} masks for {limit} tokens: whole blocks of {plan.block_length}"
