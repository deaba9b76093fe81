"""Options of the backend, in groups: numbers, loop, scheduler, seeding, candidates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ...core.contract.options import BackendOptions

DType = Literal["float32", "bfloat16", "float16", "float64"]
Share = Annotated[float, Field(ge=0, le=1)]


def _sorted_unique(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(values)))


BlockSizes = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1), AfterValidator(_sorted_unique)]


class DFlashOptions(BackendOptions):
    """What changes the speed, the numbers or the decoding of DFlash."""

    draft: str | None = Field(
        None, description="DFlash draft: a named model, path or Hub id; by default the model's own"
    )
    compat: Literal["none", "published", "published-original"] = Field(
        "none",
        description="published: the loop of AtharvRN/dflash, whose last block shrinks, with its faults (seeds one slot "
        "off, draft steps without context, a wasted tail cycle); published-original: that of z-lab/dflash, the "
        "authors' own, whose last block is whole",
    )
    # numbers
    dtype: DType = Field("float32", description="number format of weights and activations")
    compile: bool = Field(False, description="torch.compile for both networks; needs a C++ compiler")
    n_threads: int | None = Field(None, ge=1, description="CPU threads; by default one per physical core that is free")
    # loop
    block_size: int | None = Field(
        None, ge=1, description="positions per cycle, anchor included; None: the draft's; 1: no draft"
    )
    draft_steps: int = Field(1, ge=1, description="how often the draft refines its block before it is verified")
    acceptance: Literal["equality", "rejection"] = Field(
        "equality", description="rule at temperature > 0: equal to the target's own sample, or rejection sampling"
    )
    round_block_sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="multi-round exact sampling (temperature > 0): block size of each round, 1 is the target itself"
    )
    # scheduler
    scheduler: Literal["fixed", "threshold", "ewma", "adl_ewma"] = Field(
        "fixed", description="chooses each cycle's block size"
    )
    candidate_block_sizes: BlockSizes = Field((8, 12, 16), description="block sizes that a scheduler chooses among")
    warmup_cycles: int = Field(2, ge=0, description="first cycles of a sample: each block size in turn, no switch")
    required_streak: int = Field(2, ge=1, description="how often in a row a block size must win before a switch")
    cooldown_cycles: int = Field(2, ge=0, description="cycles after a switch in which no other follows")
    decision_window: int = Field(4, ge=1, description="threshold: cycles over which tau is averaged")
    tau_high: float = Field(7.0, ge=0, description="threshold: mean tau from which the largest block is taken")
    tau_mid: float = Field(6.0, ge=0, description="threshold: mean tau from which the middle block is taken")
    ewma_alpha: float = Field(0.10, gt=0, le=1, description="ewma: weight of the newest tau and cycle time")
    switch_margin: float = Field(0.05, ge=0, description="ewma: relative gain in tokens/s that justifies a switch")
    probe_interval: int = Field(
        12, ge=0, description="ewma: every so many cycles another block size is tried; 0: never"
    )
    low_accept_threshold: Share = Field(0.35, description="ewma: share of the block below which a cycle counts as low")
    low_accept_streak: int = Field(2, ge=1, description="ewma: low cycles in a row that force a smaller block")
    adl_rho: float = Field(0.30, gt=0, le=1, description="adl_ewma: weight of the newest lengths")
    adl_delta: float = Field(2.0, ge=0, description="adl_ewma: added to the target length while all is accepted")
    adl_k_min: int | None = Field(None, ge=1, description="adl_ewma: smallest target length; None: smallest block size")
    adl_k_max: int | None = Field(None, ge=1, description="adl_ewma: largest target length; None: largest block size")
    adl_neighborhood: int = Field(4, ge=0, description="adl_ewma: block sizes this close to the target length compete")
    # seeding
    seed_mode: Literal["none", "sparse", "dense"] = Field(
        "none", description="rejected tokens as hints in the next block"
    )
    seed_max_tokens: int = Field(-1, ge=-1, description="at most so many hints per cycle; -1: all")
    # candidates
    candidate_mode: Literal["none", "branch_beam", "fixed_prefix_rank", "uncertainty_sparse_rank"] = Field(
        "none", description="rule that builds alternative blocks; greedy decoding only"
    )
    verify: Literal["tree", "batch"] = Field(
        "tree", description="candidates in one tree, or as a batch of whole blocks"
    )
    max_candidates: int = Field(
        4, ge=1, description="blocks verified per cycle, the greedy one included; 1: machinery only"
    )
    branch_depth: int = Field(6, ge=0, description="branch_beam: first positions that branch")
    branch_top_k: int = Field(2, ge=1, description="ranks per position that alternatives are drawn from")
    branch_margin_threshold: float = Field(
        -1.0, ge=-1, le=1, description="only positions with p1 - p2 up to this; -1: all"
    )
    fixed_prefix_len: int = Field(5, ge=0, description="rank modes: first positions (anchor included) that never vary")
    sparse_max_positions: int = Field(4, ge=1, description="uncertainty_sparse_rank: positions that may vary")
    adaptive_candidates: bool = Field(
        False, description="let the last cycle's acceptance choose the number of candidates"
    )
    adaptive_budgets: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (
        Field((1, 4, 8), description="candidates after a high, a middling and a low acceptance")
    )
    adaptive_accept_thresholds: tuple[Share, Share] = Field(
        (0.85, 0.65), description="tau/block from which acceptance counts as high, as middling"
    )
    adaptive_warmup_cycles: int = Field(4, ge=0, description="first cycles with the largest budget")
    adaptive_probe_interval: int = Field(16, ge=0, description="every so many cycles the largest budget; 0: never")

    @model_validator(mode="after")
    def _check(self) -> DFlashOptions:
        high, mid = self.adaptive_accept_thresholds
        if high < mid:
            raise ValueError(f"adaptive_accept_thresholds = [{high}, {mid}]: the first must not be below the second")
        if self.scheduler != "fixed" and self.block_size is not None:
            raise ValueError(
                f"block_size = {self.block_size} fixes what scheduler = {self.scheduler!r} chooses: give one"
            )
        if self.candidate_mode != "none" and self.seed_mode != "none":
            raise ValueError(
                "candidate_mode and seed_mode cannot go together: one varies the block that the other hints at"
            )
        if self.round_block_sizes and (self.candidate_mode != "none" or self.scheduler != "fixed"):
            raise ValueError(
                "round_block_sizes is a loop of its own: it goes with neither candidate_mode nor scheduler"
            )
        if self.compat == "published-original":
            self._check_original()
        if self.adl_k_min is not None and self.adl_k_max is not None and self.adl_k_min > self.adl_k_max:
            raise ValueError(f"adl_k_min = {self.adl_k_min} is above adl_k_max = {self.adl_k_max}")
        return self

    def _check_original(self) -> None:
        """The authors' loop has a block size and nothing else."""
        plain = DFlashOptions()
        for name in ("scheduler", "seed_mode", "candidate_mode", "draft_steps", "round_block_sizes", "acceptance"):
            if getattr(self, name) != getattr(plain, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} is not of the authors' loop: with compat = 'published-original' "
                    "only block_size may vary; compat = 'published' is the loop that has it"
                )
