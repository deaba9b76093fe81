"""The plan that measures an experiment again, made from its records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ... import defaults
from ...core.records.cell_names import TEMPLATE
from ...core.records.conditions import setting_of
from ...core.records.store import Store
from ...core.records.workload import Workload

_AXES = tuple(name for name, setting in Workload.settings().items() if setting.is_axis or setting.is_swept)
_LOADS = Workload.swept()


def plan_toml(
    store: Store,
    experiment: str,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> str:
    """Return a TOML plan whose cells are those of ``experiment``, every option written out.

    Args:
        store: an open store.
        experiment: its name; a record of a foreign tool gives an empty text, since no plan made it.
        settings: how its rounds were run (``Plan.run_settings``); None: what the records have of it.
        inputs: settings of the workload that name a file which is elsewhere now, with what they are to be.
    """
    sql = """
        SELECT * EXCLUDE (environment) FROM runs
        WHERE experiment = ? AND source_format = 'decodebench' AND "order" IS NOT NULL
        ORDER BY cell_index, round DESC
    """
    runs = store.dicts(sql, [experiment])
    if not runs:
        return ""
    cells = {run["cell_id"]: run for run in reversed(runs)}
    first, rounds = runs[0], 1 + max(run["round"] for run in runs)
    settings = _recorded_settings(runs) if settings is None else settings
    looks = "until" in settings or "until_ci" in settings
    about = {"name": experiment, "seed": first["seed"] or 0, **({} if looks else {"rounds": rounds}), **settings}
    lines = [f"{key} = {_value(value)}" for key, value in about.items()]
    lines += ["", "[workload]"]
    ordered = sorted(cells.values(), key=lambda run: run["cell_index"] or 0)
    common, own = _axes(ordered)
    workload = _workload(store, first) | dict.fromkeys((*_LOADS, "template_args")) | common | dict(inputs or {})
    lines += [f"{key} = {_value(value)}" for key, value in workload.items() if value not in (None, [], {})]
    for run, axes in zip(ordered, own, strict=True):
        lines += ["", "[[cells]]", f"backend = {_value(run['backend'])}", f"model = {_value(run['model'])}"]
        lines += [f"quantisation = {_value(run['quantisation'])}", f"device = {_value(run['device'])}"]
        if axes:
            lines.append(f"workload = {_value(axes)}")
        options = {key: value for key, value in _options(run).items() if not _is_axis(key)}
        if options:
            lines.append(f"options = {_value(options)}")
    return "\n".join(lines) + "\n"


def _recorded_settings(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how rounds were run as far as the records of an earlier decodebench have it."""
    launcher, found = runs[0]["launcher"], dict[str, Any]()
    if launcher not in (None, defaults.LAUNCHER):
        found["launcher"] = launcher
    elif len({run["cell_id"] for run in runs}) > 1 and not any(run["block"] for run in runs):
        found["interleave"] = "rounds"
    return found


def _options(run: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in json.loads(run["options"]).items() if value is not None}


def _axes(runs: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the plan's workload has of its axes, and what each run has besides, where runs differ in it."""
    of_runs = [{key: value for key, value in _options(run).items() if _is_axis(key)} for run in runs]
    names = dict.fromkeys(name for axes in of_runs for name in axes)
    everywhere = [name for name in names if all(name in axes for axes in of_runs)]
    same = {name for name in everywhere if all(axes[name] == of_runs[0][name] for axes in of_runs)}
    common = {name: of_runs[0][name] for name in everywhere}
    arguments = {name.removeprefix(TEMPLATE): common.pop(name) for name in everywhere if name.startswith(TEMPLATE)}
    own = [{name: value for name, value in axes.items() if name not in same} for axes in of_runs]
    return common | {"template_args": arguments}, own


def _is_axis(name: str) -> bool:
    return name in _AXES or name.startswith(TEMPLATE)


def _workload(store: Store, run: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the workload; records that do not have them as such have columns, and samples."""
    run = run | {name: json.loads(run[name]) for name in ("sampling", "workload")}
    if run["workload"]:
        return {name: run["workload"].get(name) for name in Workload.settings()}
    found = {name: setting_of(run, name) for name in Workload.settings()} | {"model": None}
    found["samples"] //= found["attempts"] or 1
    if run["task"] is None:
        sql = "SELECT any_value(prompt_tokens) FROM samples WHERE run_id = ?"
        prompt_tokens = store.query(sql, [run["run_id"]])[1][0][0] or 1
        found["prompt_tokens"] = max(1, prompt_tokens - run["depth"])
        found["output_tokens"] = found.pop("max_new_tokens")
    return found


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    """Write a value as TOML; JSON's strings, but for DEL in them, and numbers are TOML as well.

    TOML has no null, which is left out: a cell that has one is another one in the plan, as its id shows.
    """
    if isinstance(value, dict):
        there = ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items() if one is not None)
        return f"{{ {there} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value if one is not None)}]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
