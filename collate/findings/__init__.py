"""What is flagged in the measurements: one file per kind of finding, every check with the rows behind it.

Imports: collate.comparison, collate.load, collate.parity, collate.parsers, collate.statistics, contract, records,
sdk. Imported by: api, collate.comparison, collate.parity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import isfunction

from pydantic import Field

from ... import defaults
from ...core.contract.finding import SEVERITIES, CellFacts, Doubt, Finding, FindingCheck
from ...core.errors import described, unknown_name
from ...core.records.metrics import METRICS
from ...core.records.schema import Record
from ...core.records.store import Store
from ..comparison.observations import load_cells, usual_metric
from . import (
    files,
    like_work,
    machines,
    options,
    orders,
    outputs,
    pooled,
    published,
    rounds,
    samples,
    steps,
    totals,
    units,
)
from .merging import merged
from .subject import Subject

_MODULES = (
    files, pooled, rounds, machines, orders, samples, steps, options, outputs, units, totals, like_work, published,
)  # fmt: skip

Check = Callable[[Subject], Iterator[Doubt]]

_CHECKS: tuple[Check, ...] = tuple(
    found
    for module in _MODULES
    for name, found in vars(module).items()
    if isfunction(found) and found.__module__ == module.__name__ and not name.startswith("_")
)
"""Every public function of these modules is a check, in the order in which it stands there."""

Further = Callable[[], Iterable[FindingCheck]]


def no_further() -> Iterable[FindingCheck]:
    """Give no checks besides our own."""
    return ()


def findings(
    store: Store,
    experiment: str,
    *,
    metric: str | None = None,
    min_effect: float = defaults.MIN_EFFECT,
    further: Further = no_further,
) -> tuple[Finding, ...]:
    """Return every finding on one experiment, the gravest first.

    Args:
        store: an open store.
        experiment: its name.
        metric: name in ``METRICS`` by which rounds are judged; by default the one that ``compare`` takes.
        min_effect: relative difference that the experiment is meant to tell.
        further: gives the checks of plugins, asked for after our own have run.

    Raises:
        UsageError: the metric is not known.
    """
    cells = load_cells(store, experiment)
    metric = metric or usual_metric(cells)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    return found_of(Subject(store, experiment, cells, metric, min_effect), further)


def found_of(subject: Subject, further: Further) -> tuple[Finding, ...]:
    """Return every finding on a subject, the gravest first; see ``findings``."""
    names = {
        run["run_id"]: subject.names[cell.cell_id]
        for cell in subject.cells
        for run in (*(r.run for r in cell.rounds), *cell.failed)
    }
    found = [merged(_name(check), check(subject), names) for check in _CHECKS]
    facts = [
        {**cell.run, "label": subject.names[cell.cell_id], "measured": cell.rounds[0].samples}
        for cell in subject.finished
    ]
    found += [merged(check.name, _of_plugin(check, facts), names) for check in further()]
    return tuple(sorted(filter(None, found), key=lambda finding: SEVERITIES.index(finding.severity)))


def _of_plugin(check: FindingCheck, facts: Sequence[CellFacts]) -> Sequence[Doubt]:
    """Return what a plugin's check flags; one that fails must not cost the others."""
    try:
        return list(check.check(facts))
    except Exception as error:  # noqa: BLE001 - the plugin boundary
        return [Doubt(f"the check {check.name!r} failed: {described(error)}", "fix the plugin", severity="error")]


class CheckSummary(Record):
    """What a check looks for."""

    check: str = Field(description="its name, as findings carry it")
    summary: str = Field(description="one line")
    provider: str = Field(description="decodebench, or the plugin")


def own_checks() -> tuple[CheckSummary, ...]:
    """Return the checks that run whatever plugins there are."""
    return tuple(
        CheckSummary(check=_name(check), summary=(check.__doc__ or "").splitlines()[0], provider="decodebench")
        for check in _CHECKS
    )


def markdown() -> str:
    """Return ``docs/findings.md``: every check of decodebench itself."""
    lines = [
        "# Findings",
        "",
        "What `decodebench findings`, `compare` and the report flag on their own; this page is generated from the",
        "checks. A check gives at most one finding: a severity (error: figures are wrong; warning: they may mislead;",
        "note: good to know), a sentence with the figures, advice, and the cells and rows behind it. If it concerns",
        "several cells, `--details` shows what was found in each. Checks that test every round or cell are corrected",
        "for their number (Holm), so that noise alone causes a finding in at most one experiment of twenty per check.",
        "Plugins add checks of their own: `decodebench findings --list` shows all.",
        "",
        "| check | looks for |",
        "| --- | --- |",
    ]
    lines += [f"| `{check.check}` | {check.summary} |" for check in own_checks()]
    return "\n".join(lines) + "\n"


def _name(check: Check) -> str:
    return check.__name__.replace("_", "-")
