"""Sizes on the command line."""

from __future__ import annotations

from typing import Any

import click


class Size(click.ParamType[int]):
    """A number of bytes, such as ``800MB`` (10^6) or ``2GiB`` (2^30)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Turn the text into bytes."""
        from pydantic import ByteSize, TypeAdapter, ValidationError

        try:
            return int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            self.fail(f"{value!r} is no size; write bytes, or e.g. 800MB or 2GiB", param, ctx)
