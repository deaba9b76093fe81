"""An experiment as entries of a log kept in Markdown: task, configuration, results, notes, where the logs are."""

from __future__ import annotations

import json
from typing import Any

from ...core.records.cell_names import as_text
from ...core.records.store import Store
from .result import Comparison, ComparisonRow, Estimate

_SQL = """
SELECT cell_id, min(started_at) AS started_at, any_value(task) AS task, any_value(options) AS options,
    list(source_file ORDER BY source_file) AS files
FROM runs WHERE experiment = ? GROUP BY cell_id
"""


def log_entry(store: Store, comparison: Comparison) -> str:
    """Return one Markdown entry per cell of a comparison, the baseline first.

    Throughput is end to end; the speed-up is the comparison's ratio, so of its metric, with the 95 % interval.
    """
    facts = {row["cell_id"]: row for row in store.dicts(_SQL, [comparison.experiment])}
    return "\n".join(_entry(row, comparison, facts[row.cell.cell_id]) for row in comparison.rows)


def _entry(row: ComparisonRow, comparison: Comparison, facts: dict[str, Any]) -> str:
    cell = row.cell
    options = {name: value for name, value in json.loads(facts["options"]).items() if value is not None}
    lines = [
        f"#### {_dated(facts['started_at'])}{comparison.experiment}: {cell.label}",
        f"- **Task**: {row.accuracy.task if row.accuracy else facts['task'] or 'fixed-length prompts'}",
        "- **Configuration**:",
        f"  - Model: {cell.model}, {cell.weight_format}, {cell.device}",
        *(f"  - {name}: {as_text(value)}" for name, value in options.items()),
        "- **Results**:",
        f"  - Accuracy: {_share(row)}",
        f"  - Throughput: {_rate(row.metrics.get('e2e_tokens_per_s'))}",
        f"  - Speedup: {_speedup(row, comparison)}",
        f"- **Notes**: {_notes(row, comparison)}",
        f"- **Logs**: {', '.join(f'`{file}`' for file in facts['files'])}",
    ]
    return "\n".join(lines) + "\n"


def _dated(started_at: str | None) -> str:
    """Return the day of the first round before a heading; nothing where no log has it."""
    return f"{started_at[:10]} - " if started_at else ""


def _share(row: ComparisonRow) -> str:
    if row.accuracy is None or row.accuracy.value.value is None:
        return "not scored"
    value = row.accuracy.value
    assert value.value is not None
    interval = (
        f" [{100 * value.low:.1f}, {100 * value.high:.1f}]" if value.low is not None and value.high is not None else ""
    )
    return f"{100 * value.value:.2f}%{interval}"


def _rate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "not measured"
    interval = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f} tokens/s{interval}"


def _speedup(row: ComparisonRow, comparison: Comparison) -> str:
    if row.verdict == "baseline":
        return "1.00x (baseline)"
    ratio = row.ratio_simultaneous
    if ratio.value is None:
        return "not comparable"
    interval = f" [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio.low is not None and ratio.high is not None else ""
    return f"{ratio.value:.2f}x{interval} in {comparison.metric} against {row.baseline}: {row.verdict}"


def _notes(row: ComparisonRow, comparison: Comparison) -> str:
    """Return the findings that name the cell, and the warnings about it rather than about its baseline."""
    name = repr(row.cell.label)
    told = [
        f"{finding.severity}: {text}"
        for finding in comparison.findings
        for text in finding.details or (finding.text,)
        if name in text
    ]
    told += [text for text in comparison.warnings if name in text and text.index("'") == text.index(name)]
    return "; ".join(told) or "none"
