"""What every formula of ``metrics`` may use: the facts of a sample, as one query over runs, samples and steps."""

from __future__ import annotations

from typing import get_args

from .engine_counters import counter
from .schema import THREADS, RecordedStep
from .step_figures import FIGURES

LADDER_SQL = f"""
CASE WHEN r.device LIKE 'cpu%' AND len(json_keys(r.environment->'memory_bandwidth_1_thread')) > 0 THEN
    CASE WHEN coalesce(r.options->>'{THREADS}', r.settings->>'{THREADS}') = '1'
    THEN r.environment->'memory_bandwidth_1_thread' ELSE r.environment->'memory_bandwidth' END
END
"""
"""The bandwidth ladder that a run ``r`` is compared with: the host's, with the threads that the run may use.

Logs of decodebench 0.1 have no ladder of one thread and, under the other name, one that was measured in another way.
Those of plugin API 2 may have the threads among the options alone, under that name.
"""

GOOD_SQL = """
CASE WHEN slo IS NOT NULL AND len(json_keys(slo)) > 0 THEN
    coalesce(t_first_s + waited_s <= (slo->>'ttft_s')::DOUBLE, (slo->>'ttft_s') IS NULL)
    AND coalesce(request_tpot_s <= (slo->>'tpot_s')::DOUBLE, (slo->>'tpot_s') IS NULL OR n_tokens = 1)
    AND coalesce(t_last_s + waited_s <= (slo->>'e2e_s')::DOUBLE, (slo->>'e2e_s') IS NULL)
END
"""
"""Whether a request kept every limit of the workload's service level; NULL where it has none.

A time that is unknown kept none; a single token has no time per token to be too long.
"""


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
"""What is told of the times of a round's requests, as suffix of a metric's name and as share: those that load
generators print."""

_SHARES = list(PERCENTILES.values())


