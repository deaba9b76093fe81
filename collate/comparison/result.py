"""The shape of a comparison: what ``compare`` computes and what the terminal, the figures and the page show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ...core.contract.finding import Finding
from ...core.records.schema import Record
from ...core.sdk.scoring import is_tie
from ...defaults import TIE_MARGIN
from ..statistics.verdicts import METHOD

Verdict = Literal["baseline", "faster", "slower", "equivalent", "no difference shown", "not tested", "not comparable"]
Unit = Literal["rounds", "prompts"]


class Estimate(Record):
    """A figure with its interval; ``low`` and ``high`` are None where the log supports no interval."""

    value: float | None = Field(description="point estimate, in the metric's unit; None when it is unknown")
    low: float | None = Field(default=None, description="lower end of the 95 % interval")
    high: float | None = Field(default=None, description="upper end of the 95 % interval")
    n: int = Field(default=0, ge=0, description="independent observations behind it: rounds, or problems for accuracy")


class Divergence(Record):
    """Where the greedy output of a cell first leaves the baseline's."""

    sample_id: str = Field(description="the problem")
    position: int = Field(ge=0, description="index of the first differing output token")
    baseline_token: int | None = Field(description="token id of the baseline; None where its output had ended")
    token: int | None = Field(description="token id of this cell; None where its output had ended")
    logprob_gap: float | None = Field(
        default=None,
        description="log p(baseline's token) - log p(this cell's token), scored by the baseline; near 0 is a tie",
    )
    top2_margin: float | None = Field(default=None, description="log-probability gap of the two likeliest ids there")

    @property
    def is_tie(self) -> bool:
        """Whether the baseline's two likeliest ids are so near that rounding decides."""
        return is_tie(self.top2_margin)


class Parity(Record):
    """Whether two cells committed the same tokens under greedy decoding."""

    verdict: Literal["baseline", "identical", "ties only", "differs", "not comparable"] = Field(
        description=f"'ties only': every first divergence lies at a top-two margin below {TIE_MARGIN:g}"
    )
    identical: int = Field(default=0, ge=0, description="problems with identical token ids")
    compared: int = Field(default=0, ge=0, description="problems that both answered")
    divergences: tuple[Divergence, ...] = Field(default=(), description="first divergence of each differing problem")
    reason: str | None = Field(default=None, description="why it is not comparable")


class Accuracy(Record):
    """Accuracy on the task's problems, each counted once."""

    task: str = Field(description="task name and version")
    value: Estimate = Field(
        description="share of right answers, or mean of partial scores, with its Wilson interval; with several "
        "attempts at a problem the mean over problems of the mean over their attempts, with a bootstrap over problems"
    )
    pass_at_k: dict[int, Estimate] = Field(
        default={},
        description="chance that one of k answers is right, by k (1, 2, 5, 10, ...), unbiased, with a bootstrap over "
        "problems; empty where each problem was answered once",
    )
    difference: Estimate | None = Field(
        default=None,
        description="this cell minus the baseline on the same problems; of logs with totals only, unpaired",
    )
    p_value: float | None = Field(
        default=None,
        description="against the baseline: exact McNemar test; of partial scores and of attempts Student's over "
        "problems, of totals Fisher's exact test",
    )
    further: dict[str, Estimate] = Field(
        default={}, description="other measures of the same answers by name, such as accuracy_norm"
    )
    verdict: Literal["baseline", "higher", "lower", "no difference shown"] = Field(default="no difference shown")


class CellLabel(Record):
    """What a row stands for."""

    cell_id: str = Field(description="hash of what was compared and how")
    label: str = Field(description="short, unique within the comparison: backend, quantisation, what else differs")
    backend: str = Field(description="backend name")
    model: str = Field(description="model as the user named it")
    quantisation: str = Field(description="weight format in the backend's own words")
    weight_format: str = Field(description="the same, or the dtype that ran where weights stay as they are")
    bits_per_weight: float | None = Field(None, description="measured bits per weight")
    device: str = Field(description="cpu, cuda:0, metal, ...")
    options: dict[str, str] = Field(default={}, description="only those options that differ between rows")
    told: tuple[str, ...] | None = Field(default=None, description="those of them that the label names; None: all")


