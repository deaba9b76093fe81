"""The run that a published result file tells of: what it says, and in notes what it does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from ....core.records.schema import Environment, Run
from ....core.sdk.logs.runs import bare_run

BASELINE: Mapping[str, JsonValue] = {"block_size": 1}
"""Options of a baseline: the same loop with blocks of one token."""
MODE = "mode"
"""Key of ``Run.conditions``: baseline, vanilla, speculative, dynamic or multiround, as the scripts call it."""


def make_run(
    run_id: str,
    mode: str,
    options: Mapping[str, JsonValue],
    *,
    cut: str | None = None,
    settings: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
    **known: Any,  # noqa: ANN401 - fields of Run
) -> Run:
    """Return a run of the published DFlash loop.

    Args:
        run_id: made from the file's content.
        mode: what the scripts call it.
        options: those that the file tells, by the backend's own names.
        cut: what is missing at the end of the file; makes the run incomplete.
        settings: aggregates, keys ``published_*``, values as printed or JSON.
        notes: what was inferred, and what is missing.
        known: further fields that the file does tell.
    """
    return bare_run(
        run_id,
        "dflash",
        cut=cut,
        kind="speculative",
        options=dict(options),
        conditions={MODE: mode},
        settings=dict(settings or {}),
        notes=tuple(notes),
        **known,
    )


def missing_note(names: Sequence[str]) -> str:
    """Say what a file does not tell."""
    return f"not in the file: {', '.join(names)}; those fields are unknown"


def environment(gpu: str | None, cuda: str | None, torch: str | None) -> Environment | None:
    """Return the machine as the scripts print it; None where they print nothing."""
    packages = {name: version for name, version in (("cuda", cuda), ("torch", torch)) if version}
    return Environment(gpu=(gpu,) if gpu else (), packages=packages) if gpu or packages else None
