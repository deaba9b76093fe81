"""Labels that a user gives to what is imported: what was varied, where the logs themselves do not have it.

The labels of a copy lie beside its folder, as ``DIGEST.labels.json``, so that the store is rebuilt with them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.errors import UsageError
from ...core.files import write_whole
from ...core.records.raw_log import RawLogError
from ...core.records.schema import Run
from ...core.sdk.logs.runs import UNKNOWN

Labels = Mapping[str, str]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_PLACE = re.compile(r"\{(.*?)\}")
_OF_RUN = ("model", "quantisation", "device")
"""Labels that fill in a field, where a log leaves it unknown."""


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE``; in a value ``{folder}`` is the folder that a file lies in, ``{file}`` its name.

    Raises:
        UsageError: no such pair, a name twice, or another word in braces.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and value and value.isprintable() and _NAME.fullmatch(name)):
            raise UsageError(
                f"--label: {text!r} is not NAME=VALUE, such as stack=rocm6 or stack={{folder}}", code="bad-value"
            )
        if name in found:
            raise UsageError(f"--label: {name!r} is given twice", code="bad-value")
        if unknown := [place for place in _PLACE.findall(value) if place not in ("folder", "file")]:
            raise UsageError(f"--label: {{{unknown[0]}}} is not known; {{folder}} and {{file}} are", code="bad-value")
        found[name] = value
    return found


def labels_for(file: Path, labels: Labels) -> dict[str, str]:
    """Return the labels of one file, with its folder and name filled in."""
    places = {"folder": file.resolve().parent.name, "file": file.stem}
    return {name: _PLACE.sub(lambda found: places[found[1]], value) for name, value in labels.items()}


def place_of(copy: Path) -> Path:
    """Return where the labels of a copy lie."""
    return copy.parent.with_name(f"{copy.parent.name}.labels.json")


def write_labels(copy: Path, labels: Labels) -> None:
    """Give a copy its labels, instead of those that it had."""
    write_whole(place_of(copy), json.dumps(dict(sorted(labels.items())), ensure_ascii=False) + "\n")


def read_labels(copy: Path) -> dict[str, str]:
    """Return the labels of a copy; none where it was imported without.

    Raises:
        RawLogError: the file beside it is damaged.
    """
    place = place_of(copy)
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise RawLogError(f"{copy}: its labels in {place.name} cannot be read: {error}; import it again") from error
    if not (isinstance(found, dict) and all(isinstance(value, str) for value in found.values())):
        raise RawLogError(f"{copy}: {place.name} is not an object of texts; import it again")
    return found


def labelled(run: Run, labels: Labels) -> Run:
    """Return a run with its labels: among its conditions, or as the field that the log leaves unknown.

    Raises:
        RawLogError: the log itself has another value.
    """
    for name, value in labels.items():
        known = _known(run, name)
        if known not in (None, UNKNOWN, (), value, (value,)):
            raise RawLogError(f"label {name}={value}: the log itself has {name} = {known}; leave the label out")
    fields = {name: value for name, value in labels.items() if name in _OF_RUN}
    further = {name: value for name, value in labels.items() if name not in _OF_RUN}
    return run.model_copy(update={**fields, "conditions": {**further, **run.conditions}})


def _known(run: Run, name: str) -> object:
    """Return what a log has under a label's name: a condition, an option, or a field of the run or of its machine."""
    for told in (run.conditions, run.options):
        if name in told:
            return told[name]
    places = [run, run.sampling, *([run.environment] if run.environment else [])]
    return next((getattr(place, name) for place in places if name in type(place).model_fields), None)
