"""Machines that differ between what is compared, or that were busy or throttled."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...core.contract.finding import Doubt, Place
from ...core.records.metrics import METRICS
from ..comparison.observations import Cell
from .subject import Subject, grouped, rounds_of

_SLOW_CLOCK = 0.9  # of the median round's


def shared_devices(subject: Subject) -> Iterator[Doubt]:
    """Rounds on a GPU that another process was using."""
    for cell in subject.cells:
        busy = [r.run for r in cell.rounds if r.run["device_other_processes"]]
        if busy:
            most = max(run["device_other_processes"] for run in busy)
            yield Doubt(
                f"{len(busy)} of {len(cell.rounds)} rounds of {subject.name(cell)} shared {cell.run['device']} with "
                f"up to {most} other processes",
                "measure again on a free device",
                [Place(run_id=run["run_id"]) for run in busy],
            )


def throttled_devices(subject: Subject) -> Iterator[Doubt]:
    """Rounds whose GPU ran at a lower clock than in the cell's other rounds."""
    for cell in subject.cells:
        runs = [r.run for r in cell.rounds if r.run["device_clock_hz"]]
        middle = float(np.median([run["device_clock_hz"] for run in runs])) if runs else 0.0
        slow = [run for run in runs if run["device_clock_hz"] < _SLOW_CLOCK * middle]
        if slow:
            lowest = min(run["device_clock_hz"] for run in slow)
            yield Doubt(
                f"{len(slow)} of {len(runs)} rounds of {subject.name(cell)} ran at a lower clock: "
                f"{lowest / 1e6:.0f} MHz, median {middle / 1e6:.0f} MHz",
                "the device throttled, or another job held it down; fix the clock or let it cool",
                [Place(run_id=run["run_id"]) for run in slow],
            )


def saving_governors(subject: Subject) -> Iterator[Doubt]:
    """Cells measured under a governor that saves power."""
    saving = [cell for cell in subject.finished if (cell.run["environment"] or {}).get("governor") == "powersave"]
    if saving:
        yield Doubt(
            f"{len(saving)} cells were measured under the CPU governor 'powersave'",
            "set it to 'performance', so that the clock does not follow the load",
            rounds_of(*saving),
            "note",
        )


def several_hosts(subject: Subject) -> Iterator[Doubt]:
    """Cells of one model that ran on different machines, so that a difference between them may be the machines'."""
    for cells in _by_model(subject):
        counts = Counter(host for cell in cells if (host := _host(cell)) is not None)
        if len(counts) > 1:
            told = ", ".join(f"{host} ({count})" for host, count in sorted(counts.items()))
            yield Doubt(
                f"{sum(counts.values())} cells ran on {len(counts)} hosts: {told}; a difference in speed between them "
                "may be the hosts'",
                "measure on one, or repeat each cell on each",
                rounds_of(*cells),
            )


def several_gpus(subject: Subject) -> Iterator[Doubt]:
    """Cells of one model and device name that ran on different GPUs."""
    for cells in _by_model(subject):
        gpus: dict[str, dict[str, list[Cell]]] = {}
        for cell in cells:
            names = (cell.run["environment"] or {}).get("gpu")
            if names:
                gpus.setdefault(cell.run["device"], {}).setdefault(", ".join(names), []).append(cell)
        for device, found in gpus.items():
            if len(found) > 1:
                told = "; ".join(f"{name} ({len(own)})" for name, own in sorted(found.items()))
                yield Doubt(
                    f"{device} is not one GPU in {sum(map(len, found.values()))} cells: {told}",
                    "compare within one",
                    rounds_of(*(cell for own in found.values() for cell in own)),
                )


def reversed_by_hosts(subject: Subject) -> Iterator[Doubt]:
    """Two backends whose order over all hosts together is the reverse of that on a host which both ran on."""
    show = METRICS[subject.metric].format
    for cells in _by_model(subject):
        figures: dict[str, dict[tuple[str, str], list[Cell]]] = {}
        for cell in cells:
            host = _host(cell)
            if host is not None and cell.values(subject.metric):
                key = host, str(cell.run["quantisation"])
                figures.setdefault(cell.run["backend"], {}).setdefault(key, []).append(cell)
        for a, b in itertools.combinations(sorted(figures), 2):
            common = sorted(figures[a].keys() & figures[b].keys())
            hosts = {host for host, _ in figures[a]} | {host for host, _ in figures[b]}
            for quantisation in sorted({q for _, q in common}):
                pooled = [_mean(subject, [c for (_, q), own in figures[x].items() if q == quantisation for c in own])
                          for x in (a, b)]  # fmt: skip
                for host in [h for h, q in common if q == quantisation]:
                    here = [_mean(subject, figures[x][host, quantisation]) for x in (a, b)]
                    if len(hosts) > 1 and (pooled[0] - pooled[1]) * (here[0] - here[1]) < 0:
                        yield Doubt(
                            f"{a} against {b} at {quantisation}: {subject.metric} {show(pooled[0])} against "
                            f"{show(pooled[1])} over all hosts, but {show(here[0])} against {show(here[1])} on "
                            f"{host}, where both ran",
                            "the hosts make the difference; compare within one",
                            rounds_of(*figures[a][host, quantisation], *figures[b][host, quantisation]),
                            "error",
                        )


def _by_model(subject: Subject) -> list[list[Cell]]:
    return grouped(subject.finished, lambda cell: (cell.run["model"], cell.run["task"]))


def _host(cell: Cell) -> str | None:
    host: str | None = (cell.run["environment"] or {}).get("hostname")
    return host


def _mean(subject: Subject, cells: list[Cell]) -> float:
    return float(np.mean([value for cell in cells for value in cell.values(subject.metric)]))
