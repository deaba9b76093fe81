"""Options of the backend, in groups: numbers, canvas, commit rule, cache, reuse."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ...core.contract.backend import BackendOptions

DEFAULT_THRESHOLD = 0.9
"""Where no commit rule is asked for: the threshold of the published runs."""

Cache = Literal["none", "prefix", "dual", "block", "sub-block"]
Reuse = Literal["none", "published", "stale-logits", "residual"]
Subset = Literal["first", "middle", "last"]


class FastDllmOptions(BackendOptions):
    """What changes the speed, the numbers or the decoding of Fast-dLLM."""

    # numbers
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = Field(
        "float32", description="number format of weights and activations"
    )
    compile: bool = Field(False, description="torch.compile; needs a C++ compiler")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default the physical cores we may use")
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
    remasking: Literal["low_confidence", "random", "entropy", "topk_margin"] = Field(
        "low_confidence", description="what ranks positions: probability, chance, negative entropy, or p1 - p2"
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
        description="published: layers of the subset give their old outputs; stale-logits: the same for nothing; "
        "residual: layers of the subset add their old change, a scheme of our own",
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
        if self.remasking == "entropy" and (self.confidence_threshold is not None or self.factor is not None):
            raise ValueError("remasking = 'entropy' gives no shares that a threshold or factor could judge: give steps")
        needs_layers = self.reuse in ("published", "residual")
        if needs_layers and self.layer_subset is None:
            raise ValueError(f"reuse = {self.reuse!r} needs layer_subset: first, middle or last")
        if self.reuse == "none" and self.reuse_k > 1:
            raise ValueError(f"reuse_k = {self.reuse_k} needs reuse: published, stale-logits or residual")
        if not needs_layers and self.layer_subset is not None:
            raise ValueError(f"layer_subset = {self.layer_subset!r} belongs to reuse = published or residual")
        if self.gen_length is not None and self.block_length is not None and self.gen_length % self.block_length:
            raise ValueError(f"gen_length = {self.gen_length} is no multiple of block_length = {self.block_length}")
        return self
