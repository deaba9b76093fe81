"""What a node must have for a worker, as custom resources of Ray, and the hosts of a cluster that have it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ...core.contract.launcher import Need, Place

Resources = Mapping[str, float]

PREFIX = "decodebench:"
_SHARE = 0.001  # of what any number of workers may use at once; the smallest that Ray counts is 0.0001


def device_resource(device: str) -> str:
    """Return the resource of a device: a node has one of it, and a worker takes it whole.

    ``cuda`` and ``cuda:0`` are one device.
    """
    return PREFIX + device.removesuffix(":0")


def needed(need: Need) -> dict[str, float]:
    """Return the resources that a worker takes."""
    return {device_resource(need.device): 1, PREFIX + need.backend: _SHARE}


def on_host(resources: Resources, address: str) -> dict[str, float]:
    """Add that they must be those of one host: Ray gives each node a resource with its address."""
    return {**resources, f"node:{address}": _SHARE}


def places_of(needs: Collection[Need], node: Mapping[str, Any], host: str | None = None) -> list[Place]:
    """Return the places of a node that is alive: those devices of it that workers need.

    Args:
        needs: of the workers.
        node: as ``ray.nodes()`` returns it.
        host: address of the only host that may be used; None: any.
    """
    address = node["NodeManagerAddress"]
    if not node["Alive"] or host not in (None, address):
        return []
    has = {name for name, amount in node["Resources"].items() if amount > 0}
    devices = {need.device.removesuffix(":0") for need in needs if device_resource(need.device) in has}
    backends = frozenset(need.backend for need in needs if PREFIX + need.backend in has)
    return [Place(node["NodeID"], address, device, backends) for device in sorted(devices)]


def missing(resources: Resources, nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what the node of a cluster lacks that lacks least, whatever it is busy with; all where there is no node.

    Args:
        resources: that one node must have.
        nodes: as ``ray.nodes()`` returns them.
    """
    lacks = [
        [name for name, amount in resources.items() if node["Resources"].get(name, 0) < amount]
        for node in nodes
        if node["Alive"]
    ]
    return min(lacks, key=len, default=list(resources))


def best_host(needs: Collection[Need], nodes: Collection[Mapping[str, Any]]) -> str | None:
    """Return the address of the host that can run most; the first by its address among equals; None if none can any."""
    counts = {
        address: sum(not missing(on_host(needed(need), address), nodes) for need in needs)
        for address in sorted({node["NodeManagerAddress"] for node in nodes if node["Alive"]})
    }
    best = max(counts, key=counts.__getitem__, default=None)
    return best if best is not None and counts[best] else None
