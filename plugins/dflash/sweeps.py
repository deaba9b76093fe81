"""Presets for the published designs: what is varied, against which baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ... import ModelError
from ...core.contract.model import ResolvedModel
from ...core.contract.sweep import Sweep, SweepCells

_SIZES = (4, 8, *range(9, 21), 24)
_FEW_SIZES = (2, 3, 4, 6, 8, 10, 12, 14, 16)
_LARGE = 1024  # width from which a target is real: the published sizes apply, and a smaller model gets fewer
_COMMON = ("throughput_tpot_bars", "sample_tau_box", "cycle_tau_histogram", "cycle_tau_cdf", "decode_breakdown")


def _cell(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - options of the backend
    return {"backend": "dflash", "options": options}


_TOKEN_BY_TOKEN = _cell(block_size=1)  # where a cell names no block size, it is the one the draft was trained with


def _is_small(model: ResolvedModel) -> bool:
    from ...core.sdk.torch_layers.causal_lm import read_config

    try:
        return read_config(model.path).width < _LARGE
    except ModelError:  # said when the cells are checked
        return False


def block_sizes(model: ResolvedModel) -> SweepCells:
    """Token by token, then every published block size; fewer for a small model."""
    small = _is_small(model)
    notes = [f"{model.name} is small: block sizes {', '.join(map(str, _FEW_SIZES))} instead of the published ones"]
    sizes = _FEW_SIZES if small else _SIZES
    return SweepCells([_TOKEN_BY_TOKEN, *(_cell(block_size=size) for size in sizes)], notes if small else ())


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
    prefix = {"candidate_mode": "fixed_prefix_rank", "branch_top_k": 4}
    yield from ({**prefix, "fixed_prefix_len": length, "max_candidates": 4} for length in (1, 2, 3, 4, 6, 7))
    yield {**prefix, "fixed_prefix_len": 2, "max_candidates": 8, "adaptive_candidates": True}
    sparse = {"candidate_mode": "uncertainty_sparse_rank", "fixed_prefix_len": 2}
    conservative = {"sparse_max_positions": 3, "branch_top_k": 3, "max_candidates": 4, "branch_margin_threshold": 0.08}
    yield {**sparse, **conservative}
    yield {**sparse, "sparse_max_positions": 4, "branch_top_k": 4, "max_candidates": 8}


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
        "DFlash block sizes against decoding token by token",
        block_sizes,
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
    _sweep("seeding", "DFlash without hints, with sparse and with dense ones, in either alignment", seeding),
)
