"""The service level that requests are to keep, as a user writes it: ``ttft=500ms,tpot=50ms``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

LIMITS = {"ttft": "ttft_s", "tpot": "tpot_s", "e2e": "e2e_s"}
"""What may be limited, as users call it and as records do: time to first token, per token after it, and in all."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME = re.compile(r"([0-9.]+(?:e-?\d+)?)\s*(us|ms|s)")
_FORM = "write limits such as ttft=500ms,tpot=50ms,e2e=10s"


def parse_service_level(value: object) -> object:
    """Read limits in seconds from ``NAME=TIME,...`` or from a table of names and times; other values stay as they are.

    Raises:
        ValueError: a name or a time is none, or a name is there twice; says how they are written.
    """
    if isinstance(value, str):
        given = [_pair(part) for part in value.split(",") if part.strip()]
    elif isinstance(value, Mapping):
        given = [(str(name), time) for name, time in value.items()]
    else:
        return value
    limits: dict[str, float] = {}
    for name, time in given:
        if _name(name) in limits:
            raise ValueError(f"{name} is limited twice: {_FORM}")
        limits[_name(name)] = _seconds(name, time)
    return limits


def _pair(text: str) -> tuple[str, object]:
    name, sign, time = text.partition("=")
    if not sign:
        raise ValueError(f"{text.strip()!r} is not a limit: {_FORM}")
    return name.strip(), time.strip()


def _name(name: str) -> str:
    if name in LIMITS.values():
        return name
    if name not in LIMITS:
        raise ValueError(f"{name!r} cannot be limited, only {', '.join(LIMITS)}: {_FORM}")
    return LIMITS[name]


def _seconds(name: str, time: object) -> float:
    found = _TIME.fullmatch(time) if isinstance(time, str) else None
    try:
        seconds = float(found.group(1)) * _UNITS[found.group(2)] if found else float(time)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(time, bool) or (isinstance(time, str) and not found) or not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{name} = {time!r} is not a time above 0: {_FORM}")
    return seconds
