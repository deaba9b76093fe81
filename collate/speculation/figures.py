"""The shape of an analysis of speculative decoding: what ``analyse`` computes and what views and figures show.

Cycle by cycle, everything is over the verify cycles that ``tau`` counts: those after the first step, without the last
of a sample that ended at the token limit, with tokens as they were committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PrivateAttr, SerializeAsAny

from ...core.contract.analysis import Section
from ...core.records.schema import Record
from ..comparison.result import CellLabel, Estimate

if TYPE_CHECKING:
    from .observed import Observed


class Replicated(Estimate):
    """A figure with its interval and what that is over; ``n`` counts them."""

    unit: Literal["round", "sample"] | None = Field(
        default=None,
        description="round: 95 % interval over rounds; sample: bootstrap over the prompts of one round, where there "
        "is one only or all rounds gave the same figure; None without an interval",
    )


class Position(Record):
    """Acceptance of one position of the block."""

    position: int = Field(ge=1, description="index in the block; the anchor is 0 and is never drafted")
    reached: int = Field(ge=0, description="cycles whose block had a draft token at this position")
    accepted: int = Field(ge=0, description="those of them in which it was accepted")
    share: float = Field(ge=0, le=1, description="accepted / reached")


class Acceptance(Record):
    """How many tokens a verify cycle commits."""

    cycles: int = Field(ge=1, description="verify cycles that tau counts, over all rounds")
    tokens: int = Field(ge=0, description="tokens that they committed, bonus tokens included")
    tau: Replicated = Field(description="tokens per cycle, pooled over the cycles of a round (cycle mean)")
    tau_mean: Replicated = Field(description="tokens per cycle of each sample, mean over samples (sample mean)")
    rate: Replicated = Field(description="accepted / drafted tokens, pooled; no bonus token")
    rate_mean: Replicated = Field(description="accepted / drafted tokens of each sample, mean over samples")
    tau_counts: tuple[int, ...] = Field(description="cycles by the tokens they committed; the index is tau")
    tau_shares: tuple[float, ...] = Field(description="the same as shares of all cycles")
    positions: tuple[Position, ...] = Field(
        description="acceptance by position; empty where the log does not tell, or several drafts were for one position"
    )
    below_half_share: float | None = Field(
        description="share of the cycles whose block is known that commit fewer tokens than half of it"
    )


class AcceptanceBucket(Record):
    """Samples whose acceptance rate lies in one range."""

    name: str = Field(description="Very Low, Low, Medium, High or Very High")
    low: float = Field(description="smallest rate in it")
    high: float = Field(description="the rate at which the next one begins; the last one holds 1")
    samples: int = Field(ge=0, description="samples in it")
    share: float = Field(description="of the samples that drafted")


class AcceptanceSpread(Record):
    """Acceptance rates over samples."""

    buckets: tuple[AcceptanceBucket, ...] = Field(description="their samples add up to those that drafted")
    undrafted: int = Field(ge=0, description="samples that drafted nothing")
    rate: Replicated = Field(description="accepted / drafted tokens, pooled")
    rate_mean: Replicated = Field(description="accepted / drafted tokens of each sample, mean over samples")
    reading: str | None = Field(description="excellent from 90 %, good from 75 %, fair from 50 %, else poor")
    verify_rounds_per_sample: float | None = Field(description="verify cycles of a sample")


class CycleTime(Record):
    """What a verify cycle costs; means over the cycles that tell it."""

    clock: Literal["runner", "engine", "both", "summary"] = Field(
        description="whose time cycle_s is: the runner's where the log has it, as ours do, else the engine's; both: "
        "some cycles one, some the other; summary: what samples tell as sums over their cycles"
    )
    cycle_s: float = Field(description="mean time of a cycle, by that clock")
    engine_cycle_s: float | None = Field(description="mean time of a cycle by the engine's own clock")
    draft_s: float | None = Field(description="mean drafting time of a cycle, engine's clock")
    verify_s: float | None = Field(description="mean verifying time of a cycle, engine's clock")
    wire_s: float | None = Field(description="mean time of a cycle beyond verify_s that a remote verifier took")
    draft_share_of_cycle: float | None = Field(description="drafting time / cycle time")
    verify_share_of_cycle: float | None = Field(description="verifying time / cycle time")


class BlockUse(Record):
    """Cycles of one block size."""

    block_size: int = Field(ge=1, description="positions, the anchor included; a tail may be shorter than was chosen")
    cycles: int = Field(ge=1, description="cycles with this block size")
    share: float = Field(description="of all cycles")
    tau: float = Field(description="tokens per cycle of these cycles")
    tokens_per_s: float | None = Field(
        description="tokens of these cycles / their time; selection-biased: the decoder chose when to use this size, "
        "so that sizes met different text"
    )
    below_half_share: float = Field(description="share of these cycles that commit fewer tokens than half the block")


class Blocks(Record):
    """Which block sizes were used, and how often they changed."""

    sizes: tuple[BlockUse, ...] = Field(description="by block size, ascending")
    switches: int = Field(ge=0, description="cycles whose block size differs from the one before, within a sample")
    transitions: int = Field(ge=0, description="cycles that have one before, within a sample")
    switch_rate: float | None = Field(description="switches / transitions")


class StartUp(Record):
    """What a process spends before it decodes at its steady pace; means over rounds, warm-up samples included."""

    import_s: float | None = Field(description="process start until the decoder's module is there")
    load_s: float | None = Field(description="weights into memory, engine import included")
    first_sample_excess_s: float | None = Field(
        description="time of a process's first sample beyond what its tokens take at the pace of the others"
    )
    total_s: float | None = Field(description="sum of the three; None where one is not known")


class SpeculationCell(Record):
    """One cell of the experiment. A cell that does not draft has its speeds only."""

    cell: CellLabel
    baseline: str = Field(description="label of the cell that it is compared with; its own for a baseline")
    rounds: int = Field(ge=0, description="finished rounds")
    failed: int = Field(ge=0, description="rounds that did not finish")
    samples: int = Field(ge=0, description="measured samples over all finished rounds")
    output_tokens_mean: float | None = Field(description="output tokens of a sample")
    hit_cap: int | None = Field(
        description="samples that ended at the token limit; None where the log has neither the limit nor why they ended"
    )
    hit_cap_share: float | None = Field(description="of all samples")
    ttft_s: Replicated = Field(description="as ttft_s of the metrics")
    tpot_s: Replicated = Field(description="as tpot_s of the metrics")
    decode_tokens_per_s: Replicated = Field(description="as decode_tokens_per_s of the metrics")
    e2e_tokens_per_s: Replicated = Field(description="as e2e_tokens_per_s of the metrics")
    acceptance: Acceptance | None = None
    time: CycleTime | None = None
    spread: AcceptanceSpread | None = None
    blocks: Blocks | None = None
    start_up: StartUp | None = None
    printed: dict[str, str] = Field(default={}, description="aggregates that the log prints itself, as it has them")


class Decomposition(Record):
    """Throughput taken apart: how much is acceptance, how much the time of a cycle.

    Over every verify cycle: throughput ratio = tau ratio x cycle ratio x rest. The rest is what the cycles do not
    account for: tokens of the prefill. It is 1 where both sides have the same share of them.
    """

    throughput_ratio: float = Field(description="output tokens per wall time, pooled")
    tau_ratio: float = Field(description="tokens per cycle (cycle mean) over the baseline's")
    cycle_ratio: float = Field(description="wall time per cycle of the baseline over this cell's")
    rest: float = Field(description="throughput ratio / (tau ratio x cycle ratio)")
    is_exact: bool = Field(description="whether the two ratios alone make up the throughput ratio (rest is 1)")


class Prediction(Record):
    """The speed-up that acceptance and costs let one expect; costs in decode steps of the baseline."""

    draft_tokens: float = Field(description="K: mean tokens of a draft")
    tau: float = Field(description="tokens per verify cycle")
    acceptance: float = Field(description="accepted / judged tokens: those behind a rejected one were never judged")
    draft_cost: float = Field(description="c: drafting one token")
    verify_cost: float = Field(description="v: one verification")
    overhead: float = Field(description="o: what a cycle takes besides, the wire included")
    measured_cost: float = Field(description="tau / (K c + v + o)")
    leviathan: float = Field(description="(1 - a^(K + 1)) / ((1 - a) (K c + 1)), arXiv 2211.17192, theorem 3.8")
    rule_of_thumb: float | None = Field(description="1 + rate x (draft speed - target speed) / target speed")
    measured: float | None = Field(description="the speed-up that was measured, time per output token")


class Pair(Record):
    """One mode against another on the same prompts. Ratios are above 1 where the cell is better."""

    cell: str = Field(description="label")
    baseline: str = Field(description="label of what it is compared with")
    rounds: int = Field(ge=0, description="pairs of rounds with a common prompt")
    samples: int = Field(ge=0, description="pairs of samples, over all of these")
    tpot: Replicated = Field(description="speed-up of the time per output token, ratio of totals")
    tpot_geomean: Replicated = Field(description="the same as geometric mean of the prompts' own speed-ups")
    throughput: Replicated = Field(
        description="speed-up in output tokens per wall time: the wall speed-up, token-normalised"
    )
    wall: Replicated = Field(description="speed-up in wall time, whatever number of tokens came out")
    token_ratio: float | None = Field(description="output tokens over the baseline's; throughput = wall x token ratio")
    tau_delta: Replicated = Field(description="tau (pooled) minus the baseline's")
    cycle_time: float | None = Field(description="mean time of a cycle of the baseline over this cell's")
    decomposition: Decomposition | None = None
    prediction: Prediction | None = None
    identical_outputs: int = Field(default=0, description="prompts with identical output")
    compared_outputs: int = Field(default=0, description="prompts whose outputs can be compared")
    identical_share: float | None = Field(default=None, description="identical / compared")
    warnings: tuple[str, ...] = Field(default=(), description="different conditions, named with both values")


class Speculation(Record):
    """A whole analysis, cells in the order of the plan."""

    experiment: str = Field(description="name of the experiment")
    steady_state: bool = Field(description="whether the first measured sample of every round is left out")
    cells: tuple[SpeculationCell, ...] = Field(description="one per cell")
    pairs: tuple[Pair, ...] = Field(default=(), description="every cell against its baseline")
    sections: dict[str, SerializeAsAny[Section]] = Field(default={}, description="what plugins add, by analysis")

    _observed: tuple[Observed, ...] = PrivateAttr(())

    @property
    def observed(self) -> Sequence[Observed]:
        """The verify cycles of every cell, in the same order."""
        return self._observed

    def with_observed(self, cells: Sequence[Observed]) -> Speculation:
        """Keep the verify cycles that the figures came from."""
        self._observed = tuple(cells)
        return self
