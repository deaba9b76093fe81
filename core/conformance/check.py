"""What a check is: one rule of the contract, the function that tries it, and the record of how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from ..errors import DecodebenchError, described
from ..records.schema import Record
from .outcome import Broken, NotApplicable
from .subject import Subject

Verdict = Literal["passed", "failed", "skipped"]
Trial = Callable[[Subject], str | None]


class CheckResult(Record):
    """How one check of one backend went."""

    check: str = Field(description="name of the check; its test method is called test_ and this")
    rule: str = Field(description="what the contract asks for, one sentence")
    verdict: Verdict = Field(description="passed, failed, or skipped by declaration")
    reason: str | None = Field(None, description="what was seen; for a skipped check why it does not apply")
    advice: str | None = Field(None, description="failed: what to do about it")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the contract.

    Attributes:
        name: a claim about the backend that can be true or false, e.g. ``"greedy_is_deterministic"``.
        rule: what the contract asks for, one sentence.
        advice: where an author who breaks it should look.
        trial: tries the rule; returns what it looked at, raises ``Broken`` or ``NotApplicable``.
    """

    name: str
    rule: str
    advice: str
    trial: Trial

    def run(self, subject: Subject) -> CheckResult:
        """Try the rule on a backend; whatever goes wrong in it becomes a failed check."""
        try:
            return self._result("passed", self.trial(subject))
        except NotApplicable as declaration:
            return self._result("skipped", str(declaration))
        except (Broken, DecodebenchError) as error:
            return self._result("failed", str(error))
        except Exception as error:  # noqa: BLE001 - the plugin boundary: its class methods run in this process
            return self._result("failed", described(error))

    def _result(self, verdict: Verdict, reason: str | None) -> CheckResult:
        advice = self.advice if verdict == "failed" else None
        return CheckResult(check=self.name, rule=self.rule, verdict=verdict, reason=reason, advice=advice)


def check(advice: str) -> Callable[[Trial], Check]:
    """Make a check of a function: its name names the check, the first paragraph of its docstring is the rule."""

    def made(trial: Trial) -> Check:
        rule = " ".join((trial.__doc__ or "").split("\n\n")[0].split())
        return Check(trial.__name__, rule, advice, trial)

    return made
