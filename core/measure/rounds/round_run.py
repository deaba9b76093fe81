"""One round while it is measured: its log, what its worker sends, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...contract.launcher import Outcome
from ...errors import DecodebenchError
from ...records.log_content import LineError
from ..job import MeasureJob
from ..progress import Progress
from ..prompts import Prompts
from ..round_log import Listener, Round, RoundLog, beside, peak_of

INTERRUPTED = Outcome("interrupted", "interrupted by the user")
ALL_OR_NONE = "requests under load are recorded once all have ended, so none counts: raise --timeout or ask fewer"


class RoundRun:
    """A round from the first line of its log to the last.

    Args:
        now: the round.
        label: what its cell is called.
        log: open, its first line written.
        progress: told what happens.
        is_beside_others: whether others are measured elsewhere at the same time: progress is then told all of it at the
            end, by the one thread that tells it anything.

    Attributes:
        engine_text: file that takes what the engine prints.
        listener: takes what the worker sends.
        job: what the worker is to do; None where the round cannot be started.
        outcome: how it ended; None before.
        wall_s: seconds that the worker went on for.
        cut: why it ended before all its samples; the finished ones count.
        figures: of the round besides, as fields of ``Run``.
    """

    def __init__(
        self, now: Round, label: str, log: RoundLog, progress: Progress, *, is_beside_others: bool = False
    ) -> None:
        self.now, self.label, self.log, self._progress = now, label, log, progress
        self.engine_text = beside(log.path, ".engine.txt")
        self._unsaid: list[tuple[int, float]] = []
        self.listener = Listener(log, self._keep if is_beside_others else progress.sample, progress.classic_log)
        self.job: MeasureJob | None = None
        self.outcome: Outcome | None = None
        self.wall_s = 0.0
        self.cut: str | None = None
        self.figures: dict[str, Any] = {}

    def _keep(self, tokens: int, seconds: float) -> None:
        self._unsaid.append((tokens, seconds))

    def begins(self, timeout_s: float) -> None:
        """Show that it begins, or goes on."""
        samples = 0 if self.job is None else len(self.job.prompts)
        self._progress.round_begins(self.label, self.now.index, samples, timeout_s)

    def begin_again(self) -> None:
        """Leave nothing of an attempt whose machine was lost, and say that it begins again."""
        self._progress.say(f"{self.label} begins again: {self.outcome.reason if self.outcome else ''}")
        self.discard()

    def discard(self) -> None:
        """Leave nothing of a round that has no sample."""
        self.log.discard()
        self.engine_text.unlink(missing_ok=True)
        self._progress.round_is_dropped(self.label, self.now.index)

    def conclude(self, prompts: Prompts, timeout_s: float) -> Outcome:
        """Score what was answered, write the last line and close the log; return how the round ended.

        Raises:
            OSError: the log cannot be written.
        """
        assert self.outcome is not None
        self.begins(timeout_s)
        for tokens, seconds in self._unsaid:
            self._progress.sample(tokens, seconds)
        outcome, samples = self.outcome, self.log.content.samples
        if outcome.status == "ok" and self.job is not None and samples != len(self.job.prompts):
            came = f"{samples} samples came of the {len(self.job.prompts)} asked for"
            outcome = Outcome("failed", came, code="contract-broken")
        outcome = self._end(self._scored(self._used(outcome), prompts))
        self.log.close()
        if outcome.status != "interrupted":
            self._progress.round_ends(outcome.status, outcome.reason or self.cut, self.engine_text)
        return outcome

    def drop_torn(self) -> None:
        """Leave out of the log the batch that was being sent when the time was up: its figures are of all its rows."""
        if self.job is not None:
            whole = self.log.content.whole
            self.listener.forget(self.log.keep(max(end for end in _ends_of_batches(self.job) if end <= whole)))

    def _used(self, outcome: Outcome) -> Outcome:
        """Let the finished samples of a round that ran out of time count."""
        if outcome.status != "timeout" or self.job is None:
            return outcome
        self.drop_torn()
        if measured := self.log.content.measured:
            asked = sum(not prompt.is_warmup for prompt in self.job.prompts)
            self.cut = f"{outcome.reason} with {measured} of {asked} samples, which count"
            return Outcome("ok")
        return replace(outcome, reason=f"{outcome.reason}; {ALL_OR_NONE}") if _is_stream(self.job) else outcome

    def _scored(self, outcome: Outcome, prompts: Prompts) -> Outcome:
        try:
            for number, line in enumerate(prompts.scores(self.listener.answers), start=1):
                self.log.add("score", line)
                self._progress.scored(number, len(self.listener.answers))
            for line in prompts.choice_scores(self.listener.likelihoods):
                self.log.add("score", line)
        except KeyboardInterrupt:
            return Outcome("interrupted", "interrupted by the user while answers were scored")
        except DecodebenchError as error:
            if outcome.status == "ok":
                return Outcome("failed", f"answers were not scored: {error}", code=error.code)
        return outcome

    def _end(self, outcome: Outcome) -> Outcome:
        end: dict[str, Any] = {"status": outcome.status, "reason": outcome.reason, "wall_s": self.wall_s}
        if self.cut is not None:
            end["cut"] = self.cut
        if outcome.code is not None:
            end["reason_code"] = outcome.code
        peak = peak_of(self.now.cell, outcome, self.listener)
        end |= {"peak_rss_bytes": peak, **self.figures, **self._of_engine()}
        try:
            self.log.add("end", end)
        except LineError as error:
            status = "failed" if outcome.status == "ok" else outcome.status
            outcome = Outcome(status, f"figures of the round: {error}", code="line-refused")
            self.log.add("end", {"status": status, "reason": outcome.reason, "reason_code": outcome.code})
        return outcome

    def _of_engine(self) -> Mapping[str, Any]:
        """Return the servers that answered, and the engine's own count of device memory: it leaves others out."""
        peak, sessions = self.listener.device_peak_bytes, self.listener.sessions
        found: dict[str, Any] = {} if peak is None else {"peak_device_bytes": peak}
        return found | ({"sessions": [one.model_dump(mode="json") for one in sessions]} if sessions else {})


def _is_stream(job: MeasureJob) -> bool:
    return job.workload.is_stream and not any(prompt.choices for prompt in job.prompts)


def _ends_of_batches(job: MeasureJob) -> Sequence[int]:
    """Return after how many samples nothing of a batch is missing, 0 included; a stream is one batch."""
    size = max(1, len(job.prompts)) if _is_stream(job) else job.workload.batch_size
    size = 1 if any(prompt.choices for prompt in job.prompts) else size
    warmup = sum(prompt.is_warmup for prompt in job.prompts)
    return [*range(0, warmup, size), *range(warmup, len(job.prompts), size), len(job.prompts)]
