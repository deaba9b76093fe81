"""A number of bytes as a flag of a command takes it."""

from __future__ import annotations

from typing import Any

import click
from pydantic import ByteSize, TypeAdapter, ValidationError


class Size(click.ParamType[int]):
    """A number of bytes, such as ``800M`` (decimal) or ``2GiB`` (binary)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the number that the text says."""
        try:
            return int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            self.fail(f"{value!r} is no size; write bytes, or e.g. 800M or 2GiB", param, ctx)
