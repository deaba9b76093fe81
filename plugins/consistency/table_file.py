"""A file of printed tables and of what must hold between their figures."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ... import UsageError
from .intervals import Printed

Digits = Annotated[str, Field(min_length=1, description="a number as printed, in quotes, so that its digits are kept")]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Table(_Closed):
    """Rows of printed figures by row name, then column name."""

    title: str = Field("", description="where it was printed")
    rows: dict[str, dict[str, Digits]]

    @model_validator(mode="after")
    def _check(self) -> Table:
        for row, columns in self.rows.items():
            for column, text in columns.items():
                try:
                    Printed.read(text)
                except ValueError as error:
                    raise ValueError(f"row {row!r}, column {column!r}: {error}") from error
        return self


class Claim(_Closed):
    """Something that must hold.

    ``expression`` names figures: ``column`` of the row at hand, ``row.column`` of the claim's table, or
    ``table.row.column``. Kinds:

    - ``equals``: the figure ``printed`` (a column, for every row that has it, or one row's) equals the expression;
    - ``integer``: the expression is a whole number;
    - ``same``: all figures of the column ``printed``, or of the expression in all rows, agree within ``limit``,
      a relative spread;
    - ``not_positive``: the expression is not above 0.
    """

    name: str
    table: str
    kind: Literal["equals", "integer", "same", "not_positive"] = "equals"
    printed: str | None = Field(None, description="column, or row.column for a single figure")
    rows: tuple[str, ...] | None = Field(None, description="only these rows")
    expression: str | None = None
    limit: float = Field(0.0, ge=0, description="same: largest relative spread; integer: largest distance")
    note: str = ""

    @model_validator(mode="after")
    def _check(self) -> Claim:
        if self.kind == "equals" and self.printed is None:
            raise ValueError("kind 'equals' needs 'printed'")
        if self.kind != "same" and self.expression is None:
            raise ValueError(f"kind {self.kind!r} needs 'expression'")
        if self.kind == "same" and (self.printed is None) == (self.expression is None):
            raise ValueError("kind 'same' needs one of 'printed' and 'expression'")
        return self


class TableFile(_Closed):
    """Everything of a file."""

    title: str = Field("", description="what the tables are of")
    source: str = Field("", description="where and when they were published")
    tables: dict[str, Table]
    claims: list[Claim] = Field(min_length=1)


def read(file: Path) -> TableFile:
    """Read a table file.

    Raises:
        UsageError: it cannot be read, is no TOML or has unknown or malformed entries; names the place.
    """
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        return TableFile.model_validate(content)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", code="file-unreadable") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 text (byte {error.start})", code="file-unreadable") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{file}: {error}", code="file-unreadable") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{file}: {place}: {first['msg'].removeprefix('Value error, ')}", code="file-unreadable"
        ) from error
