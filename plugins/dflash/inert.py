"""Which options another one silences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .options import DFlashOptions

_SCHEDULING = ("candidate_block_sizes", "warmup_cycles", "required_streak", "cooldown_cycles")
_THRESHOLD = ("decision_window", "tau_high", "tau_mid")
_EWMA = ("ewma_alpha", "switch_margin", "probe_interval", "low_accept_threshold", "low_accept_streak")
_ADL = ("adl_rho", "adl_delta", "adl_k_min", "adl_k_max", "adl_neighborhood")
_CANDIDATES = ("verify", "max_candidates", "branch_top_k", "adaptive_candidates")
_ADAPTIVE = ("adaptive_budgets", "adaptive_accept_thresholds", "adaptive_warmup_cycles", "adaptive_probe_interval")
_DRAFTING = ("draft", "draft_steps", "seed_mode", "candidate_mode", "round_block_sizes")


def inert_options(options: DFlashOptions) -> Mapping[str, str]:
    """Return the options that have no effect beside the others, each with the reason."""
    found: dict[str, str] = {}
    for names, reason in _silenced(options):
        found |= {name: reason for name in names if name not in found}
    return found


def _silenced(options: DFlashOptions) -> Iterator[tuple[Iterable[str], str]]:
    if options.block_size == 1:
        yield _DRAFTING, "with block_size = 1, which drafts nothing"
    if options.seed_mode == "none":
        yield ("seed_max_tokens",), "with seed_mode = 'none'"
    yield from _silenced_by_scheduler(options.scheduler)
    yield from _silenced_by_candidates(options.candidate_mode)
    if options.candidate_mode != "none" and not options.adaptive_candidates:
        yield _ADAPTIVE, "without adaptive_candidates"


def _silenced_by_scheduler(scheduler: str) -> Iterator[tuple[Iterable[str], str]]:
    reason = f"with scheduler = {scheduler!r}"
    if scheduler == "fixed":
        yield _SCHEDULING, reason
    if scheduler != "threshold":
        yield _THRESHOLD, reason
    if scheduler not in ("ewma", "adl_ewma"):
        yield _EWMA, reason
    if scheduler != "adl_ewma":
        yield _ADL, reason


def _silenced_by_candidates(mode: str) -> Iterator[tuple[Iterable[str], str]]:
    reason = f"with candidate_mode = {mode!r}"
    if mode == "none":
        yield (*_CANDIDATES, *_ADAPTIVE), reason
    if mode != "branch_beam":
        yield ("branch_depth",), reason
    if mode not in ("fixed_prefix_rank", "uncertainty_sparse_rank"):
        yield ("fixed_prefix_len",), reason
    if mode not in ("branch_beam", "uncertainty_sparse_rank"):
        yield ("branch_margin_threshold",), reason
    if mode != "uncertainty_sparse_rank":
        yield ("sparse_max_positions",), reason
