"""The base of everything that is stored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all records: immutable, closed, self-describing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
