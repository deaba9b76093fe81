"""``prepare`` and ``cache``: prepared models, made ahead of time, listed and pruned."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from ..cache import Entry, default_root
from ..files import size_text
from ..sdk.sizes import Size
from .guidance.completion import complete
from .guidance.sections import examples
from .output import CONTEXT, announce, echo, json_option, print_json, print_table


@click.command(
    context_settings=CONTEXT,
    epilog=examples("decodebench prepare tiny:target -b llama-cpp -q q8_0 -q q4_k_m"),
)
@click.argument("model", shell_complete=complete("models"), help="Named model, path or Hub id.")
@click.option(
    "-b",
    "--backend",
    required=True,
    metavar="NAME",
    shell_complete=complete("backends"),
    help="Backend to prepare the model for.",
)
@click.option(
    "-q",
    "--quantisation",
    "quantisations",
    multiple=True,
    metavar="NAME",
    shell_complete=complete("quantisations"),
    help="Weight format; repeatable.  [default: the backend's first]",
)
@click.option(
    "-d",
    "--device",
    default="cpu",
    metavar="NAME",
    shell_complete=complete("devices"),
    help="Device to prepare the model for.",
)
@json_option
def prepare(model: str, backend: str, quantisations: tuple[str, ...], device: str, as_json: bool) -> None:
    """Convert and quantise MODEL for a backend, into the cache."""
    from ..api.backends import prepare as prepare_model

    done = prepare_model(model, backend, quantisations, device)
    if as_json:
        print_json(done)
        return
    for entry in done:
        for notice in entry["notices"]:
            announce(notice)
    rows = [
        [entry["quantisation"], _bits(entry), f"{entry['prepare_s']:.1f} s", entry["path"], "; ".join(entry["notes"])]
        for entry in done
    ]
    print_table(["quantisation", "bits/weight", "took", "path", "notes"], rows, empty="nothing to prepare")


def _bits(entry: Mapping[str, Any]) -> str:
    """Return the measured bits per weight; they are unknown where the engine packs the weights when it loads them."""
    return "" if entry["bits_per_weight"] is None else f"{entry['bits_per_weight']:.2f}"


@click.command(
    context_settings=CONTEXT,
    epilog=examples(
        "decodebench cache", "decodebench cache --prune --older-than 30", "decodebench cache --prune --keep 20GB"
    ),
)
@click.option("--prune", is_flag=True, help="Delete the listed models.")
@click.option("--name", metavar="PATTERN", help="Only models whose name matches, e.g. 'gguf-*-q8_0*'.")
@click.option("--older-than", type=click.FloatRange(0), metavar="DAYS", help="Only models not used for this many days.")
@click.option(
    "--keep",
    type=Size(),
    metavar="SIZE",
    help="Spare the most recently used of them, up to this total size, e.g. 20GB.",
)
@json_option
def cache(prune: bool, name: str | None, older_than: float | None, keep: int | None, as_json: bool) -> None:
    """List prepared models with their sizes and ages, or delete them."""
    from ..api.inventory.prepared import prepared_models
    from ..api.inventory.prepared import prune as delete

    root = default_root()
    chosen = prepared_models(name=name, older_than_days=older_than, beyond_bytes=keep)
    if prune:
        delete(chosen)
    if as_json:
        print_json({"pruned" if prune else "entries": [_as_json(entry) for entry in chosen]})
        return
    now = time.time()
    rows = [
        [size_text(entry.size_bytes), _age(now - entry.made), _age(now - entry.used), entry.path.name]
        for entry in chosen
    ]
    print_table(["size", "made", "used", "name"], rows, empty=f"no such entries in the cache {root}")
    together = size_text(sum(entry.size_bytes for entry in chosen))
    total = f"{len(chosen)} {'entry' if len(chosen) == 1 else 'entries'}, {together}"
    echo(f"deleted {total}" if prune else f"{total} in {root}")


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.path.name,
        "path": str(entry.path),
        "bytes": entry.size_bytes,
        "made": _time(entry.made),
        "used": _time(entry.used),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _age(seconds: float) -> str:
    hours = max(seconds, 0.0) / 3600
    if hours < 1:
        return f"{hours * 60:.0f} min ago"
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} d ago"
