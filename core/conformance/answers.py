"""What processes with a loaded model have answered so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..contract.model import ModelFacts
from ..isolation.processes.messages import Line
from .probe_job import Generating


@dataclass(slots=True)
class Answers:
    """Takes the lines of such processes, one after the other.

    Attributes:
        facts: of the loaded model.
        lines: the lines of each question that was answered to the end.
        faults: why a question could not be answered.
        loading_fault: why the model could not be loaded.
        asking: the question that is being answered.
        death: why the last process ended before its time.
    """

    facts: ModelFacts | None = None
    lines: dict[Generating, list[Line]] = field(default_factory=dict)
    faults: dict[Generating, str] = field(default_factory=dict)
    loading_fault: str | None = None
    asking: Generating | None = None
    death: str | None = None

    def take(self, line: Line) -> None:
        """Note one line."""
        match line["type"]:
            case "facts":
                self.facts = ModelFacts(**{**line["facts"], "stop_token_ids": tuple(line["facts"]["stop_token_ids"])})
            case "asking":
                self.asking = line["question"]
                self.lines[line["question"]] = []
            case "answered":
                self.asking = None
            case "fault":
                del self.lines[line["question"]]
                self.faults[line["question"]] = line["reason"]
            case _ if self.asking is not None:
                self.lines[self.asking].append(line)

    def died(self, reason: str) -> None:
        """The process has ended before its time."""
        self.death = reason
        if self.facts is None:
            self.loading_fault = f"the model could not be loaded: {reason}"
        elif self.asking is not None:
            self.lines.pop(self.asking, None)
            self.faults[self.asking] = reason
        self.asking = None
