"""The one table of derived figures: what each is called, means, is measured in and how it is computed.

A formula is a pair of SQL expressions, numerator and denominator, over the facts of one sample (``facts``). The
figure of a sample is their quotient; the figure of a round is the quotient of their sums over its measured samples
(warm-up and failed ones left out). The store's views, the comparison and ``docs/metrics.md`` are all made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .facts import PERCENTILES

Level = Literal["step", "sample", "run"]

_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": _BYTES,
    "bytes/s": tuple((scale, f"{name}/s") for scale, name in _BYTES),
    "tokens/s": ((1.0, "tok/s"),),
    "requests/s": ((1.0, "req/s"),),
    "J": ((1.0, "J"),),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One derived figure.

    Attributes:
        name: field, column, JSON and axis key; it ends in its unit where it has one.
        unit: unit in words; ``"1"`` for shares and counts per count.
        label: short name for people.
        numerator: SQL over ``sample_facts``; for level ``run`` over ``runs``.
        denominator: SQL likewise; ``"1"`` makes the figure of a round the mean of its samples.
        higher_is_better: direction; None where neither is better by itself.
        formula: the definition in words.
        level: the finest level at which the figure exists; every one has a value per round.
        of_totals: numerator and denominator over ``runs`` for a log that has totals instead of samples; None where
            totals do not tell the figure.
    """

    name: str
    unit: str
    label: str
    numerator: str
    denominator: str
    higher_is_better: bool | None
    formula: str
    level: Level = "sample"
    of_totals: tuple[str, str] | None = None

    @property
    def totals_sql(self) -> str:
        """The figure of a run ``r`` that has totals instead of samples; NULL where they do not tell it."""
        numerator, denominator = self.of_totals or ("NULL", "1")
        return f"(({numerator})::DOUBLE / nullif(({denominator})::DOUBLE, 0))"

    @property
    def sql(self) -> str:
        """The figure of one sample (or run): NULL where numerator or denominator is unknown or the latter is 0."""
        return f"(({self.numerator})::DOUBLE / nullif(({self.denominator})::DOUBLE, 0))"

    @property
    def parts_sql(self) -> str:
        """What is summed of one sample: the columns ``NAME`` and, unless the samples count alike, ``NAME_by``."""
        numerator = f"({self.numerator})::DOUBLE AS {self.name}"
        if self.denominator == "1":
            return numerator
        return f"{numerator}, nullif(({self.denominator})::DOUBLE, 0) AS {self.name}_by"

    @property
    def pooled_sql(self) -> str:
        """The figure over the ``parts_sql`` of several samples: the quotient of sums over those that have it."""
        if self.denominator == "1":
            return f"sum({self.name}) / nullif(count({self.name}), 0)"
        by = f"{self.name}_by"
        return f"sum({self.name}) FILTER ({by} IS NOT NULL) / nullif(sum({by}) FILTER ({self.name} IS NOT NULL), 0)"

    def format(self, value: float) -> str:
        """Return a value with its unit: three significant digits, a share in per cent, a count with two decimals."""
        if self.unit == "1":
            return f"{100 * value:.1f} %"
        if self.unit not in _SCALES:
            return f"{value:.2f}"
        scales = _SCALES[self.unit]
        scale, name = next((one for one in scales if abs(value) >= one[0]), scales[-1])
        return f"{_digits(value / scale)} {name}"


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _tails(name: str, label: str, of_what: str) -> Iterator[Metric]:
    """Yield percentiles of a time of requests; a round has one of each, the same in all its samples."""
    for number, (short, share) in enumerate(PERCENTILES.items(), 1):
        text = "median" if short == "p50" else f"{share:.0%}".replace("%", "th percentile")
        figure = f"CASE WHEN is_request THEN {name}_tail[{number}] END"
        yield Metric(
            f"{name}_{short}_s", "s", f"{label} ({short})", figure, "1", False,
            f"{text}, {of_what}; interpolated between two ranks as numpy does",
        )  # fmt: skip


