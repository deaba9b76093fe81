"""The plan that measures an experiment again, made from its records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ... import defaults
from ...core.records.cell_names import TEMPLATE
from ...core.records.conditions import setting_of
from ...core.records.store import Store
from ...core.records.workload import Workload


def plan_toml(store: Store, experiment: str) -> str:
    """Return a TOML plan whose cells are those of ``experiment``, every option written out.

    Args:
        store: an open store.
        experiment: its name; a record of a foreign tool gives an empty text, since no plan made it.
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
    lines = [f"name = {_value(experiment)}", f"seed = {first['seed'] or 0}", f"rounds = {rounds}"]
    if first["launcher"] not in (None, defaults.LAUNCHER):
        lines.append(f"launcher = {_value(first['launcher'])}")
    lines += ["", "[workload]"]
    swept = {
        name: list(dict.fromkeys(_options(run).get(name) for run in reversed(runs)))
        for name, setting in Workload.settings().items()
        if setting.is_swept
    }
    axes = {
        name: values
        for name, setting in Workload.settings().items()
        if setting.is_axis and any(values := list(dict.fromkeys(_options(run).get(name) for run in reversed(runs))))
    }
    settings = _workload(store, first) | swept | axes | {"template_args": _template_args(cells.values())}
    lines += [f"{key} = {_value(value)}" for key, value in settings.items() if value not in (None, [], [None], {})]
    for run in sorted(cells.values(), key=lambda run: run["cell_index"] or 0):
        lines += ["", "[[cells]]", f"backend = {_value(run['backend'])}", f"model = {_value(run['model'])}"]
        lines += [f"quantisation = {_value(run['quantisation'])}", f"device = {_value(run['device'])}"]
        own = _options(run)
        options = {key: own[key] for key in own if not key.startswith(TEMPLATE) and key not in swept | axes}
        if options:
            lines.append(f"options = {_value(options)}")
    return "\n".join(lines) + "\n"


def _options(run: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in json.loads(run["options"]).items() if value is not None}


def _template_args(runs: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each argument of the chat template, over which every cell was swept."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        for key, value in _options(run).items():
            if key.startswith(TEMPLATE) and value not in found.setdefault(key.removeprefix(TEMPLATE), []):
                found[key.removeprefix(TEMPLATE)].append(value)
    return found


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
    """Write a value as TOML; JSON's strings, but for DEL in them, and numbers are TOML as well."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(name)} = {_value(one)}' for name, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
