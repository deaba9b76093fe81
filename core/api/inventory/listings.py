"""What plugins provide: backends, weight formats, named models and tasks, as plain records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...contract.backend import Backend
from ...host.availability import availability
from ...host.registry import Registry
from ...measure.job import DevicesJob
from ..plugins import installed_plugins

_PROBE_TIMEOUT_S = 120.0


def backends(*, with_devices: bool = False) -> list[dict[str, Any]]:
    """Return what is known of every backend, and how to install those that are missing.

    Args:
        with_devices: also ask each engine for the devices that it sees, in a process of its own.
    """
    registry = installed_plugins()
    return [_describe(registry, backend, with_devices) for backend in registry.backends.values()]


def _describe(registry: Registry, backend: type[Backend], with_devices: bool) -> dict[str, Any]:
    available = availability(backend)
    provider = registry.provider("decodebench_backends", backend.name)
    devices: list[str] = []
    if with_devices and available.available:
        from ...isolation.processes.messages import Devices
        from ...measure.launcher import request

        job = DevicesJob(**registry.place(backend.name), backend=backend.name)
        devices = list(request(job, Devices, _PROBE_TIMEOUT_S).devices)
    return {
        "name": backend.name,
        "summary": backend.summary,
        "kind": backend.kind,
        "available": available.available,
        "version": available.version,
        "reason": available.reason,
        "fix": available.fix,
        "plugin": provider.name,
        "distribution": provider.distribution,
        "supports": sorted(backend.supports),
        "max_batch_size": backend.max_batch_size,
        "quantisations": [quantisation.name for quantisation in backend.quantisations()],
        "options": {name: field.description for name, field in backend.Options.model_fields.items()},
        "devices": devices,
    }


def quantisations(names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the weight formats of backends, widest first.

    Args:
        names: of backends; none: all.

    Raises:
        UsageError: there is no backend of that name.
    """
    registry = installed_plugins()
    chosen = [registry.backend(name) for name in names] or list(registry.backends.values())
    formats = [(quantisation, backend) for backend in chosen for quantisation in backend.quantisations()]
    formats.sort(key=lambda pair: (-(pair[0].bits_per_weight or 0), pair[1].name, pair[0].name))
    return [
        {
            "bits_per_weight": quantisation.bits_per_weight,
            "quantisation": quantisation.name,
            "backend": backend.name,
            "summary": quantisation.summary,
        }
        for quantisation, backend in formats
    ]


def models() -> list[dict[str, Any]]:
    """Return the named models."""
    registry = installed_plugins()
    return [
        {
            "name": source.name,
            "summary": source.summary,
            "companions": dict(source.companions),
            "plugin": registry.provider("decodebench_models", source.name).name,
        }
        for source in registry.models.values()
    ]


def tasks() -> list[dict[str, Any]]:
    """Return the tasks."""
    registry = installed_plugins()
    return [
        {
            "name": f"{task.name}:{task.argument}" if task.argument else task.name,
            "version": task.version,
            "summary": task.summary,
            "metric": task.metric or "none: speed only",
            "template": task.template,
            "extraction": task.extraction,
            "source": task.source,
            "executes_code": task.executes_code,
            "plugin": registry.provider("decodebench_tasks", task.name).name,
        }
        for task in registry.tasks.values()
    ]


def finding_checks() -> list[dict[str, Any]]:
    """Return the checks of ``findings``, the host's own first."""
    from ....collate.findings import own_checks

    registry = installed_plugins()
    checks = [check.model_dump() for check in own_checks()]
    for check in registry.findings.values():
        provider = registry.provider("decodebench_findings", check.name).name
        checks.append({"check": check.name, "summary": check.summary, "provider": provider})
    return checks


def skipped() -> list[str]:
    """Return a line for each plugin that failed to load, and for each name that two plugins gave."""
    lines = []
    for plugin in installed_plugins().plugins:
        if plugin.status == "failed":
            lines.append(f"plugin {plugin.name!r} failed to load: {plugin.reason}")
        lines += (f"plugin {plugin.name!r}: {clash}" for clash in plugin.clashes)
    return lines
