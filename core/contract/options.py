"""A backend's options: what changes how it runs, typed and described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator

from ..records.record import refuse_truth_values


class BackendOptions(BaseModel):
    """Base of a backend's options: typed, described, validated before anything loads, sweepable by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _numbers(cls, content: object) -> object:
        refuse_truth_values(cls, content)
        return content


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    O = TypeVar("O", bound=BackendOptions, default=Any)  # noqa: E741
    """Options of one backend; where none are named, as in the host, those of any."""
else:
    from typing import TypeVar

    O = TypeVar("O", bound=BackendOptions)  # noqa: E741
