"""The plan that measures an experiment again, made from its records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ... import defaults
from ...core.records.cell_names import TEMPLATE
from ...core.records.store import Store

_WORKLOAD = (
    *("task", "samples", "warmup", "batch_size", "depth", "ignore_eos", "chat", "system", "stop", "allow_clipped"),
)
_SAMPLING = ("temperature", "top_p", "top_k")


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
    lines += [f"{key} = {_value(value)}" for key, value in _workload(store, first).items()]
    if template_args := _template_args(cells.values()):
        told = ", ".join(f"{_value(name)} = {_value(values)}" for name, values in template_args.items())
        lines.append(f"template_args = {{ {told} }}")
    for run in sorted(cells.values(), key=lambda run: run["cell_index"] or 0):
        lines += ["", "[[cells]]", f"backend = {_value(run['backend'])}", f"model = {_value(run['model'])}"]
        lines += [f"quantisation = {_value(run['quantisation'])}", f"device = {_value(run['device'])}"]
        options = {key: value for key, value in _options(run).items() if not key.startswith(TEMPLATE)}
        if options:
            lines.append(
                f"options = {{ {', '.join(f'{_key(key)} = {_value(value)}' for key, value in options.items())} }}"
            )
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
    found = {key: run[key] for key in _WORKLOAD if run[key] not in (None, [], ())}
    sampling = json.loads(run["sampling"]) if isinstance(run["sampling"], str) else run["sampling"]
    found |= {key: sampling[key] for key in _SAMPLING if sampling.get(key) is not None}
    if (run["attempts"] or 1) > 1:
        found |= {"samples": run["samples"] // run["attempts"], "attempts": run["attempts"]}
    if run["task"] is not None:
        return found | {"max_new_tokens": run["max_new_tokens"]}
    sql = "SELECT any_value(prompt_tokens) FROM samples WHERE run_id = ?"
    prompt_tokens = store.query(sql, [run["run_id"]])[1][0][0] or 1
    found["prompt_tokens"] = max(1, prompt_tokens - run["depth"])
    return found | {"output_tokens": run["max_new_tokens"]}


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    """Write a value as TOML; JSON's strings, but for DEL in them, numbers and lists of them are TOML as well."""
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
