"""``prepare`` and ``cache``: prepared models, made ahead of time, listed and pruned."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import click

from ..cache import ModelCache
from .output import CONTEXT, json_option, print_json, print_table


@click.command(context_settings=CONTEXT)
@click.argument("model")
@click.option("-b", "--backend", required=True, metavar="NAME", help="Backend to prepare it for.")
@click.option("-q", "--quantisation", "quantisations", multiple=True, metavar="NAME", help="Weight format; repeatable.")
@click.option("-d", "--device", default="cpu", metavar="NAME", help="Device.")
@json_option
def prepare(model: str, backend: str, quantisations: tuple[str, ...], device: str, as_json: bool) -> None:
    """Convert and quantise MODEL for a backend, into the cache."""
    from ..api.backends import prepare as prepare_model

    done = prepare_model(model, backend, quantisations, device)
    if as_json:
        print_json(done)
        return
    rows = [
        [entry["quantisation"], f"{entry['prepare_s']:.1f} s", entry["path"], "; ".join(entry["notes"])]
        for entry in done
    ]
    print_table(["quantisation", "took", "path", "notes"], rows, empty="nothing to prepare")


@click.command(context_settings=CONTEXT)
@click.option("--prune", is_flag=True, help="Delete every prepared model.")
@json_option
def cache(prune: bool, as_json: bool) -> None:
    """List or prune prepared models."""
    root = ModelCache().root
    entries = sorted(path for path in root.glob("*") if path.is_dir()) if root.is_dir() else []
    sizes = {path: _size(path) for path in entries}
    found = [{"path": str(path), "bytes": size, "made": _made(path)} for path, size in sizes.items()]
    if prune:
        for path in entries:
            shutil.rmtree(path)
    if as_json:
        print_json({"pruned" if prune else "entries": found})
        return
    rows = [
        [f"{size / 2**20:.1f} MiB", entry["made"], path]
        for (path, size), entry in zip(sizes.items(), found, strict=True)
    ]
    print_table(["size", "made", "path"], rows, empty=f"the cache {root} is empty")
    if prune:
        click.echo(f"deleted {len(found)} entries")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _made(folder: Path) -> str:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
