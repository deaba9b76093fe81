"""The one table of derived figures: what each is called, means, is measured in and how it is computed.

A formula is a pair of SQL expressions, numerator and denominator, over the facts of one sample (``FACTS_SQL``). The
figure of a sample is their quotient; the figure of a round is the quotient of their sums over its measured samples
(warm-up and failed ones left out). The store's views, the comparison and ``docs/metrics.md`` are all made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["step", "sample", "run"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One derived figure.

    Attributes:
        name: field, column, JSON and axis key; it ends in its unit where it has one.
        unit: unit in words; ``"1"`` for shares and counts per count.
        label: short name for people.
        formula: the definition in words.
        numerator: SQL over ``sample_facts``; for level ``run`` over ``runs``.
        denominator: SQL likewise; ``"1"`` makes the figure of a round the mean of its samples.
        format: value to text with unit, for tables.
        higher_is_better: direction; None where neither is better by itself.
        level: the finest level at which the figure exists; every one has a value per round.
        of_totals: numerator and denominator over ``runs`` for a log that has totals instead of samples; None where
            totals do not tell the figure.
    """

    name: str
    unit: str
    label: str
    formula: str
    numerator: str
    denominator: str
    format: Callable[[float], str]
    higher_is_better: bool | None
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
    def pooled_sql(self) -> str:
        """The figure over several samples: the quotient of sums over the samples that have the figure."""
        has = f"FILTER (WHERE {self.sql} IS NOT NULL)"
        return f"(sum(({self.numerator})::DOUBLE) {has} / nullif(sum(({self.denominator})::DOUBLE) {has}, 0))"


def format_seconds(value: float) -> str:
    """Seconds as s, ms or µs, three significant digits."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= scale or unit == "µs":
            return f"{_digits(value / scale)} {unit}"
    raise AssertionError("unreachable")


def format_bytes(value: float) -> str:
    """Bytes in decimal units, three significant digits."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= scale:
            return f"{_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def format_rate(value: float) -> str:
    """Tokens per second."""
    return f"{_digits(value)} tok/s"


def format_byte_rate(value: float) -> str:
    """Bytes per second in decimal units."""
    return f"{format_bytes(value)}/s"


def format_joules(value: float) -> str:
    """Joules, three significant digits."""
    return f"{_digits(value)} J"


def format_share(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.1f} %"


def format_count(value: float) -> str:
    """Tokens per something, two decimals."""
    return f"{value:.2f}"


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    magnitude = abs(value)
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


LADDER_SQL = """
CASE WHEN r.device LIKE 'cpu%' AND len(json_keys(r.environment->'memory_bandwidth_1_thread')) > 0 THEN
    CASE WHEN coalesce(r.options->>'n_threads', r.settings->>'n_threads') = '1'
    THEN r.environment->'memory_bandwidth_1_thread' ELSE r.environment->'memory_bandwidth' END
END
"""
"""The bandwidth ladder that a run ``r`` is held against: the host's, with the threads that the run may use.

Logs of decodebench 0.1 have no ladder of one thread and, under the other name, one that was measured in another way.
"""

