"""Unlike conditions: what differs between a cell and its baseline beside what is compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...core.contract.log_parser import THREAD_OPTIONS
from ...core.errors import differ, plural
from ...core.records.conditions import setting_of
from ...core.records.schema import Sampling
from ...core.records.workload import Workload
from .observations import Cell, Row

_FIELDS = ("task_version", "seed", "hostname", "cpu_model", "device")
_CELLS = "\0"  # stands for the cells' names until all that share a difference are known
_MOST_NAMED = 2


def unlike_conditions(pairs: Iterable[tuple[Cell, Cell]], names: Mapping[str, str], by: str) -> list[str]:
    """Return a warning for every difference, naming the key and both values; cells that share one share the warning.

    Args:
        pairs: cells and what each is compared with.
        names: labels by cell id.
        by: what is compared, and hence not warned of.
    """
    found: dict[str, list[str]] = {}
    for cell, baseline in pairs:
        name, base = names[cell.cell_id], names[baseline.cell_id]
        differing = [found for found in _differences(cell.run, baseline.run, by) if found[0] != by]
        for key, ours, theirs in differing:
            if ours is not None and theirs is not None:
                text = f"{differ(key)}: {_show(ours)} in {_CELLS}, {_show(theirs)} in {base!r}"
                found.setdefault(text, []).append(name)
        for text in _unrecorded(differing, base):
            found.setdefault(text, []).append(name)
        for text in _unlike_samples(cell, baseline, base):
            found.setdefault(text, []).append(name)
    return [text.replace(_CELLS, named(cells)) for text, cells in found.items()]


def _unrecorded(differing: Iterable[tuple[str, object, object]], base: str) -> Iterator[str]:
    """Word what only one of two logs has, each side in one line: nothing shows that they agree in it."""
    for at, where in ((1, _CELLS), (2, repr(base))):
        missing = [f"{found[0]} ({_show(found[3 - at])})" for found in differing if found[at] is None]
        if missing:
            other = repr(base) if at == 1 else _CELLS
            yield f"not recorded of {where}, in brackets what {other} has: {', '.join(missing)}"


def named(cells: list[str]) -> str:
    """Name some cells, the first of many."""
    told = ", ".join(map(repr, cells[:_MOST_NAMED]))
    return told if len(cells) <= _MOST_NAMED else f"{told} and {len(cells) - _MOST_NAMED} more"


def _differences(ours: Row, theirs: Row, by: str) -> Iterator[tuple[str, object, object]]:
    pairs: list[tuple[str, object, object]] = []
    for name, setting in Workload.settings().items():
        if setting.is_condition:
            key = f"sampling.{name}" if name in Sampling.model_fields else name
            pairs.append((key, setting_of(ours, name), setting_of(theirs, name)))
    pairs += [(key, ours[key], theirs[key]) for key in _FIELDS]
    pairs.append(("sampling.seed", ours["sampling"].get("seed"), theirs["sampling"].get("seed")))
    named = dict.fromkeys((*ours["conditions"], *theirs["conditions"]))
    pairs += [(key, ours["conditions"].get(key), theirs["conditions"].get(key)) for key in named]
    if by not in THREAD_OPTIONS:
        pairs.append(("threads", _threads(ours), _threads(theirs)))
    for key in ("gpu", "gpu_driver", "governor", "cores_used"):
        pairs.append((key, (ours["environment"] or {}).get(key), (theirs["environment"] or {}).get(key)))
    if None not in (ours["stop_token_ids"], theirs["stop_token_ids"]):
        pairs.append(("stop_token_ids", ours["stop_token_ids"], theirs["stop_token_ids"]))
    if ours["backend"] == theirs["backend"]:
        pairs.append(("backend_version", ours["backend_version"], theirs["backend_version"]))
    if ours["model"] == theirs["model"]:
        pairs.append(("model_hash", ours["model_hash"], theirs["model_hash"]))
    for key, a, b in pairs:
        if a != b:
            yield key, a, b


def _threads(run: Row) -> object:
    for source in (run["options"], run["settings"] or {}):
        for name in THREAD_OPTIONS:
            if source.get(name) is not None:
                return str(source[name])
    return None


def _unlike_samples(cell: Cell, baseline: Cell, base: str) -> list[str]:
    ours, theirs = cell.rounds[0].answers(), baseline.rounds[0].answers()
    common = ours.keys() & theirs.keys()
    where = f"in {_CELLS}, {{}} in {base!r}"
    if any(side.rounds[0].samples and not side.rounds[0].answers() for side in (cell, baseline)):
        return [f"prompts of {_CELLS} or {base!r} are not recorded: rounds are compared as wholes, unpaired"]
    found = []
    if len(ours) != len(theirs) or len(common) < len(ours):
        text = f"answered prompts differ: {len(ours)} {where.format(len(theirs))}; {len(common)} in common"
        found.append(text)
    hashes = [(ours[key]["prompt_hash"], theirs[key]["prompt_hash"]) for key in sorted(common)]
    unlike = [(a, b) for a, b in hashes if a is not None and b is not None and a != b]
    if unlike:
        a, b = unlike[0]
        found.append(f"prompt_hash differs for {plural(len(unlike), 'prompt')}: first {a} {where.format(b)}")
    for field in ("prompt_tokens", "depth_tokens", "output_tokens"):
        a, b = (sum(side[key][field] or 0 for key in common) for side in (ours, theirs))
        if a != b:
            found.append(f"{field} differ over the common prompts: {a} {where.format(b)}")
    return found


def unlike_rounds(cell: Cell, name: str) -> list[str]:
    """Return a warning for every condition that changed between the rounds of one cell."""
    found = []
    for key in ("backend_version", "hostname", "cpu_model"):
        values = list(dict.fromkeys(r.run[key] for r in cell.rounds))
        if len(values) > 1:
            found.append(f"{key} changed between rounds of {name!r}: {', '.join(_show(v) for v in values)}")
    return found


def _show(value: object) -> str:
    """Word a value as a user would write it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
