"""Presets for the published designs: what is varied, against which baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...core.contract.model import ResolvedModel
from ...core.contract.sweep import Sweep, SweepCells

_SIZES = (4, 8, 12, 16, 20, 24)
_FINE_SIZES = range(9, 17)
_PREFIX_LENGTHS = (1, 2, 3, 4, 6, 7)
_PREFIX = {"candidate_mode": "fixed_prefix_rank", "branch_top_k": 4}
_COMMON = ("throughput_tpot_bars", "sample_tau_box", "cycle_tau_histogram", "cycle_tau_cdf", "decode_breakdown")


def _cell(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - options of the backend
    return {"backend": "dflash", "options": options}


_TOKEN_BY_TOKEN = _cell(block_size=1)  # where a cell names no block size, it is the one the draft was trained with


def block_sizes(model: ResolvedModel) -> SweepCells:
    """Token by token, then every block size of the published sweep."""
    return SweepCells([_TOKEN_BY_TOKEN, *(_cell(block_size=size) for size in _SIZES)])


def fine_block_sizes(model: ResolvedModel) -> SweepCells:
    """Token by token, then one by one the block sizes around the one that drafts are trained with."""
    return SweepCells([_TOKEN_BY_TOKEN, *(_cell(block_size=size) for size in _FINE_SIZES)])


def schedulers(model: ResolvedModel) -> SweepCells:
    """Fixed blocks against the schedulers that choose among them."""
    fixed = [_cell(block_size=size) for size in (8, 12, 16)]
    dynamic = [_cell(scheduler=name) for name in ("threshold", "ewma", "adl_ewma")]
    return SweepCells([_TOKEN_BY_TOKEN, *fixed, *dynamic])


def candidates(model: ResolvedModel) -> SweepCells:
    """Vanilla, candidates off (which isolates the machinery's own cost) and on, by every rule."""
    return SweepCells([_TOKEN_BY_TOKEN, _cell(), *(_cell(**recipe) for recipe in _recipes())])


def _recipes() -> Iterator[dict[str, Any]]:
    yield {"candidate_mode": "branch_beam", "max_candidates": 1}
    yield {"candidate_mode": "branch_beam", "branch_depth": 6, "branch_top_k": 2, "max_candidates": 4}
    yield from _fixed_prefixes(4)
    yield {**_PREFIX, "fixed_prefix_len": 2, "max_candidates": 8, "adaptive_candidates": True}
    sparse = {"candidate_mode": "uncertainty_sparse_rank", "fixed_prefix_len": 2}
    conservative = {"sparse_max_positions": 3, "branch_top_k": 3, "max_candidates": 4, "branch_margin_threshold": 0.08}
    yield {**sparse, **conservative}
    yield {**sparse, "sparse_max_positions": 4, "branch_top_k": 4, "max_candidates": 8}


def _fixed_prefixes(most: int) -> Iterator[dict[str, Any]]:
    yield from ({**_PREFIX, "fixed_prefix_len": length, "max_candidates": most} for length in _PREFIX_LENGTHS)


def fixed_prefixes(model: ResolvedModel) -> SweepCells:
    """Vanilla, then 4 and 8 candidates that keep a prefix of the draft, of every published length."""
    return SweepCells([_TOKEN_BY_TOKEN, _cell(), *(_cell(**one) for most in (4, 8) for one in _fixed_prefixes(most))])


def seeding(model: ResolvedModel) -> SweepCells:
    """No hints, sparse and dense ones, where they belong and where the published loop puts them."""
    modes: list[dict[str, Any]] = [{"seed_mode": "sparse", "seed_max_tokens": 2}, {"seed_mode": "dense"}]
    hinted = [_cell(compat=compat, **mode) for compat in ("none", "published") for mode in modes]
    return SweepCells([_TOKEN_BY_TOKEN, _cell(), *hinted])


def _sweep(name: str, summary: str, cells: Callable[[ResolvedModel], SweepCells], *figures: str) -> Sweep:
    return Sweep(name, summary, cells, figures=(*figures, *_COMMON), exporter="dflash")


SWEEPS = (
    _sweep(
        "block-size",
        "DFlash block sizes 4, 8, 12, 16, 20 and 24 against decoding token by token",
        block_sizes,
        "block_size_tau",
        "block_size_decode_cost",
    ),
    _sweep(
        "block-size-fine",
        "DFlash block sizes 9 to 16, one by one, against decoding token by token",
        fine_block_sizes,
        "block_size_tau",
        "block_size_decode_cost",
    ),
    _sweep(
        "schedulers",
        "DFlash with fixed blocks against threshold, ewma and adl_ewma schedulers",
        schedulers,
        "cycle_tau_trace",
        "rolling_tau",
    ),
    _sweep(
        "candidates",
        "DFlash vanilla, with the candidate machinery off, and on by every rule",
        candidates,
        "candidate_counts",
        "wall_time_tau",
    ),
    _sweep(
        "fixed-prefix",
        "DFlash with candidates that keep a prefix of 1 to 7 drafted tokens, against vanilla",
        fixed_prefixes,
        "candidate_counts",
        "wall_time_tau",
    ),
    _sweep("seeding", "DFlash without hints, with sparse and with dense ones, in either alignment", seeding),
)
