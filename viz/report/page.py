"""Fill the page's template from a comparison and the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ...collate.comparison.result import Comparison, ComparisonRow, Estimate
from ...collate.statistics.noise import supports_percentile
from ...core.contract.figure import Figure
from ...core.contract.finding import SEVERITIES, Place
from ...core.errors import UsageError
from ...core.files import write_whole
from ...core.records.metrics import METRICS
from ...core.records.store import Store
from ..drawing.numbers import by_unit, interval, percent, with_interval
from ..plot import image, read
from ..terminal.load import load_lines
from .charts import PERCENTILES, chart_data, dimensions
from .samples import packed, sample_data

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "charts.js", "samples.js")
_DETAILS = (
    "ttft_s", "tpot_s", "prefill_tokens_per_s", "e2e_tokens_per_s", "load_s", "peak_rss_bytes", "peak_device_bytes",
    "energy_j",
)  # fmt: skip
_MOST_NOTES = 8
_MOST_PLACES = 6
_MOST_CHOICES = 24  # of a dimension; more are found by text


@dataclass(frozen=True, slots=True)
class Content:
    """What the page holds beside the comparison.

    Attributes:
        charts: see ``chart_data``.
        samples: see ``sample_data``.
        figures: title and inline SVG of each static figure.
        missing: a sentence for each figure that has no data.
        machines: what the rounds ran on: which cells (empty: all), and each fact by name.
        cells: by cell id, what each ran: version, options, notes and sources.
        rounds: by run id, what a reader calls it: its cell and round.
        reproduce: the plan that measures the experiment again, as TOML; empty where there is none.
    """

    charts: Mapping[str, Any]
    samples: Mapping[str, Any]
    figures: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    machines: Sequence[tuple[str, Mapping[str, str]]] = ()
    cells: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rounds: Mapping[str, str] = field(default_factory=dict)
    reproduce: str = ""


def write_report(
    store: Store, comparison: Comparison, path: Path, *, figures: Sequence[Figure], reproduce: str
) -> Path:
    """Write the page about ``comparison`` and return its path.

    Args:
        store: where figures, outputs and the environment come from.
        comparison: what the page is about.
        path: the file; written whole or not at all.
        figures: drawn from the store and embedded; one without data is named with what it needs.
        reproduce: the plan that measures the experiment again, as TOML; empty where there is none.

    Raises:
        DecodebenchError: the file cannot be written.
    """
    if comparison.steady_state:
        store.leave_out_first_samples()
    drawn, missing = _figures(store, comparison, figures)
    content = Content(
        charts=chart_data(store, comparison),
        samples=sample_data(store, comparison),
        figures=drawn,
        missing=missing,
        machines=_machines(store, comparison),
        cells=_cells(store, comparison.experiment),
        rounds=_rounds(store, comparison),
        reproduce=reproduce,
    )
    return write_whole(path, render(comparison, content))


def render(comparison: Comparison, content: Content) -> str:
    """Return the page as text; whatever a model wrote is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    templates.filters |= {"percent": percent, "interval": interval, "with_interval": with_interval, "unit": by_unit}
    notes = _notes(comparison, content.rounds)
    return templates.get_template("page.html.j2").render(
        comparison=comparison,
        content=content,
        headline=headline(comparison),
        notes=notes[:_MOST_NOTES],
        more_notes=notes[_MOST_NOTES:],
        metric=METRICS[comparison.metric],
        details=_details(comparison),
        loads=_loads(comparison),
        load_lines=list(load_lines(comparison)),
        choices=_choices(comparison),
        percentiles={f"{100 * q:g} %": next(n for n in count(1) if supports_percentile(n, q)) for q in PERCENTILES},
        definitions=[METRICS[name] for name in content.charts["metrics"]],
        figures={title: Markup(svg) for title, svg in content.figures.items()},
        charts=Markup(_json(content.charts)),
        samples=Markup(packed(content.samples)),
        style=Markup(_text("page.css")),
        library=Markup(_library()),
        script=Markup("\n".join(_text(name) for name in _SCRIPTS)),
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _library() -> str:
    """Return the charting library after its licence, without the link to a source map that no page has."""
    code = _text("vendor/chart.umd.min.js").partition("//# sourceMappingURL=")[0]
    return f"/*\n{_text('vendor/LICENSE.md')}*/\n{code}"


def _json(content: object) -> str:
    """Return JSON that may stand in a script element: whatever it holds, it cannot end that element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def headline(comparison: Comparison) -> str:
    """Say in a sentence or two what came out."""
    faster = [row for row in comparison.rows if row.verdict == "faster"]
    label = METRICS[comparison.metric].label.lower()
    if not faster:
        return f"No cell is shown to be better than {comparison.baseline} in {label}."
    best = max(faster, key=lambda row: row.ratio.value or 0.0)
    value, around = interval(best.ratio_simultaneous)
    span = around.strip("[]").replace(", ", " to ")
    return (
        f"{best.cell.label} has the best {label}: {value} times {comparison.baseline} "
        f"(95 % interval {span}{_together(comparison)}, {best.rounds} rounds). {_tokens(best)}{_right(best)}"
    )


def _together(comparison: Comparison) -> str:
    return f" for all {comparison.comparisons} comparisons together" if comparison.comparisons > 1 else ""


def _tokens(row: ComparisonRow) -> str:
    parity = row.parity
    if parity.verdict in ("identical", "ties only", "differs"):
        return f"{parity.identical} of {parity.compared} outputs are the same, token for token. "
    return "Its outputs cannot be compared token for token. "


def _right(row: ComparisonRow) -> str:
    accuracy = row.accuracy
    if accuracy is None or accuracy.value.value is None:
        return ""
    low, high = accuracy.value.low, accuracy.value.high
    around = f" ({percent(low)} to {percent(high)})" if low is not None and high is not None else ""
    return f"It answers {percent(accuracy.value.value)}{around} of {accuracy.task} right."


def _notes(comparison: Comparison, rounds: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what must be known before the figures, the worst first: ``kind``, ``text``, ``advice`` and ``rows``."""
    notes: list[dict[str, Any]] = [
        {"kind": "warning", "text": text, "advice": "", "details": (), "rows": ""} for text in comparison.warnings
    ]
    for found in comparison.findings:
        rows = _places(found.rows, rounds)
        told = {"text": found.text, "advice": found.advice, "details": found.details[1:]}
        notes.append({"kind": found.severity, **told, "rows": rows})
    return sorted(notes, key=lambda line: SEVERITIES.index(line["kind"]))


def _places(rows: Sequence[Place], rounds: Mapping[str, str]) -> str:
    """Name the rows behind a finding."""
    named = dict.fromkeys(
        rounds.get(row.run_id, row.run_id) + ("" if row.sample is None else f", sample {row.sample}") for row in rows
    )
    shown = list(named)[:_MOST_PLACES]
    return "; ".join(shown) + (f"; {len(named) - len(shown)} more" if len(named) > len(shown) else "")


def _details(comparison: Comparison) -> list[tuple[str, str, list[Estimate | None]]]:
    """Return label, unit and a value per row of every further metric that some row has."""
    found = []
    for name in _DETAILS:
        values = [row.metrics.get(name) for row in comparison.rows]
        if any(value is not None and value.value is not None for value in values):
            found.append((METRICS[name].label, METRICS[name].unit, values))
    return found


def _loads(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return label, unit and name of every figure of requests under load that some cell has."""
    points = [point for curve in comparison.load_curves for point in curve.points]
    names = dict.fromkeys(name for point in points for name in point.figures)
    return [(METRICS[name].label, METRICS[name].unit, name) for name in names]


def _choices(comparison: Comparison) -> dict[str, list[str]]:
    """Return the values of every dimension in which the rows differ, in their order."""
    by_row = [dimensions(row) for row in comparison.rows]
    names = dict.fromkeys(name for each in by_row for name in each)
    values = {name: list(dict.fromkeys(each[name] for each in by_row if name in each)) for name in names}
    return {name: found for name, found in values.items() if 1 < len(found) <= _MOST_CHOICES}


def _figures(store: Store, comparison: Comparison, figures: Sequence[Figure]) -> tuple[dict[str, str], list[str]]:
    drawn: dict[str, str] = {}
    missing = []
    for figure in figures:
        try:
            rows = read(store, figure, comparison)
            svg = image(figure, rows, "svg").decode()
        except UsageError as error:
            missing.append(str(error))
            continue
        drawn[figure.title] = _inline(svg, figure.id)
    return drawn, missing


def _inline(svg: str, prefix: str) -> str:
    """Make a file's SVG fit to stand in a page beside others: no prologue, ids of its own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\b(id|xlink:href|href)="(#?)([^"]+)"', rf'\1="\2{prefix}-\3"', body)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)


