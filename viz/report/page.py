"""Fill the page's template from a comparison and the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...collate.comparison import Comparison, ComparisonRow, Estimate
from ...core.errors import UsageError
from ...core.metrics import METRICS
from ..numbers import by_unit, interval, percent, with_margin
from ..plot import image, read, write_atomically

if TYPE_CHECKING:
    from ...core.figure import Figure
    from ...core.store import Store

_HERE = Path(__file__).parent
_MOST_DIFFERENCES = 20
_DETAILS = (
    "ttft_s",
    "tpot_s",
    "prefill_tokens_per_s",
    "e2e_tokens_per_s",
    "load_s",
    "peak_rss_bytes",
    "peak_device_bytes",
    "energy_j",
)


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
    drawn, missing = _figures(store, comparison, figures)
    page = render(
        comparison,
        figures=drawn,
        missing=missing,
        differences=_differences(store, comparison),
        environment=_environment(store, comparison.experiment),
        reproduce=reproduce,
    )
    return write_atomically(path, page.encode())


def render(
    comparison: Comparison,
    *,
    figures: Mapping[str, str],
    missing: Sequence[str],
    differences: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str],
    reproduce: str,
) -> str:
    """Return the page as text; whatever a model wrote is escaped.

    Args:
        comparison: what the page is about.
        figures: title and inline SVG of each figure.
        missing: a sentence for each figure that has no data.
        differences: outputs that leave the baseline's, see ``page.html.j2``.
        environment: what the rounds ran on, by name.
        reproduce: the plan that measures the experiment again, as TOML; empty where there is none.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    templates.filters |= {"percent": percent, "interval": interval, "margin": with_margin, "unit": by_unit}
    return templates.get_template("page.html.j2").render(
        comparison=comparison,
        headline=headline(comparison),
        metric=METRICS[comparison.metric],
        details=_details(comparison),
        figures={title: Markup(svg) for title, svg in figures.items()},
        missing=missing,
        differences=differences,
        most_differences=_MOST_DIFFERENCES,
        environment=environment,
        reproduce=reproduce,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
    )


def headline(comparison: Comparison) -> str:
    """Say in a sentence or two what came out."""
    faster = [row for row in comparison.rows if row.verdict == "faster"]
    label = METRICS[comparison.metric].label.lower()
    if not faster:
        return f"No cell is shown to be better than {comparison.baseline} in {label}."
    best = max(faster, key=lambda row: row.ratio.value or 0.0)
    value, around = interval(best.ratio)
    span = around.strip("[]").replace(", ", " to ")
    return (
        f"{best.cell.label} has the best {label}: {value} times {comparison.baseline} "
        f"(95 % interval {span}, {best.rounds} rounds). {_tokens(best)}{_right(best)}"
    )


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


def _details(comparison: Comparison) -> list[tuple[str, str, list[Estimate | None]]]:
    """Return label, unit and a value per row of every further metric that some row has."""
    found = []
    for name in _DETAILS:
        values = [row.metrics.get(name) for row in comparison.rows]
        if any(value is not None and value.value is not None for value in values):
            found.append((METRICS[name].label, METRICS[name].unit, values))
    return found


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


def _differences(store: Store, comparison: Comparison) -> list[dict[str, Any]]:
    """Return prompt, both outputs split at the first divergence, and its gap, for the first differing problems."""
    baseline = _outputs(store, comparison.experiment, comparison.rows[0].cell.cell_id)
    found: list[dict[str, Any]] = []
    for row in comparison.rows[1:]:
        other = _outputs(store, comparison.experiment, row.cell.cell_id)
        for divergence in row.parity.divergences:
            if divergence.sample_id in baseline and divergence.sample_id in other:
                prompt, own = baseline[divergence.sample_id]
                common, left, right = _split(own, other[divergence.sample_id][1])
                texts = {"common": common, "baseline": left, "other": right}
                found.append({"cell": row.cell.label, "prompt": prompt, "at": divergence} | texts)
    return found


def _outputs(store: Store, experiment: str, cell_id: str) -> dict[str, tuple[str, str]]:
    sql = """
        SELECT s.sample_id, s.prompt, s.text FROM samples s JOIN runs r USING (run_id)
        WHERE r.experiment = $experiment AND r.cell_id = $cell AND r.status = 'ok' AND NOT s.is_warmup
        ORDER BY r.round DESC
    """
    rows = store.query(sql, {"experiment": experiment, "cell": cell_id})[1]
    return {sample: (prompt or "", text or "") for sample, prompt, text in rows}


def _split(a: str, b: str) -> tuple[str, str, str]:
    """Return what both texts begin with, and the rest of each."""
    same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:same], a[same:], b[same:]


def _environment(store: Store, experiment: str) -> dict[str, str]:
    sql = "SELECT environment FROM runs WHERE experiment = ? AND environment IS NOT NULL ORDER BY started_at LIMIT 1"
    rows = store.query(sql, [experiment])[1]
    content = json.loads(rows[0][0]) if rows else {}
    shown = {name: value for name, value in content.items() if value not in (None, [], {}, "")}
    return {
        name.replace("_", " "): _words(value)
        for name, value in shown.items()
        if not name.startswith("memory_bandwidth")
    }


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
