"""What the slides say: one record, written as ``deck.json``, which any template reads."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field

from ...collate.comparison.result import Comparison, ComparisonRow, Estimate
from ...core.contract.finding import SEVERITIES
from ...core.records.metrics import METRICS
from ...core.records.schema import Record
from ...core.records.store import Store
from ..drawing.numbers import interval, percent, with_interval
from ..privacy import Names
from ..report.answer import Card, cards, headline
from ..report.machines import facts_of
from ..terminal.captions import baseline_text
from .pictures import Picture, Pictures

_SPEAKS_OF = {"rounds": "other rounds with these prompts", "prompts": "other prompts of this kind too"}
_MEASURED = (
    "Every round of every cell ran in a fresh process, all cells in a seeded shuffle within each round, on the same "
    "token ids. Warm-up samples are recorded but excluded.",
    "Ratios are paired by prompt and round, with 95 % t intervals on the per-round log ratios (n = rounds). With "
    "several comparisons, intervals are simultaneous ({correction}). Verdicts follow from them. They generalise to "
    "{prompts}. Two rounds give wide intervals; one round gives none and is not tested. Means are geometric.",
    "Accuracy counts each problem once, with Wilson's interval; differences are tested with McNemar's mid-p test.",
)
_IMPORTED = (
    "The rounds were read from logs of other tools; what a log lacks is left empty, never guessed.",
    "Imported rounds ran at different times: ratios have Welch's 95 % intervals (n = rounds). With several "
    "comparisons, intervals are simultaneous ({correction}). They generalise to {prompts}. Two rounds give wide "
    "intervals; one round gives none and is not tested. Means are geometric.",
    "Accuracy is that of the logs; its interval is Wilson's if they list every problem.",
)


class Row(Record):
    """One cell, in words as a table shows them."""

    label: str = Field(description="what the cell is called")
    is_baseline: bool = Field(description="whether others are compared with it")
    baseline: str = Field(description="label of the cell that it is compared with")
    value: str = Field(description="the metric with its unit where that is not the table's; n/a where not measured")
    margin: str = Field(description="its 95 % interval; may be empty")
    ratio: str = Field(description="ratio to the baseline, above 1 is better; n/a if unknown")
    interval: str = Field(description="95 % interval of the ratio, of all ratios together; empty where there is none")
    verdict: str = Field(
        description="faster, slower, equivalent, no difference shown, not tested, not comparable or baseline"
    )
    parity: str = Field(description="outputs identical to the baseline's; empty where they cannot be compared")
    accuracy: str = Field(description="share of right answers; empty where none was scored")
    accuracy_interval: str = Field(description="its 95 % interval; may be empty")
    accuracy_difference: str = Field(description="difference to the baseline in points with its interval; may be empty")
    accuracy_verdict: str = Field(description="higher, lower, no difference shown or baseline; may be empty")
    problems: int = Field(description="problems behind the accuracy")
    rounds: int = Field(description="finished rounds")
    failed: int = Field(description="rounds that did not finish")


class Note(Record):
    """Something that a reader must know before trusting a number."""

    kind: Literal["error", "warning", "note"] = Field(description="how serious it is")
    text: str = Field(description="what, where and with which figures")
    advice: str = Field(default="", description="what to do about it; may be empty")


class Fact(Record):
    """A name and a value."""

    name: str
    value: str


class Source(Record):
    """Where rounds came from."""

    format: str = Field(description="decodebench, or the format of another tool's log")
    rounds: int = Field(description="how many")
    files: tuple[str, ...] = Field(description="imported files, sorted")


class Deck(Record):
    """Everything that the slides show; no number in them has another origin."""

    experiment: str = Field(description="name of the experiment")
    date: str | None = Field(description="UTC day of its first round, as YYYY-MM-DD; None if no log has it")
    devices: tuple[str, ...] = Field(description="device and host of every place that rounds ran on")
    engines: tuple[str, ...] = Field(description="backends with their versions")
    models: tuple[str, ...] = Field(description="models as the user named them")
    headline: str = Field(description="the result in one sentence")
    cards: tuple[Card, ...] = Field(description="the fastest cell, whether its text is the same, its accuracy")
    metric: Fact = Field(description="label and unit of the metric of the ratios")
    baseline: str = Field(description="label of the baseline; words where each group of cells has its own")
    min_effect: str = Field(description="difference below which cells count as equivalent")
    rows: tuple[Row, ...] = Field(description="one per cell: the baseline, then the best first")
    notes: tuple[Note, ...] = Field(description="warnings and findings, most serious first")
    figures: tuple[Picture, ...] = Field(description="figures with a slide of their own")
    further: tuple[str, ...] = Field(description="ids of other figures that the logs support")
    missing: tuple[str, ...] = Field(description="a sentence per reason why other figures are not drawn")
    methods: tuple[str, ...] = Field(description="how the numbers were measured")
    environment: tuple[Fact, ...] = Field(description="machine and software of the first round that records them")
    sources: tuple[Source, ...] = Field(description="where the rounds came from")
    reproduce: str = Field(description="plan that measures it again, as TOML; empty where no plan made the records")
    version: str = Field(description="version of decodebench that wrote the slides")
    comparison: Comparison = Field(description="the comparison itself, as `compare --json` has it")


def make_deck(
    store: Store, comparison: Comparison, pictures: Pictures, reproduce: str, names: Names | None = None
) -> Deck:
    """Collect what the slides say.

    Args:
        store: where dates, devices and environments come from.
        comparison: what the slides are about.
        pictures: the figures that were drawn, and why others were not.
        reproduce: the plan that measures the experiment again, as TOML, or nothing.
        names: of hosts and users, which the slides then have not.
    """
    from importlib.metadata import version

    name, metric = comparison.experiment, METRICS[comparison.metric]
    sources = _sources(store, name)
    deck = Deck(
        experiment=name,
        date=_one(store, "SELECT min(started_at)[:10] FROM runs WHERE experiment = ?", name),
        devices=_texts(store, f"SELECT DISTINCT {_PLACE} FROM runs r WHERE r.experiment = ? ORDER BY 1", name),
        engines=_texts(
            store,
            "SELECT DISTINCT concat_ws(' ', backend, backend_version) FROM runs WHERE experiment = ? ORDER BY 1",
            name,
        ),
        models=_texts(store, "SELECT DISTINCT model FROM runs WHERE experiment = ? ORDER BY 1", name),
        headline=headline(comparison),
        cards=cards(comparison),
        metric=Fact(name=metric.label, value=metric.unit),
        baseline=baseline_text(comparison),
        min_effect=percent(comparison.min_effect),
        rows=tuple(_row(row, comparison.metric) for row in _best_first(comparison)),
        notes=_notes(comparison),
        figures=tuple(pictures.drawn),
        further=tuple(pictures.further),
        missing=tuple(pictures.missing),
        methods=_methods(comparison, is_measured=any(source.format == "decodebench" for source in sources)),
        environment=_environment(store, name),
        sources=sources,
        reproduce=reproduce,
        version=version("decodebench"),
        comparison=comparison,
    )
    return deck if names is None else names.hide_record(deck)


def _methods(comparison: Comparison, *, is_measured: bool) -> tuple[str, ...]:
    told = {"correction": comparison.correction, "prompts": _SPEAKS_OF[comparison.over]}
    return tuple(line.format(**told) for line in (_MEASURED if is_measured else _IMPORTED))


_PLACE = (
    "concat_ws(' ', r.device, '(' || nullif(CASE WHEN r.device LIKE 'cpu%' THEN r.environment->>'cpu_model' "
    "ELSE r.environment->'gpu'->>0 END, '') || ')', 'on ' || r.hostname)"
)


def _texts(store: Store, sql: str, experiment: str) -> tuple[str, ...]:
    return tuple(str(value) for (value,) in store.query(sql, [experiment])[1] if value)


def _one(store: Store, sql: str, experiment: str) -> str | None:
    return next(iter(_texts(store, sql, experiment)), None)


def _best_first(comparison: Comparison) -> list[ComparisonRow]:
    """Return the rows in the order of their ratios; as they are where each of several groups has a baseline."""
    if comparison.has_groups:
        return list(comparison.rows)
    return sorted(comparison.rows, key=lambda row: (row.verdict != "baseline", -(row.ratio.value or 0.0)))


def _row(row: ComparisonRow, metric: str) -> Row:
    value, margin = with_interval(row.metrics.get(metric) or Estimate(value=None), METRICS[metric].unit)
    ratio, around = interval(row.ratio_simultaneous)
    parity, accuracy, difference = row.parity, row.accuracy, row.accuracy.difference if row.accuracy else None
    is_baseline = row.verdict == "baseline"
    return Row(
        label=row.cell.label,
        is_baseline=is_baseline,
        baseline=row.baseline,
        value=value,
        margin=margin,
        ratio="" if is_baseline else ratio,
        interval="" if is_baseline else around,
        verdict=row.verdict,
        parity="" if is_baseline or not parity.compared else f"{parity.identical:,} of {parity.compared:,}",
        accuracy=percent(accuracy.value.value) if accuracy and accuracy.value.value is not None else "",
        accuracy_interval=_span(accuracy.value) if accuracy else "",
        accuracy_difference="" if difference is None else _points(difference),
        accuracy_verdict=accuracy.verdict if accuracy else "",
        problems=accuracy.value.n if accuracy else 0,
        rounds=row.rounds,
        failed=row.failed,
    )


def _span(share: Estimate) -> str:
    return "" if share.low is None or share.high is None else f"{percent(share.low)} to {percent(share.high)}"


def _points(difference: Estimate) -> str:
    if difference.value is None:
        return ""
    text = f"{100 * difference.value:+.1f}"
    if difference.low is None or difference.high is None:
        return text
    return f"{text} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def _notes(comparison: Comparison) -> tuple[Note, ...]:
    found = [Note(kind="warning", text=text) for text in comparison.warnings]
    found += [Note(kind=one.severity, text=one.text, advice=one.advice) for one in comparison.findings]
    return tuple(sorted(found, key=lambda note: SEVERITIES.index(note.kind)))


def _environment(store: Store, experiment: str) -> tuple[Fact, ...]:
    sql = "SELECT environment FROM runs WHERE experiment = ? AND environment IS NOT NULL ORDER BY started_at LIMIT 1"
    text = _one(store, sql, experiment)
    return tuple(Fact(name=name, value=value) for name, value in facts_of(json.loads(text) if text else {}).items())


def _sources(store: Store, experiment: str) -> tuple[Source, ...]:
    sql = """
        SELECT source_format, count(*) AS rounds, list_sort(list(DISTINCT parse_filename(source_file))) AS files
        FROM runs WHERE experiment = ? GROUP BY 1 ORDER BY 1
    """
    return tuple(
        Source(
            format=row["source_format"],
            rounds=row["rounds"],
            files=() if row["source_format"] == "decodebench" else tuple(name for name in row["files"] or () if name),
        )
        for row in store.dicts(sql, [experiment])
    )
