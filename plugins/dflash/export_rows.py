"""Runs of the backend as rows of the published files: results, one per prompt, and the cycle trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .export_run import Json, Run, Sample

_CANDIDATE_OPTIONS = (
    "branch_depth", "branch_top_k", "max_candidates", "branch_margin_threshold", "candidate_mode", "fixed_prefix_len",
    "sparse_max_positions", "adaptive_candidates", "adaptive_budgets", "adaptive_accept_thresholds",
    "adaptive_warmup_cycles", "adaptive_probe_interval",
)  # fmt: skip
_CANDIDATE_TRACE = (
    "cycle_max_candidates", "selected_positions", "chosen_candidate_idx", "candidate_taus", "candidate_draft_scores",
    "candidate_rank_variants",
)  # fmt: skip
_SCHEDULER_OPTIONS = (
    "warmup_cycles", "decision_window", "tau_high", "tau_mid", "ewma_alpha", "switch_margin", "required_streak",
    "cooldown_cycles", "probe_interval", "low_accept_threshold", "low_accept_streak", "adl_rho", "adl_delta",
    "adl_k_min", "adl_k_max", "adl_neighborhood",
)  # fmt: skip
_SCHEDULER_TRACE = (
    "tau_hat", "cycle_hat", "score_hat", "current_block_size", "adl_lgen_hat", "adl_lacc_hat", "adl_target_k",
    "adl_target_bs", "rolling_tau",
)  # fmt: skip
_SEED_TRACE = ("recycled_available", "seeded_count", "recycled_next")
_ROUND_TRACE = ("proposal_prob", "residual_prob", "accept_prob", "u")
_PROFILE = (
    "target_prefill_s", "target_decode_s", "draft_decode_s", "cycle_decode_s_sum", "decode_wall_s", "profiled_cycles",
    "draft_share_decode", "target_share_decode",
)  # fmt: skip
_WHERE = ("rank", "dataset_row_idx", "turn_index")


def result_rows(run: Run, baseline: Run | None) -> Iterator[Json]:
    """Yield a row per prompt: the method's result, and beside it the baseline's on the same prompt."""
    for at, (prompt, sample) in enumerate(run.samples.items()):
        other = baseline.samples.get(prompt) if baseline else None
        is_chat = run.row["chat"]
        yield {
            **_where(sample, at),
            "dataset": run.row["task"] or "prompts",
            "prompt_text": None if is_chat else sample.row["prompt"],
            "input_text": sample.row["prompt"],
            **_row_options(run),
            "baseline": _result(baseline, other) if baseline and other else None,
            run.method: _result(run, sample),
            **sample.row["extra"],
        }


def _where(sample: Sample, at: int) -> Json:
    return {name: int(sample.engine.get(f"published_{name}", at if "row" in name else 0)) for name in _WHERE}


def _row_options(run: Run) -> Json:
    if run.method != "speculative":
        return {}
    size = {"block_size": run.block_size}
    if run.has_candidates:
        return {**size, **_told(run.options, *_CANDIDATE_OPTIONS)}
    return size if run.has_seeds else {**size, **_told(run.options, "draft_steps")}


def _result(run: Run, sample: Sample) -> Json:
    common = {
        "output_text": sample.row["text"],
        "num_input_tokens": sample.row["prompt_tokens"],
        "num_output_tokens": sample.tokens,
        "wall_time_s": sample.wall_s,
        "ttft_s": sample.ttft_s,
        "tpot_s": sample.tpot_s,
        "output_ids": sample.row["output_ids"],
    }
    if run.method == "multiround":
        return {**common, "round_block_sizes": run.options["round_block_sizes"], **_rounds(sample)}
    common |= {"acceptance_lengths": sample.taus}
    if sample.all_have("block_size"):
        common["used_block_sizes"] = [cycle["block_size"] for cycle in sample.cycles]
    if run.method == "dynamic":
        return common | _dynamic(run, sample)
    if run.has_seeds:
        seeds = {name: run.options.get(name) for name in ("seed_mode", "seed_max_tokens")}
        return {
            **common,
            **{k: v for k, v in seeds.items() if v is not None},
            "seed_summary": _seed_summary(run, sample),
        }
    common["profile_summary"] = _profile(sample)
    return {**common, "candidate_summary": _candidate_summary(run, sample)} if run.has_candidates else common


def _profile(sample: Sample) -> Json | None:
    if not sample.all_have("draft_s", "verify_s", "engine_s"):
        return sample.summed(_PROFILE)
    draft_s, target_s = sample.total("draft_s"), sample.total("verify_s")
    both = max(1e-12, draft_s + target_s)
    return {
        "target_prefill_s": sample.ttft_s,
        "target_decode_s": target_s,
        "draft_decode_s": draft_s,
        "cycle_decode_s_sum": sample.total("engine_s"),
        "decode_wall_s": None if sample.tpot_s is None else sample.tpot_s * sample.tokens,
        "profiled_cycles": len(sample.cycles),
        "draft_share_decode": draft_s / both,
        "target_share_decode": target_s / both,
    }


def _seed_summary(run: Run, sample: Sample) -> Json | None:
    names = (
        "seed_attempt_cycles", "seeded_cycles", "seeded_token_total", "recycled_generated_total", "seeded_cycle_rate",
        "seeded_tokens_per_cycle",
    )  # fmt: skip
    traces = [cycle["trace"] for cycle in sample.cycles]
    if not all("seeded_count" in trace for trace in traces):
        told = sample.summed(names)
        return told and {"mode": run.options["seed_mode"], **told}
    seeded = sum(trace["seeded_count"] > 0 for trace in traces)
    cycles = max(1, len(traces))
    values = (
        sum(trace.get("recycled_available", 0) > 0 for trace in traces),
        seeded,
        sample.total("seeded_count"),
        sample.total("recycled_next"),
        seeded / cycles,
        sample.total("seeded_count") / cycles,
    )
    return {"mode": run.options["seed_mode"], **dict(zip(names, values, strict=True))}


def _candidate_summary(run: Run, sample: Sample) -> Json | None:
    names = ("avg_candidates_per_cycle", "candidate_verify_calls", "candidate_count_sum")
    options = ("candidate_mode", "fixed_prefix_len", "sparse_max_positions")
    told = {n: v for n, v in run.options.items() if n in options or n.startswith("adaptive_")}
    if not sample.all_have("candidates"):
        summed = sample.summed(names)
        budget = "published_adaptive_budget_counts_"
        counts = {n.removeprefix(budget): int(v) for n, v in sample.engine.items() if n.startswith(budget)}
        return summed and {**told, "adaptive_budget_counts": counts, **summed}
    budgets = Counter(
        str(c["trace"]["cycle_max_candidates"]) for c in sample.cycles if "cycle_max_candidates" in c["trace"]
    )
    verified = sample.total("candidates")
    values = (verified / len(sample.cycles), len(sample.cycles), verified)
    return {**told, "adaptive_budget_counts": dict(budgets), **dict(zip(names, values, strict=True))}


def _dynamic(run: Run, sample: Sample) -> Json:
    found: Json = {
        "candidate_block_sizes": run.options.get("candidate_block_sizes"),
        "scheduler": {"type": run.options.get("scheduler"), **_told(run.options, *_SCHEDULER_OPTIONS)},
    }
    if sample.all_have("block_size"):
        found["cycle_trace"] = [
            {
                **_place(sample, at),
                "block_size": cycle["block_size"],
                **_told(cycle["trace"], "chosen_block_size"),
                **_gain(sample, at),
                **_told(cycle["trace"], "l_gen"),
                **({} if cycle["engine_s"] is None else {"cycle_s": cycle["engine_s"]}),
                **_told(cycle["trace"], *_SCHEDULER_TRACE),
            }
            for at, cycle in enumerate(sample.cycles)
        ]
    return found


def _rounds(sample: Sample) -> Json:
    traces = [cycle["trace"] for cycle in sample.cycles]
    if not all("round_idx" in trace for trace in traces):
        return {}
    ids = sample.row["output_ids"] or [None] * (len(traces) + 1)
    trace = [
        {
            "step_idx": at,
            "round_idx": cycle["trace"]["round_idx"],
            "configured_block_size": cycle["block_size"],
            "token_id": ids[at + 1] if at + 1 < len(ids) else None,
            **_told(cycle["trace"], *_ROUND_TRACE, "accepted"),
        }
        for at, cycle in enumerate(sample.cycles)
    ]
    return {"accepted_rounds": [trace["round_idx"] for trace in traces], "round_trace": trace}


def _told(found: Mapping[str, Any], *names: str) -> Json:
    return {name: found[name] for name in names if name in found}


def _place(sample: Sample, at: int) -> Json:
    """Return a cycle's index and the position of its anchor in the whole sequence."""
    return {"cycle_idx": at, "start_idx": (sample.row["prompt_tokens"] or 0) + sample.starts[at]}


