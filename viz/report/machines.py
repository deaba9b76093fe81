"""What rounds ran on, in words: machine and software as the page and the slides list them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...collate.comparison.result import Comparison
from ...core.records.store import Store
from ..drawing.numbers import by_unit, digits

_OTHERS_EVERY_ROUND = frozenset({"load_average", "cpu_temperature_c"})
_NAMES = {"memory_bytes": "memory", "matrix_flops_per_s": "matrix product"}  # whose values have their units
_LISTS = ("memory_bandwidth", "memory_bandwidth_1_thread")  # of the roofline, too long to read


def machines(store: Store, comparison: Comparison) -> list[tuple[str, dict[str, str]]]:
    """Return every environment that the rounds ran in, with the labels of its cells where there are several.

    Args:
        store: where environments are.
        comparison: whose experiment and labels.
    """
    sql = """
        SELECT cell_id, environment FROM runs WHERE experiment = ? AND environment IS NOT NULL ORDER BY started_at
    """
    labels = {row.cell.cell_id: row.cell.label for row in comparison.rows}
    found: dict[str, tuple[dict[str, str], dict[str, None]]] = {}
    for cell_id, text in store.query(sql, [comparison.experiment])[1]:
        facts = facts_of(json.loads(text))
        _, names = found.setdefault(json.dumps(facts), (facts, {}))
        names[labels.get(cell_id) or str(cell_id)] = None
    everywhere = len(found) == 1
    return [("" if everywhere else ", ".join(names), facts) for facts, names in found.values()]


def facts_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return what an environment says, by name and with units; what is unknown or changes every round left out."""
    left_out = _OTHERS_EVERY_ROUND.union(_LISTS)
    return {
        _NAMES.get(name, name.replace("_", " ")): _words(name, value)
        for name, value in environment.items()
        if value not in (None, [], {}, "") and name not in left_out
    }


def in_words(value: object) -> str:
    """Return what a record holds as text: lists and names with versions joined by commas."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.endswith("_flops_per_s"):
        return f"{digits(value / 1e9)} GFLOP/s"
    if isinstance(value, int | float) and name.endswith("_bytes"):
        return by_unit(value, "bytes")
    return in_words(value)
