"""What a round ran on: machine, system, package versions, load; and how fast the machine is at best."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ...host.provenance import packages
from ...records.schema import Environment
from ...sdk.cores import cores
from .bandwidth import machine_rates
from .condition import governor, on_battery, temperature_c

_FLAGS_THAT_MATTER = re.compile(r"avx|amx|f16c|fma|sse4_2|neon|asimd|sve|i8mm|bf16|dotprod|vnni|hypervisor")


def capture(*, anonymise: bool, with_bandwidth: bool = True, is_quiet: bool = False) -> Environment:
    """Describe this machine.

    Args:
        anonymise: put hashes in place of host and user name.
        with_bandwidth: include memory bandwidth and matrix rate, measured (under two seconds) the first time on a host.
        is_quiet: whether others leave the machine alone now: what was measured beside other work is measured again.
    """
    host, user = platform.node(), _user()
    rates: dict[str, Any] = {}
    if with_bandwidth:
        rates = machine_rates(hide(host + str(_cpu_model())), cores(), is_quiet=is_quiet).model_dump()
    gpus, driver = _gpus()
    return Environment(
        hostname=hide(host) if anonymise else host,
        username=hide(user) if anonymise else user,
        platform=platform.system(),
        release=platform.release(),
        machine=platform.machine(),
        cpu_model=_cpu_model(),
        cpu_flags=_cpu_flags(),
        cores_used=cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=gpus,
        gpu_driver=driver,
        python=platform.python_version(),
        packages=packages(),
        git_commit=_git_commit(),
        **as_it_is_now(),
        **rates,
    )


def anonymised(environment: Environment) -> Environment:
    """Put hashes in place of host and user name."""
    names = {name: getattr(environment, name) for name in ("hostname", "username")}
    return environment.model_copy(update={name: value and hide(value) for name, value in names.items()})


def as_it_is_now() -> dict[str, Any]:
    """Return the fields of ``Environment`` that may change from round to round; reading them takes milliseconds."""
    return {
        "governor": governor(),
        "load_average": round(os.getloadavg()[0], 2),
        "on_battery": on_battery(),
        "cpu_temperature_c": temperature_c(),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def hide(name: str) -> str:
    """Return the hash that takes the place of a host's or user's name."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _cpu_model() -> str | None:
    found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return found.group(1) if found else platform.processor() or None


def _cpu_flags() -> tuple[str, ...]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return tuple(flag for flag in found.group(1).split() if _FLAGS_THAT_MATTER.search(flag)) if found else ()


def _gpus() -> tuple[tuple[str, ...], str | None]:
    if shutil.which("nvidia-smi") is None:
        return (), None
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (), None
    rows = [line.rsplit(",", 1) for line in answer.strip().splitlines()]
    return tuple(row[0].strip() for row in rows), rows[0][1].strip() if rows and len(rows[0]) == 2 else None


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
