"""Everything that a record has of how a run was run, as one mapping: what rounds of one cell must agree in."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .schema import Run

_FIELDS = (
    "backend", "backend_version", "plugin", "plugin_revision", "kind", "model", "model_hash", "size", "quantisation",
    "bits_per_weight", "parameters", "weight_bytes", "device", "residence", "options", "task", "task_version",
    "task_plugin", "task_plugin_revision", "seed", "samples", "attempts", "warmup", "max_new_tokens", "batch_size",
    "depth", "ignore_eos", "chat", "system", "allow_clipped", "stop", "stop_token_ids", "context_length", "sampling",
    "first_step_is_prefill", "conditions", "source_format",
)  # fmt: skip
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
    kept = set(_FIELDS) - set(run.derived)
    found = run.model_dump(mode="json", include=kept, exclude_none=True)
    if run.environment is not None:
        machine = run.environment.model_dump(mode="json", exclude=_MEASURED, exclude_defaults=True)
        found["environment"] = {name: value for name, value in machine.items() if value is not None}
    settings = {
        name: value for name, value in run.settings.items() if name not in _OF_FILES and not name.startswith(_RESULT)
    }
    found["settings"] = settings
    return {name: value for name, value in found.items() if value not in ({}, None)}


def hash_of(conditions: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that stand for conditions."""
    text = json.dumps(conditions, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
