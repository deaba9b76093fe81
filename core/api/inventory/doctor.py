"""What this machine has, what is missing and the command that gets it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pydantic import Field

from ...cache import default_root
from ...files import size_text
from ...host.availability import availability
from ...measure.machine.condition import look
from ...measure.machine.environment import capture
from ...records.schema import Record
from ..plugins import installed_plugins


class Check(Record):
    """One line of the doctor's answer."""

    what: str = Field(description="what was looked at")
    is_good: bool = Field(description="whether nothing needs to be done")
    found: str = Field(description="what is there")
    fix: str | None = Field(None, description="the command or step that mends it")


def examine() -> list[Check]:
    """Look at the machine, its tools and every plugin; takes a second."""
    return [*_machine(), *_tools(), *_plugins()]


def _machine() -> list[Check]:
    condition = look(())
    environment = capture(anonymise=False, is_quiet=not condition.passing)
    cache = default_root()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    fastest = max(environment.memory_bandwidth.values(), default=0.0)
    largest = max(environment.memory_bandwidth, key=int, default=None)
    slowest = environment.memory_bandwidth[largest] if largest else 0.0
    is_governed = environment.governor not in (None, "performance")
    return [
        Check(what="Python", is_good=sys.version_info >= (3, 11), found=environment.python or ""),
        Check(
            what="processor",
            is_good=True,
            found=f"{environment.cpu_model}, {environment.cores_used} cores usable, {environment.platform} "
            f"{environment.machine}",
        ),
        Check(what="memory", is_good=True, found=size_text(environment.memory_bytes or 0)),
        Check(
            what="memory bandwidth (reading, best number of threads)",
            is_good=environment.rates_are_quiet is not False,
            found=f"{slowest / 1e9:.0f} GB/s from DRAM, {fastest / 1e9:.0f} GB/s from cache"
            + ("" if environment.rates_are_quiet else ", measured beside other work"),
            fix=None if environment.rates_are_quiet else "run `decodebench doctor` again on an idle machine",
        ),
        Check(what="GPU", is_good=True, found=", ".join(environment.gpu) or "none seen"),
        Check(
            what="frequency governor",
            is_good=not is_governed,
            found=environment.governor or "not readable",
            fix="cpupower frequency-set -g performance" if is_governed else None,
        ),
        Check(
            what="load of the machine",
            is_good=not condition.passing,
            found="; ".join(condition.passing) or f"idle, {environment.load_average} over the last minute",
            fix="stop other work before measuring, or run with --wait-idle" if condition.passing else None,
        ),
        Check(what="cache of prepared models", is_good=free > 2**30, found=f"{cache}, {size_text(free)} free"),
    ]


def _tools() -> list[Check]:
    checks = []
    for tool, purpose in (("c++", "engines that build from source or compile need it"), ("git", "records commits")):
        path = shutil.which(tool)
        fix = None if path else f"install {tool} with the system's package manager"
        checks.append(Check(what=tool, is_good=path is not None, found=path or f"missing ({purpose})", fix=fix))
    return checks


def _plugins() -> list[Check]:
    registry = installed_plugins()
    checks = [
        Check(what=f"plugin {plugin.name}", is_good=False, found=f"{plugin.status}: {plugin.reason}")
        for plugin in registry.plugins
        if plugin.status != "ok"
    ]
    for backend in registry.backends.values():
        available = availability(backend)
        version = "available" if available.version is None else f"version {available.version}"
        found = version if available.available else f"missing: {available.reason}"
        checks.append(
            Check(what=f"backend {backend.name}", is_good=available.available, found=found, fix=available.fix)
        )
    home = Path.home()
    if not home.is_dir():
        checks.append(Check(what="home folder", is_good=False, found=f"{home} does not exist", fix="set HOME"))
    return checks
