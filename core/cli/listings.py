"""``backends``, ``quantisations``, ``models``, ``tasks``, ``schema``: what there is, or how to get it."""

from __future__ import annotations

from typing import Any

import click

from ..api.inventory import listings
from ..files import size_text
from .output import CONTEXT, echo, json_option, print_json, print_table


@click.command(context_settings=CONTEXT)
@click.option(
    "--devices", "with_devices", is_flag=True, help="Also list the devices that each engine sees; imports the engines."
)
@json_option
def backends(with_devices: bool, as_json: bool) -> None:
    """List backends, and how to install those that are missing."""
    found = listings.backends(with_devices=with_devices)
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
    for line in listings.skipped():
        echo(line, err=True)


def _status(entry: dict[str, Any]) -> str:
    if entry["available"]:
        return "available"
    return f"missing: {entry['reason']}" + (f"\n{entry['fix']}" if entry["fix"] else "")


@click.command(context_settings=CONTEXT)
@click.option("-b", "--backend", "names", multiple=True, metavar="NAME", help="Only this backend; repeatable.")
@json_option
def quantisations(names: tuple[str, ...], as_json: bool) -> None:
    """List every backend's weight formats, widest first.

    One name can mean different formats in two engines: compare formats by their bits per weight, which include scales.
    """
    found = listings.quantisations(names)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            "n/a" if one["bits_per_weight"] is None else f"{one['bits_per_weight']:.2f}",
            *(one[key] for key in ("quantisation", "backend", "summary")),
        ]
        for one in found
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
    found = listings.models()
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
    bits = "" if found.bits_per_weight is None else f" ({found.bits_per_weight:.2f} bits per weight)"
    stored = "" if found.stored_format is None else f", {found.stored_format}{bits}"
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
    found = listings.tasks()
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
