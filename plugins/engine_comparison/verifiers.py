"""Accuracy sweeps over quantisations with the `verifiers` environments: one JSON array, an entry per quantisation.

A public engine-comparison workflow writes them: it calls `vf-eval` on a local server and keeps what that printed. The
number of tokens is nowhere, so there is no speed in them. Of the metrics, the one that checks the answer counts as
accuracy; where there is none, the reward does, which may give partial credit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from ...core.contract.log_parser import LogParser
from ...core.records.schema import RecordedSampling, Run, Status, Totals
from ...core.sdk.logs.fields import MOST_TOKENS, Fields, flat
from ...core.sdk.logs.json_files import is_array_with, read_objects
from ...core.sdk.logs.runs import bare_run

_KNOWN = frozenset(
    {"quantization", "size", "environment", "num_examples", "max_tokens", "metrics", "elapsed_seconds", "returncode"}
    | {"timestamp", "backend", "stdout", "stderr", "temperature"}
)
_EVAL_TIME = "eval_time_seconds"
_TIMES = ("_seconds", "_s", "_ms")  # endings of what was measured
_BACKENDS = {"llamacpp": "llama-cpp", "mlc_llm": "mlc"}
_PROCESSING = re.compile(r"Processing (\d{1,9}) groups \((\d{1,9}) total rollouts\)")


class VerifiersSweep(LogParser):
    """Reads one run per entry."""

    name: ClassVar[str] = "verifiers-sweep"
    summary: ClassVar[str] = "sweep_*.json and llamacpp_sweep_*.json: accuracy by quantisation with verifiers' vf-eval"
    version: ClassVar[str] = "2"

    def matches(self, path: Path, head: bytes) -> bool:
        """Look for the keys of an entry."""
        return is_array_with(head, "quantization", "environment", "num_examples", "metrics", "returncode")

    def read(self, path: Path) -> Iterator[Run]:
        """Yield the runs.

        Raises:
            RawLogError: the file is cut, or a value is missing or of the wrong kind; names the field.
        """
        entries, digest = read_objects(path)
        for at, entry in enumerate(entries):
            yield _run(f"sha256-{digest}-{at}", entry)


def _run(run_id: str, entry: Fields) -> Run:
    metrics = entry.inner("metrics")
    shares = {name: metrics.inner(name) for name in metrics.content if name != _EVAL_TIME}
    metric = _accuracy_of(shares)
    asked, done = entry.count("num_examples"), _done(entry)
    status, reason = _outcome(entry, has_metric=metric is not None)
    is_ok = status == "ok"
    return bare_run(
        run_id,
        _backend(entry),
        started_at=entry.text("timestamp") if entry.has("timestamp") else "",
        model=entry.text("size") if entry.has("size") else "unknown",
        size=entry.text("size") if entry.has("size") else None,
        quantisation=entry.text("quantization"),
        task=entry.text("environment"),
        samples=asked,
        max_new_tokens=entry.count("max_tokens", least=1, most=MOST_TOKENS) if entry.has("max_tokens") else None,
        status=status,
        reason=reason,
        wall_s=entry.number("elapsed_seconds") if entry.has("elapsed_seconds") else None,
        sampling=RecordedSampling(temperature=entry.optional(entry.number, "temperature")),
        conditions={name: value for name, value in flat(entry.beyond(*_KNOWN)).items() if not name.endswith(_TIMES)},
        extra=entry.beyond(*_KNOWN),
        settings=_settings(shares, metric),
        totals=Totals(
            samples=(asked if done is None else done) or None,
            wall_s=(metrics.number(_EVAL_TIME) or None) if metrics.has(_EVAL_TIME) else None,
            accuracy=_share(shares[metric]) if metric is not None else None,
        )
        if is_ok
        else None,
        notes=tuple(_notes(entry, metric, asked, done)),
    )


def _backend(entry: Fields) -> str:
    told = entry.text("backend") if entry.has("backend") else "tinygrad"
    return _BACKENDS.get(told, told)


def _accuracy_of(shares: dict[str, Fields]) -> str | None:
    for beginning in ("correct_answer", "check_answer", "reward"):
        for name in shares:
            if name.startswith(beginning):
                return name
    return None


def _share(metric: Fields) -> float:
    share = metric.number("avg")
    if share > 1:
        raise metric.fail("avg", f"{share:g} is not a share from 0 to 1")
    return share


def _done(entry: Fields) -> int | None:
    """Return how many examples the tool says that it ran; it may have fewer than it was asked for."""
    found = _PROCESSING.findall(entry.text("stderr")) if entry.has("stderr") else []
    return int(found[-1][1]) if found else None


def _outcome(entry: Fields, *, has_metric: bool) -> tuple[Status, str | None]:
    code = entry.signed("returncode")
    if code == 0:
        return ("ok", None) if has_metric else ("failed", "the tool printed no metric")
    printed = [entry.text(name) for name in ("stderr", "stdout") if entry.has(name)]
    words = [line.strip() for text in printed for line in reversed(text.splitlines()) if line.strip()]
    return "failed", f"vf-eval ended with code {code:g}" + (f": {words[0][:200]}" if words else "")


def _settings(shares: dict[str, Fields], metric: str | None) -> dict[str, str]:
    settings = {
        f"published_{name}": f"{told.number('avg'):g} ± {told.number('std'):g}" for name, told in shares.items()
    }
    if metric is not None:
        settings["published_metric"] = metric
    return settings


def _notes(entry: Fields, metric: str | None, asked: int, done: int | None) -> Iterator[str]:
    if done is None:
        yield "how many examples were run is not in the file: taken from what was asked for"
    elif done != asked:
        yield f"{asked} examples were asked for and {done} were run: accuracy is over {done}"
    if metric is not None and metric.startswith("reward"):
        yield "accuracy is the environment's mean reward, which may give partial credit"
    if not entry.has("backend"):
        yield "the entry names no backend: the only such sweep that is known runs tinygrad"
    yield (
        "the quantisation is the sweep's word, not the format of the weights; the server was known by a label alone, "
        "and model, device and machine are not in the file"
    )
    yield "the time stamp has no zone; it is when the entry was written"