def _machines(store: Store, comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    """Return every environment that the rounds ran in, with the labels of its cells where there are several."""
    sql = """
        SELECT cell_id, environment FROM runs WHERE experiment = ? AND environment IS NOT NULL ORDER BY started_at
    """
    labels = {row.cell.cell_id: row.cell.label for row in comparison.rows}
    found: dict[str, tuple[dict[str, str], dict[str, None]]] = {}
    for cell_id, text in store.query(sql, [comparison.experiment])[1]:
        facts = _facts(json.loads(text))
        _, names = found.setdefault(json.dumps(facts), (facts, {}))
        names[labels.get(cell_id) or str(cell_id)] = None
    everywhere = len(found) == 1
    return [("" if everywhere else ", ".join(names), facts) for facts, names in found.values()]


def _facts(environment: dict[str, Any]) -> dict[str, str]:
    shown = {name: value for name, value in environment.items() if value not in (None, [], {}, "")}
    return {
        name.replace("_", " "): _words(value)
        for name, value in shown.items()
        if not name.startswith("memory_bandwidth")
        and name not in ("load_average", "cpu_temperature_c")  # which are others every round
    }


def _rounds(store: Store, comparison: Comparison) -> dict[str, str]:
    labels = {row.cell.cell_id: row.cell.label for row in comparison.rows}
    sql = "SELECT run_id, cell_id, round FROM runs WHERE experiment = ?"
    runs = store.query(sql, [comparison.experiment])[1]
    return {run_id: f"{labels.get(cell_id, cell_id)}, round {number + 1}" for run_id, cell_id, number in runs}


def _cells(store: Store, experiment: str) -> dict[str, dict[str, str]]:
    """Return, by cell id, what a reader must know of how it ran."""
    sql = """
        SELECT cell_id, any_value(concat_ws(' ', backend, backend_version)) AS engine, any_value(plugin) AS plugin,
               any_value(concat_ws(' ', task, task_version)) AS task, any_value(max_new_tokens) AS "token limit",
               any_value(CAST(options AS VARCHAR)) AS options, list(DISTINCT source_file) AS sources,
               list_distinct(flatten(list(notes))) AS notes, any_value(source_format) AS format
        FROM runs WHERE experiment = ? GROUP BY cell_id ORDER BY cell_id
    """
    return {row.pop("cell_id"): _described(row) for row in store.dicts(sql, [experiment])}


def _described(row: dict[str, Any]) -> dict[str, str]:
    options = {name: value for name, value in json.loads(row.pop("options") or "{}").items() if value is not None}
    imported = row.pop("format") != "decodebench"
    sources = sorted(source for source in row.pop("sources") if source) if imported else []
    notes = "; ".join(sorted(row.pop("notes") or []))
    words = {name: str(value) for name, value in row.items() if value not in (None, "")}
    further = {"options": _words(options), "notes": notes, "imported from": _words(sources)}
    return words | {name: text for name, text in further.items() if text}


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
