"""Sizes, times and shares as flags of a command take them."""

from __future__ import annotations

import re
from typing import Any

import click
from pydantic import ByteSize, TypeAdapter, ValidationError

_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class Size(click.ParamType[int]):
    """A number of bytes, such as ``800M`` (decimal) or ``2GiB`` (binary)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the number that the text says."""
        try:
            return int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            self.fail(f"{value!r} is not a size; write bytes, or e.g. 800M or 2GiB", param, ctx)


class Duration(click.ParamType[float]):
    """A number of seconds, such as ``90``, ``20m`` or ``1h30m``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the seconds that the text says."""
        text = str(value).strip()
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
        if not parts or "".join(re.split(r"\s+", text)) != "".join(number + unit for number, unit in parts):
            self.fail(f"{value!r} is not a time; write seconds, or e.g. 90s, 20m or 1h30m", param, ctx)
        if any(unit not in _SECONDS for _, unit in parts) or (len(parts) > 1 and any(not unit for _, unit in parts)):
            self.fail(f"{value!r} is not a time; write seconds, or e.g. 90s, 20m or 1h30m", param, ctx)
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)


class Share(click.ParamType[float]):
    """A share between 0 and 1, such as ``2%`` or ``0.02``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the share that the text says."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            self.fail(f"{value!r} is not a share between 0 and 1; write e.g. 2% or 0.02", param, ctx)
        return share
