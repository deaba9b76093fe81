"""Analyse the speculative decoding of one experiment: own runs and imported ones alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...core.contract.analysis import Analysis
from ...core.errors import UsageError
from ...core.records.store import Store
from ..comparison.labels import find_baseline
from ..comparison.observations import choose_experiment
from .acceptance import acceptance_of, replicated
from .blocks import blocks_of
from .cycle_time import cycle_time_of
from .distribution import spread_of
from .figures import Speculation, SpeculationCell
from .observed import Observed, load, mean, quotient
from .pairs import nearest, pair
from .start_up import Durations, load_durations, start_up_of

_PRINTED = "published_"
"""How the keys of ``Run.settings`` begin under which an imported log's own aggregates are kept."""


def analyse(
    store: Store,
    experiment: str | None = None,
    *,
    steady_state: bool = False,
    baseline: str | None = None,
    further: Iterable[Analysis] = (),
) -> Speculation:
    """Return every derived figure of an experiment's speculative decoding.

    Args:
        store: an open store.
        experiment: its name; the latest one by default.
        steady_state: leave out the first measured sample of every round.
        baseline: a cell's label or id, or a value of any dimension. By default each cell is compared with the one of
            its own backend and model that drafted nothing, and where there is none with the plan's first cell.
        further: analyses of plugins, each of which may add a section.

    Raises:
        UsageError: an unknown experiment or baseline; nothing in the experiment drafts.
    """
    name = choose_experiment(store, experiment)
    cells = load(store, name, steady_state=steady_state)
    if not any(cell.is_speculative for cell in cells):
        raise _nothing_drafts(store, name)
    durations = load_durations(store, name)
    baselines = _baselines(cells, baseline)
    found = Speculation(
        experiment=name,
        steady_state=steady_state,
        cells=tuple(_cell(cell, baselines[cell.name], durations) for cell in cells),
        pairs=tuple(pair(cell, base) for cell in cells if (base := baselines[cell.name]) is not cell and cell.rounds),
    ).with_observed(cells)
    sections = {analysis.name: section for analysis in further if (section := analysis.analyse(found)) is not None}
    return found.model_copy(update={"sections": sections})


def _nothing_drafts(store: Store, experiment: str) -> UsageError:
    others = store.query(
        "SELECT DISTINCT r.experiment FROM runs r JOIN steps t ON t.run_id = r.run_id "
        "WHERE t.drafted IS NOT NULL ORDER BY r.experiment"
    )[1]
    hint = f"; try --experiment {', '.join(name for (name,) in others)}" if others else ""
    return UsageError(
        f"experiment {experiment!r} has no speculative decoding: no step has a number of drafted tokens{hint}",
        code="no-results",
    )


def _baselines(cells: Sequence[Observed], wanted: str | None) -> dict[str, Observed]:
    """Return the baseline of every cell, by the cell's label."""
    finished = [cell for cell in cells if cell.rounds] or list(cells)
    if wanted is not None:
        names = {cell.cell.cell_id: cell.label for cell in cells}
        chosen = find_baseline([cell.cell for cell in cells], names, wanted, None)
        base = next(cell for cell in cells if cell.cell is chosen)
        return {cell.name: base for cell in cells}
    return {cell.name: _own_baseline(cell, finished) for cell in cells}


def _own_baseline(cell: Observed, finished: Sequence[Observed]) -> Observed:
    if cell.is_undrafted:
        return cell
    own = [other for other in finished if other.is_undrafted and _is_of_same(other, cell)]
    return nearest(cell, own) or finished[0]


def _is_of_same(a: Observed, b: Observed) -> bool:
    return all(a.cell.run[name] == b.cell.run[name] for name in ("backend", "model"))


def _cell(observed: Observed, baseline: Observed, durations: Durations) -> SpeculationCell:
    samples, settings = observed.samples, observed.cell.run["settings"] or {}
    capped = [sample.is_capped(observed.cell.run["max_new_tokens"]) for sample in samples]
    hit_cap = None if None in capped else sum(map(bool, capped))
    return SpeculationCell(
        cell=observed.label,
        baseline=baseline.name,
        rounds=len(observed.rounds),
        failed=len(observed.cell.failed),
        samples=len(samples),
        output_tokens_mean=mean(sample.tokens for sample in samples),
        hit_cap=hit_cap,
        hit_cap_share=None if hit_cap is None else quotient(hit_cap, len(samples)),
        ttft_s=replicated(observed.rounds, "ttft_s"),
        tpot_s=replicated(observed.rounds, "tpot_s"),
        decode_tokens_per_s=replicated(observed.rounds, "decode_tokens_per_s"),
        e2e_tokens_per_s=replicated(observed.rounds, "e2e_tokens_per_s"),
        acceptance=acceptance_of(observed),
        time=cycle_time_of(observed),
        spread=spread_of(observed),
        blocks=blocks_of(observed),
        start_up=start_up_of(observed.cell, durations),
        printed={name: text for name, text in settings.items() if name.startswith(_PRINTED)},
    )
