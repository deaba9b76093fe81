"""``backends``, ``quantisations``, ``models``, ``tasks``, ``schema``: what there is, or how to get it."""

from __future__ import annotations

from typing import Any

import click

from ..api.plugins import installed_plugins
from ..contract.backend import Backend
from ..files import size_text
from ..host.availability import availability
from ..host.registry import Registry
from ..measure.job import DevicesJob
from .output import CONTEXT, echo, json_option, print_json, print_table

_PROBE_TIMEOUT_S = 120.0


@click.command(context_settings=CONTEXT)
@click.option(
    "--devices", "with_devices", is_flag=True, help="Also list the devices that each engine sees; imports the engines."
)
@json_option
def backends(with_devices: bool, as_json: bool) -> None:
    """List backends, and how to install those that are missing."""
    registry = installed_plugins()
    found = [_describe(registry, backend, with_devices) for backend in registry.backends.values()]
    if as_json:
        print_json(found)
        return
    columns = ["backend", "kind", "version", "quantisations", "status"] + (["devices"] if with_devices else [])
    rows = [
        [entry["name"], entry["kind"], entry["version"], " ".join(entry["quantisations"]), _status(entry)]
        + ([" ".join(entry["devices"])] if with_devices else [])
        for entry in found
    ]
    print_table(columns, rows, empty="no backend: no plugin provides one")
    _warn_of_skipped(registry)


def _describe(registry: Registry, backend: type[Backend], with_devices: bool) -> dict[str, Any]:
    available = availability(backend)
    provider = registry.provider("decodebench_backends", backend.name)
    devices: list[str] = []
    if with_devices and available.available:
        from ..isolation.processes.messages import Devices
        from ..measure.launcher import request

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


def _status(entry: dict[str, Any]) -> str:
    if entry["available"]:
        return "available"
    return f"missing: {entry['reason']}" + (f"\n{entry['fix']}" if entry["fix"] else "")


def _warn_of_skipped(registry: Registry) -> None:
    for plugin in registry.plugins:
        if plugin.status == "failed":
            echo(f"plugin {plugin.name!r} failed to load: {plugin.reason}", err=True)
        for clash in plugin.clashes:
            echo(f"plugin {plugin.name!r}: {clash}", err=True)


@click.command(context_settings=CONTEXT)
@click.option("-b", "--backend", "names", multiple=True, metavar="NAME", help="Only this backend; repeatable.")
@json_option
def quantisations(names: tuple[str, ...], as_json: bool) -> None:
    """List every backend's weight formats, widest first.

    One name can mean different formats in two engines: compare formats by their bits per weight, which include scales.
    """
    registry = installed_plugins()
    chosen = [registry.backend(name) for name in names] or list(registry.backends.values())
    formats = [(quantisation, backend) for backend in chosen for quantisation in backend.quantisations()]
    formats.sort(key=lambda pair: (-(pair[0].bits_per_weight or 0), pair[1].name, pair[0].name))
    found = [
        {
            "bits_per_weight": quantisation.bits_per_weight,
            "quantisation": quantisation.name,
            "backend": backend.name,
            "summary": quantisation.summary,
        }
        for quantisation, backend in formats
    ]
    if as_json:
        print_json(found)
        return
    rows = [
        ["n/a" if q.bits_per_weight is None else f"{q.bits_per_weight:.2f}", q.name, backend.name, q.summary]
        for q, backend in formats
    ]
    print_table(["bits/weight", "format", "backend", "what is quantised"], rows, empty="no backend offers any")


@click.command(context_settings=CONTEXT)
@click.option(
    "--check",
    "checked",
    metavar="MODEL",
    help="Show which backends can open MODEL (a name, path or Hub id), in which formats, and why not.",
)
@json_option
def models(checked: str | None, as_json: bool) -> None:
    """List named models, or show which backends can open a model.

    --check reads the model's config and converts nothing.
    """
    if checked is not None:
        _check_model(checked, as_json)
        return
    registry = installed_plugins()
    found = [
        {
            "name": source.name,
            "summary": source.summary,
            "companions": dict(source.companions),
            "plugin": registry.provider("decodebench_models", source.name).name,
        }
        for source in registry.models.values()
    ]
    if as_json:
        print_json(found)
        return
    rows = [[entry["name"], entry["summary"], entry["plugin"]] for entry in found]
    print_table(["model", "what it is", "plugin"], rows, empty="no named model; paths and Hub ids need none")


def _check_model(name: str, as_json: bool) -> None:
    from ..api.model_check import check_model

    found = check_model(name)
    if as_json:
        print_json(found.content())
        return
    stored = (
        "" if found.stored_format is None else f", {found.stored_format} ({found.bits_per_weight:.2f} bits per weight)"
    )
    echo(f"{found.model}: {found.container}, {found.architecture}{stored}, {size_text(found.weight_bytes)}")
    for note in found.notes:
        echo(note)
    rows = [
        [
            each.backend,
            each.opens,
            " ".join(each.formats),
            "" if each.disk_bytes is None else size_text(each.disk_bytes),
            each.reason,
        ]
        for each in found.backends
    ]
    print_table(["backend", "opens", "formats, default first", "disk", "why not"], rows, empty="no backend")


@click.command(context_settings=CONTEXT)
@json_option
def tasks(as_json: bool) -> None:
    """List tasks."""
    registry = installed_plugins()
    found = [
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
    if as_json:
        print_json(found)
        return
    shown = ("name", "version", "summary", "metric", "plugin")
    rows = [[entry[key] for key in shown] for entry in found]
    print_table(["task", "version", "what it is", "metric", "plugin"], rows, empty="no task: no plugin provides one")


@click.command(context_settings=CONTEXT)
def schema() -> None:
    """Print the JSON Schema of the records."""
    from ...collate.comparison.result import Comparison
    from ...collate.parity.matrix import ParityMatrix
    from ..conformance.kit import ConformanceReport
    from ..host.registry import PluginRecord
    from ..records.schema import json_schemas

    shapes = (Comparison, ParityMatrix, PluginRecord, ConformanceReport)
    extra = {model.__name__: model.model_json_schema() for model in shapes}
    print_json(json_schemas() | extra)