FACTS_SQL = f"""
WITH stamped AS (
    SELECT t.*, t."index" > 0 AS is_decode,
           t."index" > 0 AND coalesce(t.drafted, t.accepted) IS NOT NULL
               AND NOT (s.finish IS NOT DISTINCT FROM 'length' AND t."index" = max(t."index") OVER one) AS is_cycle
    FROM steps t JOIN samples s ON s.run_id = t.run_id AND s."index" = t.sample
    WHERE s.status = 'ok'
    WINDOW one AS (PARTITION BY t.run_id, t.sample)
), summed AS (
    SELECT run_id, sample,
        count(*) AS steps,
        sum(tokens)::BIGINT AS n_tokens,
        max(tokens) AS largest_step,
        min(tokens) AS smallest_step,
        max(tokens) FILTER (WHERE "index" = 0) AS first_tokens,
        max(t_s) FILTER (WHERE "index" = 0) AS t_first_s,
        CASE WHEN count(t_s) = count(*) THEN max(t_s) END AS t_last_s,
        nullif(count(*) FILTER (WHERE is_cycle), 0) AS cycles,
        (sum(tokens) FILTER (WHERE is_cycle))::BIGINT AS cycle_tokens,
        (sum(drafted) FILTER (WHERE is_cycle AND accepted IS NOT NULL))::BIGINT AS cycle_drafted,
        (sum(accepted) FILTER (WHERE is_cycle AND drafted IS NOT NULL))::BIGINT AS cycle_accepted,
        (sum(accepted) FILTER (WHERE drafted IS NOT NULL))::BIGINT AS all_accepted,
        (sum(drafted * greatest(coalesce(candidates, 1), 1) + coalesce(discarded, 0))
            FILTER (WHERE accepted IS NOT NULL))::BIGINT
            AS all_drafted,
        (sum(forwards) FILTER (WHERE is_decode))::BIGINT AS decode_forwards,
        (sum(tokens) FILTER (WHERE is_decode AND forwards IS NOT NULL))::BIGINT AS forward_tokens,
        sum(step_s) FILTER (WHERE is_decode AND forwards IS NOT NULL) AS forward_s,
        sum(draft_s) FILTER (WHERE is_decode) AS draft_s,
        sum(step_s) FILTER (WHERE is_decode AND draft_s IS NOT NULL) AS drafting_step_s,
        sum(verify_s) FILTER (WHERE is_decode) AS verify_s,
        sum(step_s) FILTER (WHERE is_decode AND verify_s IS NOT NULL) AS verifying_step_s,
        sum(wire_s) FILTER (WHERE is_decode) AS wire_s,
        sum(step_s) FILTER (WHERE is_decode AND wire_s IS NOT NULL) AS wired_step_s,
        (sum(bytes_read) FILTER (WHERE is_decode))::BIGINT AS bytes_read,
        sum(step_s) FILTER (WHERE is_decode AND bytes_read IS NOT NULL) AS reading_step_s,
        nullif(count(*) FILTER (WHERE is_decode AND bytes_read IS NOT NULL), 0) AS reading_steps,
        (sum(tokens) FILTER (WHERE is_decode AND bytes_read IS NOT NULL))::BIGINT AS reading_tokens,
        bool_and(coalesce(forwards = tokens, false) AND drafted IS NULL AND block_size IS NULL AND positions IS NULL)
            FILTER (WHERE is_decode) AS is_one_by_one
    FROM stamped GROUP BY run_id, sample
), told AS (
    SELECT run_id, "index" AS sample,
        nullif((engine->>'speculation_rounds')::DOUBLE, 0)::BIGINT AS rounds,
        (engine->>'draft_tokens')::DOUBLE::BIGINT AS drafted,
        (engine->>'accepted_draft_tokens')::DOUBLE::BIGINT AS accepted
    FROM samples
), facts AS (
    SELECT s.run_id, s."index" AS sample, s.is_warmup, s.sample_id, s.prompt_hash, s.score, s.prompt_tokens,
        s.scored_tokens,
        coalesce(CASE WHEN r.first_step_is_prefill THEN a.t_first_s END, s.prefill_s) AS prefill_s,
        coalesce(a.t_first_s, s.first_token_s) AS t_first_s,
        CASE WHEN a.run_id IS NOT NULL THEN a.decode_forwards ELSE s.decode_forwards END AS decode_forwards,
        coalesce(a.forward_tokens, CASE WHEN s.decode_forwards > 0 THEN s.decode_tokens END) AS forward_tokens,
        coalesce(a.forward_s, CASE WHEN s.decode_forwards > 0 THEN s.decode_s END) AS forward_s,
        coalesce(a.n_tokens, s.output_tokens) AS n_tokens,
        coalesce(a.t_last_s, s.duration_s) AS t_last_s,
        a.* EXCLUDE (
            run_id, sample, n_tokens, t_first_s, t_last_s, decode_forwards, forward_tokens, forward_s,
            cycles, cycle_tokens, cycle_drafted, cycle_accepted, all_accepted, all_drafted
        ),
        coalesce(a.cycles, told.rounds) AS cycles,
        coalesce(a.cycle_tokens, CASE WHEN told.rounds > 0 THEN s.output_tokens END) AS cycle_tokens,
        coalesce(a.cycle_drafted, told.drafted) AS cycle_drafted,
        coalesce(a.cycle_accepted, told.accepted) AS cycle_accepted,
        coalesce(a.all_drafted, told.drafted) AS all_drafted,
        coalesce(a.all_accepted, told.accepted) AS all_accepted,
        coalesce(a.n_tokens - a.first_tokens, s.decode_tokens) AS decode_tokens,
        coalesce(coalesce(a.t_last_s, s.duration_s) - a.t_first_s, s.decode_s) AS decode_s,
        a.steps - 1 AS decode_steps,
        s.batch_s,
        count(*) OVER batch AS batch_rows,
        CASE WHEN count(coalesce(a.n_tokens, s.output_tokens)) OVER batch = batch_rows
            THEN (sum(coalesce(a.n_tokens, s.output_tokens)) OVER batch)::BIGINT END AS batch_tokens,
        r.weight_bytes,
        CASE WHEN a.is_one_by_one AND r.batch_size = 1 THEN (a.n_tokens - a.first_tokens) * (
            r.read_weight_bytes + r.kv_bytes_per_token * (s.prompt_tokens + (a.first_tokens + a.n_tokens - 1) / 2)
        ) END AS computed_bytes
    FROM samples s JOIN runs r ON r.run_id = s.run_id
    LEFT JOIN summed a ON a.run_id = s.run_id AND a.sample = s."index"
    LEFT JOIN told ON told.run_id = s.run_id AND told.sample = s."index" AND a.run_id IS NULL
    WHERE s.status = 'ok'
    WINDOW batch AS (PARTITION BY s.run_id, s.batch)
), moved AS (
    SELECT *,
        CASE WHEN bytes_read IS NOT NULL THEN 'engine' WHEN computed_bytes IS NOT NULL THEN 'computed' END
            AS bytes_source,
        coalesce(bytes_read, computed_bytes) AS decode_bytes,
        coalesce(reading_step_s, decode_s) AS decode_bytes_s,
        coalesce(reading_tokens, decode_tokens) AS decode_bytes_tokens,
        decode_bytes / coalesce(reading_steps, decode_forwards) AS working_set_bytes
    FROM facts
), ladders AS (
    SELECT r.run_id, {LADDER_SQL} AS ladder FROM runs r
), rungs AS (
    SELECT run_id, key::DOUBLE AS size, (ladder->>key)::DOUBLE AS rate
    FROM ladders, unnest(json_keys(ladder)) AS keys(key)
), spans AS (
    SELECT run_id, CASE WHEN lag(size) OVER rising IS NULL THEN 0 ELSE size END AS from_bytes,
        ln(size) AS low, lead(ln(size)) OVER rising AS high,
        ln(rate) AS low_rate, lead(ln(rate)) OVER rising AS high_rate
    FROM rungs WINDOW rising AS (PARTITION BY run_id ORDER BY size)
)
SELECT m.*,
    exp(p.low_rate + coalesce(
        greatest(0, (ln(nullif(m.working_set_bytes, 0)) - p.low) / (p.high - p.low)) * (p.high_rate - p.low_rate), 0
    )) AS bandwidth_bytes_per_s
FROM moved m ASOF LEFT JOIN spans p ON p.run_id = m.run_id AND m.working_set_bytes >= p.from_bytes
"""
"""One row per sample that did not fail: everything that a formula may use.

The cycles and drafts of a sample without steps are what its log tells as sums: ``speculation_rounds``, ``draft_tokens``
and ``accepted_draft_tokens`` of its engine's counters; its times are the sample's own ``first_token_s``, ``prefill_s``
and ``decode_s``.

``decode_bytes`` is what the steps after the first read: what the engine says (``bytes_source`` ``engine``), or else
(``computed``) ``read_weight_bytes`` a forward and ``kv_bytes_per_token`` for each position of the context, which for
the token at place j of the output, from 0, has prompt_tokens + j positions. That holds where a forward makes one token
of one row. ``bandwidth_bytes_per_s`` is the ladder's at ``working_set_bytes``, what one step reads: a straight line
between two rungs on logarithmic axes, and beyond the ends the value at the end.
"""