def _gain(sample: Sample, at: int) -> Json:
    tau, size = sample.taus[at], sample.cycles[at]["block_size"]
    return {"tau": tau, "acceptance_ratio": tau / size}


def trace_rows(run: Run, baseline: Run | None) -> Iterator[Json]:
    """Yield the cycles of each prompt, the baseline's first."""
    for at, (prompt, sample) in enumerate(run.samples.items()):
        other = baseline.samples.get(prompt) if baseline else None
        modes: list[tuple[str, Run, Sample]] = [("speculative", run, sample)]
        if baseline and other:
            modes.insert(0, ("baseline", baseline, other))
        for mode, of_run, each in modes:
            if not each.all_have("block_size"):
                continue
            about = {
                "rank": _where(each, at)["rank"],
                "dataset": run.row["task"] or "prompts",
                **{name: _where(each, at)[name] for name in _WHERE[1:]},
                "mode": mode,
                "block_size": of_run.block_size,
            }
            cycle = _seed_cycle if run.has_seeds else _timed_cycle
            yield from ({**about, **cycle(of_run, each, index)} for index in range(len(each.cycles)))


def _timed_cycle(run: Run, sample: Sample, at: int) -> Json:
    cycle = sample.cycles[at]
    times = {"draft_s": "draft_s", "target_s": "verify_s", "cycle_s": "engine_s"}
    found = {
        "cycle_idx": at,
        "generated_tokens_before": sample.starts[at],
        "effective_block_size": cycle["block_size"],
        **_gain(sample, at),
        **{name: cycle[column] for name, column in times.items()},
        "committed_tokens": cycle["tokens"],
    }
    if run.has_candidates and cycle["candidates"] is not None:
        found |= {"num_candidates": cycle["candidates"], **_told(cycle["trace"], *_CANDIDATE_TRACE)}
    return found


def _seed_cycle(run: Run, sample: Sample, at: int) -> Json:
    cycle = sample.cycles[at]
    return {
        **_place(sample, at),
        "block_size": cycle["block_size"],
        **_gain(sample, at),
        "seed_mode": run.options.get("seed_mode", "none"),
        **{name: cycle["trace"].get(name, 0) for name in _SEED_TRACE},
        "committed_tokens": cycle["tokens"],
    }
