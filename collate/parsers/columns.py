"""What a column of a CSV can be: the targets of ``collate --columns``."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from ...core.errors import UsageError, unknown_name

Columns = Mapping[str, str]
"""Column of the file by target."""

OPTION = "option."
CONSTANT = "="
"""Begins what stands instead of a column where all rows have the same: ``decode_tokens==128``."""

_OF_MACHINE = ("hostname", "cpu_model")
_OF_RUN = (
    "backend", "backend_version", "kind", "model", "size", "quantisation", "bits_per_weight", "device", "task", "seed",
    "round", "batch_size", "max_new_tokens", "started_at", "load_s", "weight_bytes", "peak_rss_bytes",
    "peak_device_bytes", "energy_j",
)  # fmt: skip
_OF_SAMPLE = (
    "sample_id", "is_warmup", "prompt", "prompt_tokens", "output_tokens", "text", "finish", "start_s", "duration_s",
    "first_token_s", "prefill_s", "decode_tokens", "decode_s", "decode_forwards", "batch", "batch_s", "reference",
    "extracted", "score", "status", "reason",
)  # fmt: skip
OF_TOTALS = {
    "total_samples": "samples", "total_output_tokens": "output_tokens", "total_forwards": "forwards",
    "total_wall_s": "wall_s", "total_tokens_per_s": "tokens_per_s", "total_accuracy": "accuracy",
}  # fmt: skip
"""The field of a run's totals that a column over all samples fills: in such a table a row is a whole run."""

_SAME = {"ttft_s": "first_token_s", "e2e_s": "duration_s", "accuracy": "score"}  # metrics that are a field of a sample
RATES = {
    "decode_tokens_per_s": ("decode_s", "decode_tokens"),
    "e2e_tokens_per_s": ("duration_s", "output_tokens"),
    "prefill_tokens_per_s": ("prefill_s", "prompt_tokens"),
    "tpot_s": ("decode_s", "decode_tokens"),
}
"""The field that a rate becomes, and the tokens with which."""

INSTEAD = {"decode_tokens": "output_tokens"}
"""What tells some tokens where they are not told themselves: all but the first are decoded."""

_PARTS: Mapping[str, Collection[str]] = {"run": _OF_RUN, "machine": _OF_MACHINE, "totals": OF_TOTALS}
TARGETS = tuple(sorted({*_OF_RUN, *_OF_MACHINE, *OF_TOTALS, *_OF_SAMPLE, *_SAME, *RATES}))
"""What a column can be; and ``option.NAME``, and another unit, as ``_ms``, for what is in seconds."""

_UNITS = {"_ms": Fraction(1, 1000), "_min": Fraction(60), "_h": Fraction(3600)}
TIMES_OF_TOTALS = tuple(f"total_wall{unit}" for unit in _UNITS)
"""The targets of a total time whose printed text a run keeps: its digits are those of another unit than seconds."""

_UNIT = re.compile("(" + "|".join(_UNITS) + ")$")


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """Read ``target=column,target==VALUE``; a part with a comma in it stands in double quotes.

    Raises:
        UsageError: no such target, one twice, or a rate without the tokens behind it; says which there are.
    """
    found: dict[str, str] = {}
    for part in next(csv.reader([",".join(texts)], skipinitialspace=True), []):
        target, equals, column = part.partition("=")
        if not (equals and target.strip() and column.strip(f" {CONSTANT}")):
            raise UsageError(f"--columns: {part!r} is not target=column, nor target==VALUE", code="bad-value")
        if target.strip() in found:
            raise UsageError(f"--columns: {target.strip()!r} is given twice", code="bad-value")
        found[target.strip()] = column.strip()
    check_columns(found)
    return found


def check_columns(columns: Columns) -> None:
    """Refuse a mapping that no file could be read with.

    Raises:
        UsageError: see ``parse_columns``.
    """
    if not columns:
        raise UsageError("--columns: no column is named", code="bad-value")
    fields: dict[str, str] = {}
    for target in columns:
        field = field_of(target)
        if field in fields:
            raise UsageError(f"--columns: {fields[field]!r} and {target!r} both give {field}", code="bad-value")
        fields[field] = target
    for target in columns:
        _, tokens = RATES.get(in_seconds(target), ("", ""))
        if tokens and tokens not in columns and INSTEAD.get(tokens) not in columns:
            need = " or ".join(filter(None, (tokens, INSTEAD.get(tokens))))
            raise UsageError(
                f"--columns: {target!r} is a rate: name the column of its tokens too, as {need}=COLUMN, or "
                f"their number, as {need.split()[0]}==128",
                code="bad-value",
            )


@lru_cache(maxsize=1024)  # asked for every cell
def in_seconds(target: str) -> str:
    """Return the target in seconds of one in another unit, and any other as it is."""
    name = _UNIT.sub("_s", target)
    return name if name in TARGETS else target


@lru_cache(maxsize=1024)
def seconds_of(target: str) -> Fraction:
    """Return how many seconds a unit of a target is, exactly; 1 where it is in seconds, or no time."""
    found = _UNIT.search(target)
    return _UNITS[found[0]] if found and in_seconds(target) != target else Fraction(1)


@lru_cache(maxsize=1024)
def field_of(target: str) -> str:
    """Return the field of a run or a sample that a target fills."""
    if target.startswith(OPTION) and len(target) > len(OPTION):
        return target
    name = in_seconds(target)
    if name not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    return _SAME.get(name, RATES[name][0] if name in RATES else name)


@lru_cache(maxsize=1024)
def part_of(target: str) -> str:
    """Return what a target is a part of: ``run``, ``machine``, ``totals``, ``option`` or ``sample``."""
    if target.startswith(OPTION):
        return "option"
    return next((part for part, names in _PARTS.items() if in_seconds(target) in names), "sample")


def is_of_run(target: str) -> bool:
    """Say whether a target belongs to a run, so that rows which differ in it are different runs."""
    return part_of(target) != "sample"
