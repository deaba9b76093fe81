"""Two versions of a backend's plugin or engine, measured in turn on this machine: whether the new one is slower."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...collate.comparison.gates import Gates
from ...viz.drawing.numbers import by_unit
from ..errors import UsageError, unknown_name
from ..host.registry import Registry
from ..isolation.installers import Command, Specs
from ..isolation.plugins import backend_of
from ..isolation.virtual_environments import backends_of, folder_of, make, python_in
from ..measure.machine.waiting import WhenBusy
from ..measure.plan import build
from ..records.metrics import METRICS
from .comparison import Comparison
from .experiment import Experiment, Reporter, measurement
from .plan_content import merge_settings

BASE, NEW = "base", "new"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        text: what the user called it.
        spec: what is installed for it, as pip takes it.
    """

    text: str
    spec: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What is compared, and what trips.

    Attributes:
        base: what is there.
        new: what is to take its place.
        backend: name of the backend that both have.
        gates: what trips.
    """

    base: Side
    new: Side
    backend: str
    gates: Gates


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate found.

    Attributes:
        experiment: the rounds, and their comparison.
        tripped: a line for each gate that tripped, also for what could not be compared; empty where it passed.
        markdown: a summary, for a pull request.
    """

    experiment: Experiment
    tripped: list[str]
    markdown: str


def side_of(text: str, repository: Path) -> Side:
    """Read a revision of the repository at hand, or anything that pip installs.

    Args:
        text: a branch, tag or commit of ``repository``; else a requirement, an address or a folder.
        repository: a folder of a git checkout, whose plugin is installed from the revision; it need not be one.
    """
    command = ["git", "-C", str(repository), "rev-parse", "--show-toplevel", "--verify", "--end-of-options"]
    try:
        ended = subprocess.run(
            [*command, f"{text}^{{commit}}"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return Side(text, text)
    found = ended.stdout.split("\n")
    if ended.returncode != 0 or len(found) < 2 or not re.fullmatch("[0-9a-f]{40,64}", found[-2]):
        return Side(text, text)
    return Side(f"{text} ({found[-2][:10]})", f"git+{Path(found[0]).as_uri()}@{found[-2]}")


def gate(
    asked: Gate,
    settings: Mapping[str, Any],
    output: Path,
    *,
    run: Callable[[Command], int],
    when_busy: WhenBusy | None = None,
    progress: Reporter = None,
) -> Verdict:
    """Install both sides, measure them in turn, batch by batch, and judge the new one by the interval of its ratio.

    Each is installed into an environment of its own, which is removed in the end.

    Args:
        asked: what is compared, and what trips.
        settings: of workload and run, by the plan's words, and ``options``, ``quantisation``, ``device`` of the cell.
        output: the output folder; a new experiment begins in it.
        run: runs an installer and returns its exit code.
        when_busy, progress: as ``run`` takes them.

    Raises:
        UsageError: one cannot be installed or does not have the backend, or a setting is wrong.
    """
    backend = asked.backend
    with _environment(BASE, asked.base, output, run) as old, _environment(NEW, asked.new, output, run) as new:
        for made, side in ((old, asked.base), (new, asked.new)):
            if backend not in made.backends:
                raise unknown_name(f"backend of {side.text}", backend, made.backends)
        sources = [backend_of(each.python, backend, f"{name}:{backend}") for each, name in ((old, BASE), (new, NEW))]
        own = {name: settings[name] for name in ("options", "quantisation", "device") if name in settings}
        content: dict[str, Any] = {"cells": [{"backend": f"{name}:{backend}", **own} for name in (BASE, NEW)]}
        rest = {name: value for name, value in settings.items() if name not in own}
        merge_settings(content, {"name": f"gate-{backend}", "interleave": "samples", **rest}, {}, "gate")
        found = measurement(build(content, "gate"), registry=Registry(remote=lambda: sources))
        if len(found.matrix.cells) != 2:
            raise UsageError(
                f"a gate compares one cell with one, here are {len(found.matrix.cells)}: give one value each",
                code="one-cell-needed",
            )
        experiment = found.run(output, fresh=True, when_busy=when_busy, progress=progress)
    tripped = (
        ["nothing could be compared"] if experiment.comparison is None else asked.gates.tripped(experiment.comparison)
    )
    tripped += [f"{label}, round {index + 1}: {status}" for label, index, status, _ in experiment.report.failed]
    return Verdict(experiment, tripped, _markdown(asked, experiment.comparison, tripped))


@dataclass(frozen=True, slots=True)
class _Environment:
    python: Path
    backends: list[str]


@contextmanager
def _environment(name: str, side: Side, output: Path, run: Callable[[Command], int]) -> Iterator[_Environment]:
    """Give an environment of its own with what a side asks for, for one output folder; a killed gate's is replaced."""
    key = hashlib.sha256(f"{side.spec}\0{output.resolve()}".encode()).hexdigest()[:8]
    folder = folder_of(f"gate-{name}-{key}")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        plugins = make(folder.name, Specs((side.spec,)), None, run)
        yield _Environment(python_in(folder), backends_of(plugins))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _markdown(asked: Gate, comparison: Comparison | None, tripped: list[str]) -> str:
    """Return a summary with a table: both sides with their speed, the ratio with its interval, parity, the verdict."""
    head = "**Gate tripped**" if tripped else "**Gate passed**"
    lines = [f"### decodebench: {head}", ""]
    if comparison is not None:
        metric = METRICS[comparison.metric]
        lines += [f"| | {metric.label} ({metric.unit}) | ratio | 95 % interval | verdict | outputs | rounds |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
        for side, row in zip((asked.base, asked.new), comparison.rows, strict=False):
            value, ratio = row.metrics.get(comparison.metric), row.ratio_simultaneous
            speed = "n/a" if value is None or value.value is None else by_unit(value.value, metric.unit)
            interval = "" if ratio.low is None or ratio.high is None else f"{ratio.low:.3f}-{ratio.high:.3f}"
            shown = "" if row.verdict == "baseline" or ratio.value is None else f"{ratio.value:.3f}"
            cells = (_cell(side.text), speed, shown, interval, row.verdict, row.parity.verdict, str(row.rounds))
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", "Above 1 the new one is better. Both ran in turn, batch by batch, on one machine."]
    return "\n".join([*lines, *(f"* {_cell(line)}" for line in tripped), ""])


def _cell(text: str) -> str:
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", " ".join(text.split()))
