"""Options of the backend, in groups: numbers, canvas, commit rule, cache, reuse."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ...core.contract.options import BackendOptions
from ...core.records.workload import LATER

DEFAULT_THRESHOLD = 0.9
"""Where no commit rule is asked for: the threshold of the published runs."""

Cache = Literal["none", "prefix", "dual", "block", "sub-block"]
Reuse = Literal["none", "published", "published-january", "stale-logits", "residual"]
Subset = Literal["first", "middle", "last"]


def _later(default: Any, description: str, **bounds: Any) -> Any:  # noqa: ANN401 - as Field
    """Declare an option that came after others: at its default it is not in a cell's identity, so ids stay."""
    return Field(default, description=description, json_schema_extra=LATER, **bounds)


class FastDllmOptions(BackendOptions):
    """What changes the speed, the numbers or the decoding of Fast-dLLM."""

    # numbers
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = Field(
        "float32", description="number format of weights and activations"
    )
    compile: bool = Field(False, description="torch.compile; needs a C++ compiler")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")
    # canvas
    block_length: int | None = Field(
        None,
        ge=1,
        description="tokens per block; None: 32 (llada, dream), or what the model was trained with (v2)",
    )
    small_block_size: int | None = Field(
        None, ge=1, description="v2: tokens per sub-block, filled one after the other; None: 8, at most a block"
    )
    gen_length: int | None = Field(
        None,
        ge=1,
        description="llada, dream: masks behind the prompt; None: max_new_tokens, rounded up to whole blocks",
    )
    mask_id: int | None = Field(None, ge=0, description="id of the mask token; None: what the model's files say")
    # commit rule
    threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description=f"commit every position this confident, the best one always; None: {DEFAULT_THRESHOLD} unless "
        "steps or factor is given; 1 is one token per step",
    )
    factor: float | None = Field(
        None, gt=0, description="commit the n best while the n-th is at least 1 - factor / (n + 1)"
    )
    steps: int | None = Field(
        None, ge=1, description="llada, dream: steps over all blocks, each committing its equal share of a block"
    )
    remasking: Literal["low_confidence", "random", "entropy", "topk_margin", "origin"] = Field(
        "low_confidence",
        description="what ranks positions: probability, chance, negative entropy, or p1 - p2; origin (dream, steps): "
        "each position is committed by chance, as likely as the step's share of the time left",
    )
    alg_temp: float = _later(
        0.0, "dream, steps: positions are drawn by softmax(confidence / alg_temp); 0: the most confident ones", ge=0
    )
    # what llada proposes
    cfg_scale: float = _later(
        0.0, "llada: classifier-free guidance, free + (1 + scale) (given - free); free: the prompt masked", ge=0
    )
    logits_eos_inf: bool = _later(False, "llada: never propose the end token")
    confidence_eos_eot_inf: bool = _later(
        False, "llada: commit end and end-of-turn tokens last, and rank the others as if there were none"
    )
    # cache
    cache: Cache | None = Field(
        None,
        description="llada, dream: none, prefix or dual; v2: block, or sub-block (which has block); "
        "None: prefix, or block",
    )
    # scoring of choices
    scoring: Literal["reading-order", "published"] = Field(
        "reading-order",
        description="where choices are scored: every token given those before it, an evaluation each; published (v2): "
        "the first token alone, the rest of the choice visible, one evaluation",
    )
    # reuse of earlier work within a block (v2)
    reuse: Reuse = Field(
        "none",
        description="published: layers of the subset give their old outputs in narrow steps (code of February 2026); "
        "published-january: the block's old logits in all but every k-th step (code of the published runs); "
        "stale-logits: as published, for nothing; residual: layers of the subset add their old change, our own",
    )
    reuse_k: int = Field(1, ge=1, description="with reuse: recompute every k-th step of a block")
    layer_subset: Subset | None = Field(None, description="with reuse published or residual: which layers")

    @property
    def confidence_threshold(self) -> float | None:
        """The threshold in force; None where another rule is."""
        if self.factor is not None:
            return None
        if self.threshold is None and self.steps is None:
            return DEFAULT_THRESHOLD
        return self.threshold

    @model_validator(mode="after")
    def _check(self) -> FastDllmOptions:
        is_by_steps = self.confidence_threshold is None and self.factor is None
        if self.remasking in ("entropy", "origin") and not is_by_steps:
            raise ValueError(
                f"remasking = {self.remasking!r} gives no shares that a threshold or factor could judge: give steps"
            )
        if self.alg_temp and (self.remasking == "origin" or not is_by_steps):
            raise ValueError(
                f"alg_temp = {self.alg_temp:g} draws a step's share of the positions: give steps, not origin"
            )
        if self.confidence_eos_eot_inf and self.remasking != "low_confidence":
            raise ValueError("confidence_eos_eot_inf ranks by probability: remasking must be low_confidence")
        needs_layers = self.reuse in ("published", "residual")
        if needs_layers and self.layer_subset is None:
            raise ValueError(f"reuse = {self.reuse!r} needs layer_subset: first, middle or last")
        if self.reuse == "none" and self.reuse_k > 1:
            raise ValueError(
                f"reuse_k = {self.reuse_k} needs reuse: published, published-january, stale-logits, residual"
            )
        if not needs_layers and self.layer_subset is not None:
            raise ValueError(f"layer_subset = {self.layer_subset!r} belongs to reuse = published or residual")
        if self.gen_length is not None and self.block_length is not None and self.gen_length % self.block_length:
            raise ValueError(f"gen_length = {self.gen_length} is not a multiple of block_length = {self.block_length}")
        return self
