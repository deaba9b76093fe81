"""The plan that measures an experiment again, with the settings that its latest run was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...collate.comparison.reproduce import plan_toml
from ..measure.output.folder import kept_plan
from ..records.store import Store


def plan_again(store: Store, folder: Path, experiment: str, inputs: Mapping[str, str] | None = None) -> str:
    """Return a TOML plan, or an empty text where no plan made the experiment.

    Args:
        store: with its rounds.
        folder: output folder, which has how they were run: ``interleave``, ``timeout_s``, ``until``, ...
        experiment: its name.
        inputs: see ``plan_toml``.
    """
    kept = kept_plan(folder, experiment)
    return plan_toml(store, experiment, kept.settings if kept else None, inputs)
