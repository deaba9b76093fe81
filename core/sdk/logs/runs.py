"""The run that another program's log tells of: names of unknown things, ids by content."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import ValidationError

from ...records.schema import Run

UNKNOWN = "unknown"
_NOTHING: dict[str, Any] = {
    "experiment": "", "cell_id": "", "round": 0, "started_at": "", "model": UNKNOWN, "quantisation": UNKNOWN,
    "device": UNKNOWN,
}  # fmt: skip


def bare_run(
    run_id: str,
    backend: str,
    *,
    cut: str | None = None,
    failure: str | None = None,
    **known: Any,  # noqa: ANN401 - fields of Run, which checks them
) -> Run:
    """Return the run of a log: names that are not known are ``unknown``, everything else is None or empty.

    What a field cannot hold, such as a limit of 0 tokens, is no fact: it goes to ``extra``, and a note names it.

    Args:
        run_id: made from the log's content.
        backend: what ran.
        cut: what is missing at the end of the log; makes the run incomplete.
        failure: why nothing was measured; makes the run failed, whatever is missing besides.
        known: further fields of the run, which count before all that.
    """
    fields = {**_NOTHING, "run_id": run_id, "backend": backend}
    if failure or cut:
        fields |= {"status": "failed" if failure else "incomplete", "reason": failure or cut}
    fields |= known
    try:
        return Run(**fields)
    except ValidationError as error:
        return Run(**_without_impossible(fields, error))


def _without_impossible(fields: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return the fields without those that the record refused; values inside a group are taken out alone."""
    kept, extra, notes = dict(fields), dict(fields.get("extra") or {}), list(fields.get("notes") or ())
    for place in {tuple(str(part) for part in fault["loc"]): None for fault in error.errors()}:
        if not place or place[0] in ("extra", "notes"):
            raise error
        group = kept
        for part in place[:-1]:
            if not isinstance(group.get(part), dict):
                raise error
            group[part] = group = dict(group[part])
        if place[-1] not in group:
            raise error
        name, value = ".".join(place), group.pop(place[-1])
        extra[name] = value if isinstance(value, bool | int | float | str) else str(value)
        notes.append(f"{name} is {value} in the log, which no run can have: kept in extra, not used")
    return {**kept, "extra": extra, "notes": tuple(notes)}


def digest_of(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a log's content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
