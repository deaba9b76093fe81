"""``decodebench ray-resources``: what the engines of this machine see, as ``ray start --resources`` takes it."""

from __future__ import annotations

import json
import subprocess
import sys

import click

from ... import BackendError
from .needs import PREFIX, device_resource

_LISTING = [sys.executable, "-m", "decodebench", "backends", "--devices", "--json"]


@click.command()
def ray_resources() -> None:
    """Print this machine's devices and engines for `ray start --resources`.

    Each engine is imported in a process of its own to list its devices.
    """
    listed = subprocess.run(_LISTING, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise BackendError(f"the engines cannot be listed: {listed.stderr.strip()}")
    engines = [entry for entry in json.loads(listed.stdout) if entry["available"]]
    devices = {"cpu"} | {device for engine in engines for device in engine["devices"]}
    names = sorted(map(device_resource, devices)) + sorted(PREFIX + engine["name"] for engine in engines)
    click.echo(json.dumps(dict.fromkeys(names, 1)))