_TABLE = (
    Metric("ttft_s", "s", "Time to first token", "t_first_s + waited_s", "1", False,
        "start of the sample, or when its request was due, until the first step that committed a token; only where the "
        "steps are known to begin with the prefill; a round's figure is the mean over samples; AIPerf's ends at the "
        "first chunk that holds text, vLLM's at the first chunk"),
    Metric("tpot_s", "s", "Time per output token", "decode_s", "nullif(decode_tokens, 0)", False,
        "first step until last step, divided by the tokens after the first step"),
    Metric("itl_s", "s", "Inter-token latency",
        "CASE WHEN largest_step = 1 AND smallest_step = 1 THEN decode_s END", "nullif(decode_steps, 0)", False,
        "mean gap between steps; only where every step is exactly one token", "step"),
    Metric("step_s", "s", "Time per step", "decode_s", "nullif(decode_steps, 0)", False,
        "mean gap between steps, whatever number of tokens each commits", "step"),
    Metric("decode_tokens_per_s", "tokens/s", "Decode speed", "nullif(decode_tokens, 0)", "decode_s", True,
        "tokens after the first step, divided by the time from first to last step; 1 / tpot_s"),
    Metric("e2e_tokens_per_s", "tokens/s", "End-to-end speed", "n_tokens", "t_last_s", True,
        "all output tokens, divided by the time from start to last step, prefill included; of totals, where a log "
        "has no samples", of_totals=("r.totals->>'output_tokens'", "r.totals->>'wall_s'")),
    Metric("e2e_s", "s", "End-to-end time", "t_last_s + waited_s", "1", False,
        "start of the sample, or when its request was due, until its last step, prefill included; a round's figure is "
        "the mean over samples"),
    Metric("batch_tokens_per_s", "tokens/s", "Batch speed",
        "batch_tokens::DOUBLE / batch_rows", "batch_s / batch_rows", True,
        "output tokens of all rows of a batch, divided by the batch's wall time; each batch counts once; requests "
        "that a load generator sent side by side are one batch; of totals, where a log has no samples",
        of_totals=("r.totals->>'output_tokens'", "r.totals->>'wall_s'")),
    Metric("total_tokens_per_s", "tokens/s", "Speed with prompts",
        "CASE WHEN is_request THEN prompt_tokens + batch_tokens::DOUBLE / batch_rows END", "batch_s / batch_rows", True,
        "prompt and output tokens of all requests that were answered, divided by the time from when the first one was "
        "due until the last step; vLLM's total token throughput"),
    Metric("requests_per_s", "requests/s", "Request rate",
        "CASE WHEN is_request THEN 1 END", "batch_s / batch_rows", True,
        "requests that were answered, divided by the time from when the first one was due until the last step; vLLM's "
        "and AIPerf's request throughput"),
    Metric("goodput_requests_per_s", "requests/s", "Goodput",
        "CASE WHEN is_request THEN is_good::INTEGER END", "batch_s / batch_rows", True,
        "requests that kept every limit of the service level (--slo), divided by the same time; vLLM's and AIPerf's "
        "goodput"),
    Metric("good_share", "1", "Within service level",
        "CASE WHEN is_request THEN is_good::INTEGER END", "batch_requests::DOUBLE / batch_rows", True,
        "requests that kept every limit of the service level, divided by all requests, failed ones included"),
    Metric("queue_s", "s", "Queueing", "queue_s", "1", False,
        "from when a request was due until the engine began with it, or until it was sent where the engine is a server "
        "that does not say; a round's figure is the mean over requests; it is part of ttft_s and e2e_s"),
    *_tails("ttft", "Time to first token", "as ttft_s, of all requests of the round"),
    Metric("tpot_mean_s", "s", "Time per token (mean of requests)",
        "CASE WHEN is_request THEN request_tpot_s END", "1", False,
        "mean over requests of (last token - first token) / (output tokens - 1): vLLM's TPOT, and what AIPerf calls "
        "inter-token latency; tpot_s pools tokens instead, so that long answers count for more"),
    *_tails("tpot", "Time per token", "as tpot_mean_s, of all requests of the round"),
    *_tails("itl", "Inter-token latency",
        "of all gaps between the steps of one request, over all requests of the round: vLLM's ITL, which is a gap "
        "between chunks, however many tokens each has"),
    *_tails("e2e", "End-to-end time", "as e2e_s, of all requests of the round"),
    Metric("prefill_tokens_per_s", "tokens/s", "Prefill speed",
        "CASE WHEN prefill_s > 0 THEN timed_prompt_tokens END", "prefill_s", True,
        "prompt tokens, without a depth that was there before, divided by the time to the first step; only where the "
        "backend declares that its first step is the prefill and one token, or the engine reports the time of the "
        "prompt alone"),
    Metric("scored_tokens_per_s", "tokens/s", "Scoring speed",
        "scored_tokens", "CASE WHEN scored_tokens IS NOT NULL THEN t_last_s END", True,
        "tokens of all prompts with their choices, a prompt once for each of its choices, divided by the time of "
        "scoring them; only of problems whose choices are scored, where nothing is generated"),
    Metric("tau", "tokens/cycle", "Tokens per verify cycle (pooled)", "cycle_tokens", "cycles", True,
        "tokens committed by verify cycles, bonus token included, divided by verify cycles, pooled over cycles; a "
        "verify cycle is a step that drafted, or that has what was accepted; the first step and the last step of a "
        "sample that ended at the token limit are left out; of totals, accepted draft tokens and a bonus token a "
        "cycle, or all output tokens where the accepted ones are not recorded",
        of_totals=(
            "coalesce((r.totals->>'accepted')::DOUBLE + (r.totals->>'cycles')::DOUBLE, "
            "(r.totals->>'output_tokens')::DOUBLE)",
            "r.totals->>'cycles'",
        )),
    Metric("tau_mean", "tokens/cycle", "Tokens per verify cycle (mean of samples)",
        "cycle_tokens::DOUBLE / nullif(cycles, 0)", "1", True,
        "as tau, each sample by itself; a round's figure is the mean over samples"),
    Metric("acceptance_rate", "1", "Acceptance rate (pooled)", "cycle_accepted", "cycle_drafted", True,
        "accepted draft tokens, divided by drafted ones, pooled over the cycles that tau counts; no bonus token",
        of_totals=("r.totals->>'accepted'", "r.totals->>'drafted'")),
    Metric("acceptance_rate_mean", "1", "Acceptance rate (mean of samples)",
        "cycle_accepted::DOUBLE / nullif(cycle_drafted, 0)", "1", True,
        "as acceptance_rate, each sample by itself; a round's figure is the mean over samples"),
    Metric("draft_efficiency", "1", "Draft efficiency", "all_accepted", "all_drafted", True,
        "accepted draft tokens, divided by all tokens ever drafted: every candidate and every discarded token, in "
        "all steps"),
    Metric("tokens_per_forward", "tokens/forward", "Tokens per forward", "forward_tokens", "decode_forwards", True,
        "tokens, divided by model evaluations, over the steps after the first that count their evaluations",
        of_totals=("r.totals->>'output_tokens'", "r.totals->>'forwards'")),
    Metric("draft_share", "1", "Share of time drafting", "decode_draft_s", "decode_draft_s_step_s", None,
        "the engine's drafting time, divided by step time, over the steps after the first that have it"),
    Metric("verify_share", "1", "Share of time verifying", "decode_verify_s", "decode_verify_s_step_s", None,
        "the engine's verifying time, divided by step time, over the steps after the first that have it"),
    Metric("wire_share", "1", "Network share", "decode_wire_s", "decode_wire_s_step_s", None,
        "time that a remote verifier was waited for beyond its own verifying time, divided by step time, over the "
        "steps after the first that have it"),
    Metric("memory_throughput_bytes_per_s", "bytes/s", "Memory throughput",
        "decode_bytes_read", "decode_bytes_read_step_s", True,
        "bytes that the engine says it read, divided by step time, over the steps after the first that have it",
        "step"),
    Metric("param_throughput_bytes_per_s", "bytes/s", "Parameter throughput",
        "weight_bytes * decode_forwards", "decode_forwards_step_s", True,
        "weight bytes x model evaluations, divided by step time, over the steps after the first that count them",
        "step"),
    Metric("bandwidth_utilisation", "1", "Bandwidth utilisation",
        "decode_bytes", "decode_bytes_s * bandwidth_bytes_per_s", True,
        "bytes read by the steps after the first, divided by what the host could have read in their time, at the "
        "bandwidth measured for the same working set; the engine's count where there is one, else weights and KV "
        "cache computed; on CPUs only"),
    Metric("peak_rss_bytes", "bytes", "Peak memory", "peak_rss_bytes", "1", False,
        "largest resident set of the worker process", "run"),
    Metric("peak_device_bytes", "bytes", "Peak device memory", "peak_device_bytes", "1", False,
        "largest device memory, if counted", "run"),
    Metric("energy_j", "J", "Energy", "energy_j", "1", False,
        "energy of the GPU over the whole round, loading included, where NVML counts it", "run"),
    Metric("load_s", "s", "Load time", "load_s", "1", False,
        "weights into memory, the engine's import included", "run"),
    Metric("accuracy", "1", "Accuracy", "score", "1", True,
        "mean score over the scored samples, every attempt at a problem being one; shown with the task's name",
        of_totals=("r.totals->>'accuracy'", "1")),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Every derived figure by name, in the order in which tables show them."""

SPEEDS = ("decode_tokens_per_s", "e2e_tokens_per_s", "scored_tokens_per_s")
"""What "how fast" means where nobody asks for a metric: the first of them that any log of an experiment tells."""


def of_samples() -> list[Metric]:
    """Return the metrics that have a value per sample."""
    return [metric for metric in _TABLE if metric.level != "run"]


def sample_metrics_sql() -> str:
    """Return the query behind the view ``sample_metrics``: the columns of ``samples`` and every figure."""
    figures = ",\n    ".join(f"{metric.sql} AS {metric.name}" for metric in of_samples())
    return (
        f'WITH figures AS (SELECT run_id, sample AS "index",\n    {figures}\nFROM sample_facts)\n'
        'SELECT s.*, f.* EXCLUDE (run_id, "index") FROM samples s\n'
        'LEFT JOIN figures f ON f.run_id = s.run_id AND f."index" = s."index"'
    )


def run_metrics_sql() -> str:
    """Return the query behind the view ``run_metrics``: the columns of ``runs``, every figure and counts."""
    parts = ",\n    ".join(metric.parts_sql for metric in of_samples())
    figures = ",\n    ".join(f"{metric.pooled_sql} AS {metric.name}" for metric in of_samples())
    told = [metric for metric in of_samples() if metric.of_totals]
    totals = ", ".join(f"coalesce(f.{metric.name}, {metric.totals_sql}) AS {metric.name}" for metric in told)
    return (
        # Each expression stands here once: DuckDB takes longer to read this view than to compute it.
        f"WITH parts AS (SELECT run_id, n_tokens,\n    {parts}\nFROM sample_facts WHERE NOT is_warmup),\n"
        "figures AS (SELECT run_id, count(*) AS measured_samples, sum(n_tokens)::BIGINT AS output_tokens,\n"
        f"    {figures}\nFROM parts GROUP BY run_id)\n"
        "SELECT r.*, coalesce(f.measured_samples, 0) AS measured_samples,\n"
        "    coalesce(f.output_tokens, (r.totals->>'output_tokens')::BIGINT) AS output_tokens,\n"
        f"    f.* EXCLUDE (run_id, measured_samples, output_tokens) REPLACE ({totals})\n"
        "FROM runs r LEFT JOIN figures f ON f.run_id = r.run_id"
    )


def markdown() -> str:
    """Return ``docs/metrics.md``."""
    lines = [
        "# Metrics",
        "",
        "Every derived figure, from the one table in `core/records/metrics.py`; this page is generated from it.",
        "Seconds and bytes throughout. A figure of a round is the sum of numerators divided by the sum of denominators",
        "over its measured samples: warm-up and failed samples are left out. A figure that a log cannot support is",
        "empty (NULL), never zero and never a guess.",
        "",
        "| name | unit | better | level | definition | numerator / denominator (SQL) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    better = {True: "higher", False: "lower", None: "-"}
    for m in _TABLE:
        cells = (f"`{m.name}`", m.unit, better[m.higher_is_better], m.level, m.formula)
        lines.append(f"| {' | '.join(cells)} | `{m.numerator}` / `{m.denominator}` |")
    lines += [
        "",
        "The names in the formulas are columns of the view `sample_facts` (of the table `runs` for level `run`).",
        "`decode_*` leaves out a sample's first step, which holds the prefill. The views `sample_metrics` and",
        "`run_metrics` hold every figure; `decodebench query` reads them.",
        "",
        "`decode_bytes` is what the engine counted (`bytes_source` is `engine`) or else `computed`: in a forward that",
        "makes one token of one row, `read_weight_bytes`, and `kv_bytes_per_token` for each position of the context.",
        "`bandwidth_bytes_per_s` is the host's, measured by reading as many bytes as a step reads.",
        "",
        "## Requests under load",
        "",
        "Times count from when a request was due ([load.md](load.md)); theirs count from when it was sent, which",
        "differs by `waited_s` where the client is busy or requests in flight are limited. Percentiles are over",
        "the requests of a round (`itl_*`: over all gaps), interpolated as numpy does, which both tools use.",
        "",
        "| here | vLLM (`vllm bench serve`) | AIPerf | difference |",
        "| --- | --- | --- | --- |",
        "| `ttft_s` | TTFT | time to first token | ends with the first step that committed a token; vLLM's with the "
        "first chunk, AIPerf's with the first one that holds text |",
        "| `tpot_mean_s` | TPOT | inter-token latency | none: mean over requests of (latency - TTFT) / (tokens - 1) |",
        "| `tpot_s` | - | - | pools tokens of all requests, and leaves out those of the first step |",
        "| `step_s`, `itl_p50_s` to `itl_p99_s` | ITL | - | none: gaps between chunks, whatever they hold |",
        "| `e2e_s` | E2EL | request latency | from due |",
        "| `requests_per_s` | request throughput | request throughput | from when the first request was due |",
        "| `batch_tokens_per_s` | output token throughput | output token throughput | likewise |",
        "| `total_tokens_per_s` | total token throughput | - | likewise |",
        "| `goodput_requests_per_s` | request goodput | goodput | likewise; limits hold for the figures above |",
        "",
        "## Several attempts at a problem",
        "",
        "With `--attempts N` every problem is answered `N` times, each time with another seed. `compare` then gives",
        "as `accuracy` the mean over problems of the mean over their attempts, and beside it `pass@k` for k = 1, 2, 5,",
        "10, ... up to the fewest attempts that a problem has: the chance that one of k answers is right. Of a",
        "problem with `n` attempts of which `c` are right it is estimated without bias as `1 - C(n-c, k) / C(n, k)`",
        "(M. Chen et al., arXiv 2107.03374, section 2.1). The figure is the mean over problems; its 95 % interval is a",
        "bootstrap over problems, because attempts at one problem say nothing of another.",
        "",
    ]
    return "\n".join(lines)