def _decode_sums() -> str:
    """Return the columns with each figure's sum over decode steps, and the time of those that have the figure."""
    columns = []
    for name in FIGURES:
        kind = "DOUBLE" if float in get_args(RecordedStep.model_fields[name].annotation) else "BIGINT"
        columns.append(f"(sum({name}) FILTER (WHERE is_decode))::{kind} AS decode_{name}")
        columns.append(f"sum(step_s) FILTER (WHERE is_decode AND {name} IS NOT NULL) AS decode_{name}_step_s")
    return ",\n        ".join(columns)


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
        max(t_s) FILTER (WHERE "index" = 0) AS t_step_0_s,
        min(t_s) FILTER (WHERE tokens > 0) AS t_first_s,
        CASE WHEN count(t_s) = count(*) THEN max(t_s) END AS t_last_s,
        nullif(count(*) FILTER (WHERE is_cycle), 0) AS cycles,
        (sum(tokens) FILTER (WHERE is_cycle))::BIGINT AS cycle_tokens,
        (sum(drafted) FILTER (WHERE is_cycle AND accepted IS NOT NULL))::BIGINT AS cycle_drafted,
        (sum(accepted) FILTER (WHERE is_cycle AND drafted IS NOT NULL))::BIGINT AS cycle_accepted,
        (sum(accepted) FILTER (WHERE drafted IS NOT NULL))::BIGINT AS all_accepted,
        (sum(drafted * greatest(coalesce(candidates, 1), 1) + coalesce(discarded, 0))
            FILTER (WHERE accepted IS NOT NULL))::BIGINT
            AS all_drafted,
        {_decode_sums()},
        (sum(tokens) FILTER (WHERE is_decode AND forwards IS NOT NULL))::BIGINT AS forward_tokens,
        nullif(count(*) FILTER (WHERE is_decode AND bytes_read IS NOT NULL), 0) AS reading_steps,
        (sum(tokens) FILTER (WHERE is_decode AND bytes_read IS NOT NULL))::BIGINT AS reading_tokens,
        bool_and(coalesce(forwards = tokens, false) AND drafted IS NULL AND block_size IS NULL AND positions IS NULL)
            FILTER (WHERE is_decode) AS is_one_by_one
    FROM stamped GROUP BY run_id, sample
), told AS (
    SELECT run_id, "index" AS sample,
        nullif({counter("speculation_rounds")}, 0)::BIGINT AS rounds,
        {counter("draft_tokens")}::BIGINT AS drafted,
        {counter("accepted_draft_tokens")}::BIGINT AS accepted
    FROM samples
), sent AS (
    SELECT run_id, batch, count(*) AS batch_requests FROM samples GROUP BY run_id, batch
), facts AS MATERIALIZED (
    SELECT s.run_id, s."index" AS sample, s.is_warmup, s.sample_id, s.prompt_hash, s.score, s.prompt_tokens,
        s.prompt_tokens - coalesce(s.depth_tokens, 0) AS timed_prompt_tokens,
        s.scored_tokens,
        coalesce(CASE WHEN r.first_step_is_prefill THEN a.t_step_0_s END, s.prefill_s) AS prefill_s,
        greatest(0, coalesce(s.start_s - s.due_s, 0)) AS waited_s,
        s.due_s IS NOT NULL OR (r.source_format <> 'decodebench' AND s.batch IS NOT NULL) AS is_request,
        CASE WHEN s.due_s IS NOT NULL THEN greatest(0, coalesce(s.admitted_s, s.start_s) - s.due_s) END AS queue_s,
        sent.batch_requests,
        r.workload->'slo' AS slo,
        coalesce(CASE WHEN r.first_step_is_prefill IS NOT NULL THEN a.t_first_s END, s.first_token_s) AS t_first_s,
        CASE WHEN a.run_id IS NOT NULL THEN a.decode_forwards ELSE s.decode_forwards END AS decode_forwards,
        coalesce(a.forward_tokens, CASE WHEN s.decode_forwards > 0 THEN s.decode_tokens END) AS forward_tokens,
        coalesce(a.decode_forwards_step_s, CASE WHEN s.decode_forwards > 0 THEN s.decode_s END)
            AS decode_forwards_step_s,
        coalesce(a.n_tokens, s.output_tokens) AS n_tokens,
        coalesce(a.t_last_s, s.duration_s) AS t_last_s,
        a.* EXCLUDE (
            run_id, sample, n_tokens, t_step_0_s, t_first_s, t_last_s, decode_forwards, forward_tokens,
            decode_forwards_step_s, cycles, cycle_tokens, cycle_drafted, cycle_accepted, all_accepted, all_drafted
        ),
        coalesce(a.cycles, told.rounds) AS cycles,
        coalesce(a.cycle_tokens, CASE WHEN told.rounds > 0 THEN s.output_tokens END) AS cycle_tokens,
        coalesce(a.cycle_drafted, told.drafted) AS cycle_drafted,
        coalesce(a.cycle_accepted, told.accepted) AS cycle_accepted,
        coalesce(a.all_drafted, told.drafted) AS all_drafted,
        coalesce(a.all_accepted, told.accepted) AS all_accepted,
        coalesce(a.n_tokens - a.first_tokens, s.decode_tokens) AS decode_tokens,
        coalesce(coalesce(a.t_last_s, s.duration_s) - a.t_step_0_s, s.decode_s) AS decode_s,
        a.steps - 1 AS decode_steps,
        CASE WHEN coalesce(a.n_tokens, s.output_tokens) > 1 THEN (
            coalesce(a.t_last_s, s.duration_s) - coalesce(a.t_first_s, s.first_token_s)
        ) / (coalesce(a.n_tokens, s.output_tokens) - 1) END AS request_tpot_s,
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
    LEFT JOIN told ON told.run_id = s.run_id AND told.sample = s."index" AND a.all_drafted IS NULL
    LEFT JOIN sent ON sent.run_id = s.run_id AND sent.batch = s.batch
    WHERE s.status = 'ok'
    WINDOW batch AS (PARTITION BY s.run_id, s.batch)
), gaps AS (
    SELECT t.run_id, quantile_cont(t.step_s, {_SHARES}) AS itl_tail
    FROM facts f JOIN steps t ON t.run_id = f.run_id AND t.sample = f.sample
    WHERE f.is_request AND NOT f.is_warmup AND t."index" > 0 GROUP BY t.run_id
), tails AS (
    SELECT run_id,
        quantile_cont(t_first_s + waited_s, {_SHARES}) AS ttft_tail,
        quantile_cont(request_tpot_s, {_SHARES}) AS tpot_tail,
        quantile_cont(t_last_s + waited_s, {_SHARES}) AS e2e_tail
    FROM facts WHERE is_request AND NOT is_warmup GROUP BY run_id
), moved AS (
    SELECT facts.*, ttft_tail, tpot_tail, e2e_tail, itl_tail,
        CASE WHEN decode_bytes_read IS NOT NULL THEN 'engine' WHEN computed_bytes IS NOT NULL THEN 'computed' END
            AS bytes_source,
        coalesce(decode_bytes_read, computed_bytes) AS decode_bytes,
        coalesce(decode_bytes_read_step_s, decode_s) AS decode_bytes_s,
        coalesce(reading_tokens, decode_tokens) AS decode_bytes_tokens,
        decode_bytes / coalesce(reading_steps, decode_forwards) AS working_set_bytes,
        {GOOD_SQL} AS is_good
    FROM facts LEFT JOIN tails USING (run_id) LEFT JOIN gaps USING (run_id)
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

The cycles and drafts of a sample whose steps have none are what its log tells as sums, in its ``EngineCounters``; its
times are the sample's own ``first_token_s``, ``prefill_s`` and ``decode_s``.

``t_first_s`` is the time of the first step that committed a token, and only where the steps are known to begin with the
prefill. ``waited_s`` is the time from when a request was due until it was sent, ``queue_s`` until the engine began with
it, where that is known. ``request_tpot_s`` is one request's own time per token after the first; a round's are in
``tpot_tail``, each of ``PERCENTILES``, as those of ``ttft_tail``, ``e2e_tail`` and, over all gaps between steps,
``itl_tail``: equal in all samples of a round, with linear interpolation between two ranks. ``batch_requests`` counts
failed ones too. Of every figure of a step there are ``decode_FIGURE``, its sum over the steps after the first, and
``decode_FIGURE_step_s``, the time of those that have it.

``decode_bytes`` is what the steps after the first read: what the engine says (``bytes_source`` ``engine``), or else
(``computed``) ``read_weight_bytes`` a forward and ``kv_bytes_per_token`` for each position of the context, which for
the token at place j of the output, from 0, has prompt_tokens + j positions. That holds where a forward makes one token
of one row. ``bandwidth_bytes_per_s`` is the ladder's at ``working_set_bytes``, what one step reads: a straight line
between two rungs on logarithmic axes, and beyond the ends the value at the end.
"""
