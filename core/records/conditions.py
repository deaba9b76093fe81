"""Everything that a record has of how a run was run, as one mapping: what rounds of one cell must agree in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .schema import RecordedSampling, Run
from .workload import Workload

_FIELDS = (
    "backend", "backend_version", "plugin", "plugin_revision", "kind", "model", "model_hash", "size", "quantisation",
    "bits_per_weight", "parameters", "weight_bytes", "device", "residence", "options", "task_version", "task_plugin",
    "task_plugin_revision", "seed", "stop_token_ids", "context_length", "sampling", "first_step_is_prefill",
    "conditions", "source_format",
)  # fmt: skip
"""Besides the settings of the workload, those that are columns as they are and the others below ``workload``."""

_MEASURED = {
    *("username", "load_average", "on_battery", "cpu_temperature_c", "memory_bandwidth", "memory_bandwidth_1_thread"),
    *("matrix_flops_per_s", "rates_are_quiet"),
}
"""Of the environment: who ran it, and what was measured of the machine rather than set."""

_RESULT = "published_"
"""Settings that begin so are figures that another tool printed."""

_OF_FILES = ("model_filename", "model_file")
"""Settings that are names of files: a file's name is no condition."""


def conditions_of(run: Run) -> dict[str, Any]:
    """Return what is known of how a run was run, as plain JSON; what is unknown is left out.

    Values in ``Run.derived`` are left out too: they follow from rounded figures, so that equal conditions give unequal
    ones.
    """
    kept = {*_FIELDS, *Workload.settings()} - set(run.derived)
    found = run.model_dump(mode="json", include=kept, exclude_none=True)
    if run.environment is not None:
        machine = run.environment.model_dump(mode="json", exclude=_MEASURED, exclude_defaults=True)
        found["environment"] = {name: value for name, value in machine.items() if value is not None}
    settings = {
        name: value for name, value in run.settings.items() if name not in _OF_FILES and not name.startswith(_RESULT)
    }
    found["settings"] = settings
    default = Workload.defaults()
    found["workload"] = {
        name: value for name, value in run.workload.items() if not _is_column(name) and value != default.get(name)
    }
    return {name: value for name, value in found.items() if value not in ({}, None)}


def setting_of(run: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a setting of any type
    """Return a run's value of a setting of the workload, None where it is unknown.

    A record of our own that is silent about it is older than the setting, and ran at its default.

    Args:
        run: a row of ``runs``, its JSON columns read.
        name: of the setting.
    """
    if name in RecordedSampling.model_fields:
        return (run["sampling"] or {}).get(name)
    if name in Run.model_fields:
        return run[name]
    is_own = run["source_format"] == "decodebench"
    return (run["workload"] or {}).get(name, Workload.defaults()[name] if is_own else None)


def _is_column(name: str) -> bool:
    return name in Run.model_fields or name in RecordedSampling.model_fields


def hash_of(conditions: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for conditions."""
    text = json.dumps(conditions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
