"""Two versions of a backend's plugin, engine or decodebench, measured in turn here: whether the new one is slower."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ...collate.comparison.gates import Gates
from ...viz.drawing.numbers import by_unit
from ..contract.hookspecs import PROJECT
from ..errors import UsageError, unknown_name
from ..host.registry import Registry
from ..isolation.installers import Command, Specs
from ..isolation.plugins import backend_of
from ..isolation.virtual_environments import backends_of, folder_of, make, make_of_host, python_in
from ..measure.machine.waiting import WhenBusy
from ..measure.plan import build
from ..records.metrics import METRICS
from .comparison import Comparison
from .experiment import Experiment, Reporter, measurement
from .plan_content import merge_settings

BASE, NEW = "base", "new"
_BARE = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")  # a revision, or a name without a version


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        text: what the user called it.
        spec: what is installed for it, as pip takes it.
        is_host: whether that is decodebench itself, which then shares the other packages of this environment.
    """

    text: str
    spec: str
    is_host: bool = False


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

    Raises:
        UsageError: a bare name that is no revision, no folder and not installed: pip would run whatever the package
            index has under a mistyped revision.
    """
    found = _git(repository, "rev-parse", "--show-toplevel", "--verify", "--end-of-options", f"{text}^{{commit}}")
    top, _, commit = (found or "").rstrip("\n").rpartition("\n")
    if not top or not re.fullmatch("[0-9a-f]{40,64}", commit):
        if _BARE.fullmatch(text) and not Path(text).exists() and not _is_installed(text):
            raise UsageError(
                f"{text!r} is not a revision of {repository}, a folder or an installed package; for a package of the "
                f"index give its version too, such as {text}==1.2",
                code="unknown-name",
                kind="revision",
                name=text,
                nearest=None,
            )
        return Side(text, text, is_host=_is_host(text))
    project = _git(repository, "show", f"{commit}:pyproject.toml") or ""
    spec = f"git+{Path(top).as_uri()}@{commit}"
    return Side(f"{text} ({commit[:10]})", spec, is_host=_name_in(project) == PROJECT)


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _git(repository: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(repository), *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout if ended.returncode == 0 else None


def _is_host(spec: str) -> bool:
    """Say whether a requirement, or a folder, is decodebench itself."""
    try:
        project = Path(spec, "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return re.match(rf"(?:.*/)?{PROJECT}(?:$|[\[=<>!~@; ]|-[^/]*\.whl$)", spec) is not None
    return _name_in(project) == PROJECT


def _name_in(project: str) -> str | None:
    """Return the name that a pyproject.toml gives; None where it gives none."""
    try:
        name = tomllib.loads(project).get("project", {}).get("name")
    except (tomllib.TOMLDecodeError, AttributeError):
        return None
    return name if isinstance(name, str) else None


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
    with _environment(BASE, asked, output, run) as old, _environment(NEW, asked, output, run) as new:
        sources = [backend_of(python, backend, f"{name}:{backend}") for python, name in ((old, BASE), (new, NEW))]
        own = {name: settings[name] for name in ("options", "quantisation", "device") if name in settings}
        content: dict[str, Any] = {"cells": [{"backend": f"{name}:{backend}", **own} for name in (BASE, NEW)]}
        rest = {name: value for name, value in settings.items() if name not in own}
        registry = Registry(remote=lambda: sources)
        sides = [registry.backend(cell["backend"]) for cell in content["cells"]]
        can_rest = all(side.residence == "in-process" for side in sides)  # a server cannot be stopped between samples
        turns = {"interleave": "samples"} if can_rest else {}
        merge_settings(content, {"name": f"gate-{backend}", **turns, **rest}, {}, "gate")
        found = measurement(build(content, "gate"), registry=registry)
        if len(found.matrix.cells) != 2:
            raise UsageError(
                f"a gate compares one cell per side, and there are {len(found.matrix.cells)}: give one value each",
                code="one-cell-needed",
            )
        found = replace(found, baseline=found.matrix.cells[0].id)
        experiment = found.run(output, fresh=True, when_busy=when_busy, progress=progress)
    tripped = (
        ["nothing could be compared"] if experiment.comparison is None else asked.gates.tripped(experiment.comparison)
    )
    tripped += [f"{one.cell}, round {one.round + 1}: {one.status}" for one in experiment.report.failed]
    return Verdict(experiment, tripped, _markdown(asked, experiment.comparison, tripped))


@contextmanager
def _environment(name: str, asked: Gate, output: Path, run: Callable[[Command], int]) -> Iterator[Path]:
    """Give the interpreter of an environment with what a side asks for, for one output folder.

    That of a gate that was killed is replaced.
    """
    side = asked.base if name == BASE else asked.new
    key = hashlib.sha256(f"{side.spec}\0{output.resolve()}".encode()).hexdigest()[:8]
    folder = folder_of(f"gate-{name}-{key}")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if side.is_host:
            make_of_host(folder.name, side.spec, run)
        else:
            found = backends_of(make(folder.name, Specs((side.spec,)), None, run))
            if asked.backend not in found:
                raise unknown_name(f"backend of {side.text}", asked.backend, found)
        yield python_in(folder)
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
        sides = {f"{BASE}:{asked.backend}": asked.base, f"{NEW}:{asked.backend}": asked.new}
        for row in comparison.rows:
            side = sides[row.cell.backend]
            value, ratio = row.metrics.get(comparison.metric), row.ratio_simultaneous
            speed = "n/a" if value is None or value.value is None else by_unit(value.value, metric.unit)
            interval = "" if ratio.low is None or ratio.high is None else f"{ratio.low:.3f}-{ratio.high:.3f}"
            shown = "" if row.verdict == "baseline" or ratio.value is None else f"{ratio.value:.3f}"
            rounds = f"{row.rounds}, {row.failed} failed" if row.failed else str(row.rounds)
            cells = (_cell(side.text), speed, shown, interval, row.verdict, row.parity.verdict, rounds)
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", "Above 1 the new one is better. Both ran in turn, batch by batch, on one machine."]
    return "\n".join([*lines, *(f"* {_cell(line)}" for line in tripped), ""])


def _cell(text: str) -> str:
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", " ".join(text.split()))
