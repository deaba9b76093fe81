"""What every formula of ``metrics`` may use: the facts of a sample, as one query over runs, samples and steps."""

from __future__ import annotations

from typing import get_args

from .schema import RecordedStep
from .step_figures import FIGURES

LADDER_SQL = """
CASE WHEN r.device LIKE 'cpu%' AND len(json_keys(r.environment->'memory_bandwidth_1_thread')) > 0 THEN
    CASE WHEN coalesce(r.options->>'n_threads', r.settings->>'n_threads') = '1'
    THEN r.environment->'memory_bandwidth_1_thread' ELSE r.environment->'memory_bandwidth' END
END
"""
"""The bandwidth ladder that a run ``r`` is held against: the host's, with the threads that the run may use.

Logs of decodebench 0.1 have no ladder of one thread and, under the other name, one that was measured in another way.
"""


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
        nullif((engine->>'speculation_rounds')::DOUBLE, 0)::BIGINT AS rounds,
        (engine->>'draft_tokens')::DOUBLE::BIGINT AS drafted,
        (engine->>'accepted_draft_tokens')::DOUBLE::BIGINT AS accepted
    FROM samples
), facts AS (
    SELECT s.run_id, s."index" AS sample, s.is_warmup, s.sample_id, s.prompt_hash, s.score, s.prompt_tokens,
        s.scored_tokens,
        coalesce(CASE WHEN r.first_step_is_prefill THEN a.t_step_0_s END, s.prefill_s) AS prefill_s,
        greatest(0, coalesce(s.start_s - s.due_s, 0)) AS waited_s,
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
        CASE WHEN decode_bytes_read IS NOT NULL THEN 'engine' WHEN computed_bytes IS NOT NULL THEN 'computed' END
            AS bytes_source,
        coalesce(decode_bytes_read, computed_bytes) AS decode_bytes,
        coalesce(decode_bytes_read_step_s, decode_s) AS decode_bytes_s,
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

``t_first_s`` is the time of the first step that committed a token, and only where the steps are known to begin with the
prefill. ``waited_s`` is the time from when a request was due until it was sent. Of every figure of a step there are
``decode_FIGURE``, its sum over the steps after the first, and ``decode_FIGURE_step_s``, the time of those that have it.

``decode_bytes`` is what the steps after the first read: what the engine says (``bytes_source`` ``engine``), or else
(``computed``) ``read_weight_bytes`` a forward and ``kv_bytes_per_token`` for each position of the context, which for
the token at place j of the output, from 0, has prompt_tokens + j positions. That holds where a forward makes one token
of one row. ``bandwidth_bytes_per_s`` is the ladder's at ``working_set_bytes``, what one step reads: a straight line
between two rungs on logarithmic axes, and beyond the ends the value at the end.
"""