def _metric(  # noqa: PLR0913 - a row of the table, in the order of its columns
    name: str,
    unit: str,
    label: str,
    formula: str,
    quotient: tuple[str, str],
    show: Callable[[float], str],
    better: bool | None,
    level: Level = "sample",
    of_totals: tuple[str, str] | None = None,
) -> Metric:
    return Metric(name, unit, label, formula, quotient[0], quotient[1], show, better, level, of_totals)


_TABLE = (
    _metric(
        "ttft_s", "s", "Time to first token",
        "start of the sample until its first step; a round's figure is the mean over samples",
        ("t_first_s", "1"), format_seconds, False,
    ),
    _metric(
        "tpot_s", "s", "Time per output token",
        "first step until last step, divided by the tokens after the first step",
        ("decode_s", "nullif(decode_tokens, 0)"), format_seconds, False,
    ),
    _metric(
        "itl_s", "s", "Inter-token latency",
        "mean gap between steps; only where every step is exactly one token",
        ("CASE WHEN largest_step = 1 AND smallest_step = 1 THEN decode_s END", "nullif(decode_steps, 0)"),
        format_seconds, False, "step",
    ),
    _metric(
        "step_s", "s", "Time per step", "mean gap between steps, whatever number of tokens each commits",
        ("decode_s", "nullif(decode_steps, 0)"), format_seconds, False, "step",
    ),
    _metric(
        "decode_tokens_per_s", "tokens/s", "Decode speed",
        "tokens after the first step, divided by the time from first to last step; 1 / tpot_s",
        ("nullif(decode_tokens, 0)", "decode_s"), format_rate, True,
    ),
    _metric(
        "e2e_tokens_per_s", "tokens/s", "End-to-end speed",
        "all output tokens, divided by the time from start to last step, prefill included; of totals, where a log has "
        "no samples",
        ("n_tokens", "t_last_s"), format_rate, True,
        of_totals=("r.totals->>'output_tokens'", "r.totals->>'wall_s'"),
    ),
    _metric(
        "e2e_s", "s", "End-to-end time",
        "start of the sample until its last step, prefill included; a round's figure is the mean over samples",
        ("t_last_s", "1"), format_seconds, False,
    ),
    _metric(
        "batch_tokens_per_s", "tokens/s", "Batch speed",
        "output tokens of all rows of a batch, divided by the batch's wall time; each batch counts once; requests that "
        "a load generator sent side by side are one batch; of totals, where a log has no samples",
        ("batch_tokens::DOUBLE / batch_rows", "batch_s / batch_rows"), format_rate, True,
        of_totals=("r.totals->>'output_tokens'", "r.totals->>'wall_s'"),
    ),
    _metric(
        "prefill_tokens_per_s", "tokens/s", "Prefill speed",
        "prompt tokens, divided by the time to the first step; only where the backend declares that its first step "
        "is the prefill and one token, or the engine tells the time of the prompt alone",
        ("CASE WHEN prefill_s > 0 THEN prompt_tokens END", "prefill_s"), format_rate, True,
    ),
    _metric(
        "scored_tokens_per_s", "tokens/s", "Scoring speed",
        "tokens of all prompts with their choices, as the engine got them, divided by the time of scoring them; only "
        "of problems whose choices are scored, where nothing is generated",
        ("scored_tokens", "CASE WHEN scored_tokens IS NOT NULL THEN t_last_s END"), format_rate, True,
    ),
    _metric(
        "tau", "tokens/cycle", "Tokens per verify cycle (pooled)",
        "tokens committed by verify cycles, bonus token included, divided by verify cycles, pooled over cycles; a "
        "verify cycle is a step that drafted, or that tells what was accepted; the first step and the last step of a "
        "sample that ended at the token limit are left out",
        ("cycle_tokens", "cycles"), format_count, True,
    ),
    _metric(
        "tau_mean", "tokens/cycle", "Tokens per verify cycle (mean of samples)",
        "as tau, each sample by itself; a round's figure is the mean over samples",
        ("cycle_tokens::DOUBLE / nullif(cycles, 0)", "1"), format_count, True,
    ),
    _metric(
        "acceptance_rate", "1", "Acceptance rate (pooled)",
        "accepted draft tokens, divided by drafted ones, pooled over the cycles that tau counts; no bonus token",
        ("cycle_accepted", "cycle_drafted"), format_share, True,
    ),
    _metric(
        "acceptance_rate_mean", "1", "Acceptance rate (mean of samples)",
        "as acceptance_rate, each sample by itself; a round's figure is the mean over samples",
        ("cycle_accepted::DOUBLE / nullif(cycle_drafted, 0)", "1"), format_share, True,
    ),
    _metric(
        "draft_efficiency", "1", "Draft efficiency",
        "accepted draft tokens, divided by all tokens ever drafted: every candidate and every discarded token, in "
        "all steps",
        ("all_accepted", "all_drafted"), format_share, True,
    ),
    _metric(
        "tokens_per_forward", "tokens/forward", "Tokens per forward",
        "tokens, divided by model evaluations, over the steps after the first that count their evaluations",
        ("forward_tokens", "decode_forwards"), format_count, True,
        of_totals=("r.totals->>'output_tokens'", "r.totals->>'forwards'"),
    ),
    _metric(
        "draft_share", "1", "Share of time drafting",
        "the engine's drafting time, divided by step time, over the steps after the first that tell it",
        ("draft_s", "drafting_step_s"), format_share, None,
    ),
    _metric(
        "verify_share", "1", "Share of time verifying",
        "the engine's verifying time, divided by step time, over the steps after the first that tell it",
        ("verify_s", "verifying_step_s"), format_share, None,
    ),
    _metric(
        "wire_share", "1", "Share of time on the wire",
        "time that a remote verifier was waited for beyond its own verifying time, divided by step time, over the "
        "steps after the first that tell it",
        ("wire_s", "wired_step_s"), format_share, None,
    ),
    _metric(
        "memory_throughput_bytes_per_s", "bytes/s", "Memory throughput",
        "bytes that the engine says it read, divided by step time, over the steps after the first that tell it",
        ("bytes_read", "reading_step_s"), format_byte_rate, True, "step",
    ),
    _metric(
        "param_throughput_bytes_per_s", "bytes/s", "Parameter throughput",
        "weight bytes x model evaluations, divided by step time, over the steps after the first that count them",
        ("weight_bytes * decode_forwards", "forward_s"), format_byte_rate, True, "step",
    ),
    _metric(
        "bandwidth_utilisation", "1", "Bandwidth utilisation",
        "bytes read by the steps after the first, divided by what the host could have read in their time, at the "
        "bandwidth measured for the same working set; the engine's count where there is one, else weights and KV cache "
        "computed; on CPUs only",
        ("decode_bytes", "decode_bytes_s * bandwidth_bytes_per_s"), format_share, True,
    ),
    _metric(
        "peak_rss_bytes", "bytes", "Peak memory", "largest resident set of the worker process",
        ("peak_rss_bytes", "1"), format_bytes, False, "run",
    ),
    _metric(
        "peak_device_bytes", "bytes", "Peak device memory", "largest device memory, where it is counted",
        ("peak_device_bytes", "1"), format_bytes, False, "run",
    ),
    _metric(
        "energy_j", "J", "Energy", "energy of the GPU over the whole round, loading included, where NVML counts it",
        ("energy_j", "1"), format_joules, False, "run",
    ),
    _metric(
        "load_s", "s", "Load time", "weights into memory, the engine's import included",
        ("load_s", "1"), format_seconds, False, "run",
    ),
    _metric(
        "accuracy", "1", "Accuracy",
        "mean score over the scored samples, every attempt at a problem being one; stands with the task's name",
        ("score", "1"), format_share, True, of_totals=("r.totals->>'accuracy'", "1"),
    ),
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
    figures = ",\n    ".join(f"{metric.pooled_sql} AS {metric.name}" for metric in of_samples())
    told = [metric for metric in of_samples() if metric.of_totals]
    totals = ", ".join(f"coalesce(f.{metric.name}, {metric.totals_sql}) AS {metric.name}" for metric in told)
    return (
        "WITH figures AS (SELECT run_id, count(*) AS measured_samples, sum(n_tokens)::BIGINT AS output_tokens,\n"
        f"    {figures}\nFROM sample_facts WHERE NOT is_warmup GROUP BY run_id)\n"
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
        "Every derived figure, from the one table in `core/records/metrics.py`; this page is generated from it. Seconds and",
        "bytes throughout. A figure of a round is the sum of numerators divided by the sum of denominators over its",
        "measured samples: warm-up and failed samples are left out. A figure that a log cannot support is empty",
        "(NULL), never zero and never a guess.",
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
