"""What a backend says of a cell before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal

from .model import ResolvedModel
from .options import O

if TYPE_CHECKING:
    from ..records.workload import Workload

Capability = Literal["score", "score-top-k", "sampling", "tokenizer", "continuous", "depth"]


@dataclass(frozen=True, slots=True)
class PlannedCell(Generic[O]):
    """What a backend is going to run.

    Attributes:
        model: the model, found on disk, with its companion where the backend uses one.
        quantisation: weight format in the backend's words.
        device: device name.
        options: validated.
        workload: what is asked of the model.
    """

    model: ResolvedModel
    quantisation: str
    device: str
    options: O
    workload: Workload


@dataclass(frozen=True, slots=True)
class Preflight:
    """A backend's answer. The default makes no claim and refuses nothing.

    Attributes:
        errors: why the cell cannot run, one sentence each: options that conflict with each other, the model or the
            workload. The host refuses the plan with all of them.
        notes: what will be done differently from what was requested, one sentence each, such as a clamped value.
        inert: options that the others disable, each with the reason, such as ``"without adaptive"``. The host warns
            about one that is not at its default, and refuses a matrix that varies nothing else.
        inexact: why greedy tokens may differ from those of the reference backend with the same unquantised weights.
            None is a claim: they are the same, ties excepted. The kit checks it.
        lacks: what ``supports`` declares but this cell cannot do, such as with a different engine behind it.
    """

    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    inert: Mapping[str, str] = field(default_factory=dict)
    inexact: str | None = "it makes no such claim"
    lacks: tuple[Capability, ...] = ()