class ComparisonRow(Record):
    """One cell against the baseline."""

    cell: CellLabel
    baseline: str = Field(description="label of the cell that it is compared with; of a baseline, its own")
    rounds: int = Field(ge=0, description="finished rounds; one measured again beside other cells counts once")
    failed: int = Field(default=0, ge=0, description="rounds that did not finish")
    n: int = Field(ge=0, description="measured samples over all finished rounds")
    metrics: dict[str, Estimate] = Field(description="every metric that the log supports, by name")
    ratio: Estimate = Field(description="ratio of totals; above 1 is better than the baseline")
    ratio_simultaneous: Estimate = Field(
        description="the same ratio with an interval that holds for all rows together; the verdict is read off it"
    )
    ratio_geomean: Estimate = Field(description="geometric mean over prompts of per-prompt ratios")
    ratio_median: Estimate = Field(
        default=Estimate(value=None),
        description="median over prompts of per-prompt ratios, which a few disturbed ones do not move; None where "
        "rounds do not pair",
    )
    p_value: float | None = Field(
        default=None, description="two-sided, corrected over the rows as the simultaneous interval is"
    )
    deviation: float | None = Field(default=None, description="standard deviation of the rounds' log ratios")
    rounds_needed: int | None = Field(
        default=None,
        description="rounds after which the 95 % interval of the ratio would be as narrow as the smallest effect, by "
        "the ratio's own scatter; None where it is, or cannot be known",
    )
    verdict: Verdict = Field(description="of the simultaneous interval, given the smallest effect that counts")
    parity: Parity
    accuracy: Accuracy | None = None
    is_one_server: bool = Field(
        default=False,
        description="whether one life of a server answered several rounds, or a remote server did: the intervals speak "
        "of other rounds with it, not of other starts",
    )


class LoadPoint(Record):
    """One cell under its load."""

    cell_id: str = Field(description="the cell")
    load: float = Field(gt=0, description="requests in flight, or requests per second")
    tokens_per_s: Estimate = Field(description="output tokens of all requests together")
    figures: dict[str, Estimate] = Field(description="request rate, latencies and queueing by name, as far as known")


class LoadCurve(Record):
    """Cells that differ in nothing but their load."""

    name: str = Field(description="what they are called without the load")
    axis: Literal["concurrency", "request_rate"] = Field(description="what the load is")
    points: tuple[LoadPoint, ...] = Field(description="by rising load")
    knee: float | None = Field(
        None,
        description="last load at which throughput still rises by 10 % per doubling; None where it still does at the "
        "highest, or where it is unknown",
    )
    is_rising: bool | None = Field(
        None,
        description="whether throughput still rises so at the highest load that has any; None where the knee is "
        "unknown: fewer than two loads with throughput, or several cells at one load",
    )


class BreakEven(Record):
    """A load at which a curve overtakes the baseline's, or is overtaken by it; curves may cross several times.

    There is one without a load for curves that do not cross.
    """

    curve: str = Field(description="name of the curve")
    baseline: str = Field(description="name of the other curve")
    axis: Literal["concurrency", "request_rate"] = Field(description="what the load is")
    at: float | None = Field(description="the load, interpolated; None where neither overtakes within those measured")
    low: float | None = Field(description="lower end of its 95 % interval; None where the lowest load is within it")
    high: float | None = Field(description="upper end likewise")
    rises: bool | None = Field(
        description="whether the curve is the faster one above that load; without one, whether its mean is the higher "
        "one at every load, None where neither is"
    )
    faster: tuple[float, ...] = Field((), description="loads at which the 95 % interval of the ratio lies above 1")
    slower: tuple[float, ...] = Field((), description="loads at which it lies below 1")
    unclear: tuple[float, ...] = Field((), description="loads at which it contains 1, or one round has none")
    skipped: tuple[float, ...] = Field((), description="loads at which rounds had no throughput and are left out")
    n: int = Field(ge=1, description="rounds behind it; one supports no interval")


class Comparison(Record):
    """A whole comparison, one row per cell, the baseline first."""

    experiment: str = Field(description="name of the experiment")
    baseline: str = Field(description="label of the first baseline; with --by, each group of cells has its own")
    by: str = Field(description="what the rows differ in: backend, quantisation, device or an option")
    metric: str = Field(description="the metric of the ratios, a name in core/records/metrics.py")
    min_effect: float = Field(description="relative difference below which cells are called equivalent")
    steady_state: bool = Field(default=False, description="whether the first measured sample of each round is left out")
    over: Unit = Field(
        default="rounds",
        description="what an interval speaks of: other rounds with these prompts, or other rounds and other prompts",
    )
    comparisons: int = Field(default=0, ge=0, description="rows that the simultaneous intervals hold for together")
    max_rounds: int | None = Field(
        default=None,
        description="rounds at most, where the comparison was looked at after each: intervals allow for it",
    )
    correction: str = Field(default=METHOD, description="how those intervals are made")
    rows: tuple[ComparisonRow, ...] = Field(description="one per cell")
    load_curves: tuple[LoadCurve, ...] = Field(
        default=(), description="throughput and latency by load, where requests ran side by side"
    )
    break_evens: tuple[BreakEven, ...] = Field(default=(), description="where a curve crosses the baseline's")
    warnings: tuple[str, ...] = Field(default=(), description="different conditions, named with both values")
    findings: tuple[Finding, ...] = Field(default=(), description="what is doubtful in the measurements")

    @property
    def has_groups(self) -> bool:
        """Whether cells are compared within several groups, each with a baseline of its own."""
        return len({row.baseline for row in self.rows}) > 1
