"""Fill the page's template from a comparison and the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from ...collate.comparison.result import Comparison, Estimate
from ...collate.statistics.noise import supports_percentile
from ...core.contract.figure import Figure
from ...core.errors import UsageError
from ...core.files import write_whole
from ...core.records.metrics import METRICS
from ...core.records.store import Store
from ..drawing.numbers import by_unit, counted, interval, percent, tick, with_interval
from ..plot import image, read
from ..privacy import Names
from ..terminal.load import load_lines
from .answer import cards, headline
from .bars import bar_chart
from .charts import PERCENTILES, chart_data, dimensions
from .machines import in_words, machines
from .notes import notes_of, summary
from .samples import packed, sample_data

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "charts.js", "samples.js")
_DETAILS = (
    "ttft_s", "tpot_s", "prefill_tokens_per_s", "e2e_tokens_per_s", "load_s", "peak_rss_bytes", "peak_device_bytes",
    "energy_j",
)  # fmt: skip
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
    store: Store,
    comparison: Comparison,
    path: Path,
    *,
    figures: Sequence[Figure],
    reproduce: str,
    names: Names | None = None,
) -> Path:
    """Write the page about ``comparison`` and return its path.

    Args:
        store: where figures, outputs and the environment come from.
        comparison: what the page is about.
        path: the file; written whole or not at all.
        figures: drawn from the store and embedded; one without data is named with what it needs.
        reproduce: the plan that measures the experiment again, as TOML; empty where there is none.
        names: of hosts and users, which the page then has not; what models were asked and wrote stays as it is.

    Raises:
        DecodebenchError: the file cannot be written.
    """
    if comparison.steady_state:
        store.leave_out_first_samples()
    drawn, missing = _figures(store, comparison, figures, names)
    content = Content(
        charts=chart_data(store, comparison),
        samples=sample_data(store, comparison),
        figures=drawn,
        missing=missing,
        machines=machines(store, comparison),
        cells=_cells(store, comparison.experiment),
        rounds=_rounds(store, comparison),
        reproduce=reproduce,
    )
    if names is not None:
        comparison, content = names.hide_record(comparison), _without(content, names)
    return write_whole(path, render(comparison, content))


def _without(content: Content, names: Names) -> Content:
    tables = [
        {key: names.hide(value) if key == "reason" else value for key, value in table.items()}
        for table in content.samples["cells"]
    ]
    hidden = {
        name: names.hide(getattr(content, name))
        for name in ("charts", "missing", "machines", "cells", "rounds", "reproduce")
    }
    return replace(content, samples={**content.samples, "cells": tables}, **hidden)


def render(comparison: Comparison, content: Content) -> str:
    """Return the page as text; whatever a model wrote is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= {
        "percent": percent, "interval": interval, "with_interval": with_interval, "unit": by_unit, "counted": counted,
        "tick": tick,
    }  # fmt: skip
    notes = notes_of(comparison, content.rounds)
    return templates.get_template("page.html.j2").render(
        comparison=comparison,
        content=content,
        headline=headline(comparison),
        cards=cards(comparison),
        chart=bar_chart(comparison, content.charts["cells"]),
        notes=notes,
        notes_summary=summary(notes),
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


def _figures(
    store: Store, comparison: Comparison, figures: Sequence[Figure], names: Names | None
) -> tuple[dict[str, str], list[str]]:
    drawn: dict[str, str] = {}
    missing = []
    for figure in figures:
        try:
            rows = read(store, figure, comparison)
            svg = image(figure, rows if names is None else names.hide(rows), "svg").decode()
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
    files = sorted(source for source in row.pop("sources") if source)
    sources = files if row.pop("format") != "decodebench" else []
    notes = "; ".join(sorted(row.pop("notes") or []))
    words = {
        name: f"{value:,}" if isinstance(value, int) else str(value)
        for name, value in row.items()
        if value not in (None, "")
    }
    further = {"options": in_words(options), "notes": notes, "imported from": in_words(sources)}
    return words | {name: text for name, text in further.items() if text}
