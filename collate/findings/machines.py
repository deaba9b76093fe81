"""Machines that differ between what is compared, or that were busy or throttled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...core.contract.finding import Doubt, Place
from ...core.errors import plural
from ...core.records.metrics import SPEEDS
from ...core.sdk.logs.runs import UNKNOWN
from ..comparison.observations import Cell, Row
from ..statistics.noise import variation
from .subject import NOTABLE, Subject, by_model, rounds_of, was_busy

_SLOW_CLOCK = 0.9  # of the median round's
_BEYOND = 1.05  # both are measured


def busy_machine(subject: Subject) -> Iterator[Doubt]:
    """Rounds during which other work kept the machine busy; reports scatter and drift once for all cells."""
    runs = [r.run for cell in subject.finished for r in cell.rounds]
    busy = [run for run in runs if was_busy(run)]
    if not busy:
        return
    worst = max(busy, key=lambda run: run["other_cpus"])
    text = f"the machine was busy in {len(busy)} of {len(runs)} rounds: other processes used {worst['other_cpus']:.1f} "
    text += f"CPUs at most, and we may use {worst['environment']['cores_used']} cores"
    spreads = [
        spread
        for cell in subject.finished
        if any(was_busy(r.run) for r in cell.rounds)
        and (spread := variation(cell.values(subject.metric))) is not None
        and spread > NOTABLE
    ]
    if spreads:
        text += (
            f"; {subject.metric} has a CV of {100 * max(spreads):.0f} % at most, of more than {100 * NOTABLE:.0f} % in "
        )
        text += "1 cell" if len(spreads) == 1 else f"{len(spreads)} cells"
    places = [Place(run_id=run["run_id"]) for run in busy]
    yield Doubt(text, "measure again on a quiet machine, such as with --wait-idle", places)


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
    """Cells measured under a power-saving CPU governor."""
    saving = [cell for cell in subject.finished if (cell.run["environment"] or {}).get("governor") == "powersave"]
    if saving:
        yield Doubt(
            f"{plural(len(saving), 'cell')} measured under the CPU governor 'powersave'",
            "set it to 'performance', so that the clock does not follow the load",
            rounds_of(*saving),
            "note",
        )


def battery_power(subject: Subject) -> Iterator[Doubt]:
    """Rounds that ran on battery, which lowers clocks."""
    runs = [r.run for cell in subject.finished for r in cell.rounds]
    unplugged = [run for run in runs if (run["environment"] or {}).get("on_battery")]
    if unplugged:
        places = [Place(run_id=run["run_id"]) for run in unplugged]
        yield Doubt(f"{len(unplugged)} of {len(runs)} rounds ran on battery", "plug the machine in", places)


def rates_beside_other_work(subject: Subject) -> Iterator[Doubt]:
    """Hosts whose bandwidth and arithmetic rate were measured while they were busy."""
    runs = [r.run for cell in subject.finished for r in cell.rounds]
    marked = [run for run in runs if _has_marked_rates(run)]
    if marked:
        most = max((run["bandwidth_utilisation"] or 0.0 for run in marked), default=0.0)
        told = f": up to {most:.2f} times the memory bandwidth" if most > _BEYOND else ""
        yield Doubt(
            f"memory bandwidth and arithmetic rate in {len(marked)} of {len(runs)} rounds were measured next to other "
            f"work, so utilisations are too high{told}",
            "run `decodebench doctor` on a quiet machine; rounds after that have the new rates",
            [Place(run_id=run["run_id"]) for run in marked],
            "warning" if told else "note",
        )


def _has_marked_rates(run: Row) -> bool:
    return (run["environment"] or {}).get("rates_are_quiet") is False


def several_hosts(subject: Subject) -> Iterator[Doubt]:
    """Timed cells of one model that ran on different machines, so that a difference may be the machines'."""
    for cells in by_model(subject.finished):
        timed = [cell for cell in cells if any(cell.values(name) for name in (*SPEEDS, "e2e_s"))]
        counts = Counter(host for cell in timed if (host := _host(cell)) is not None)
        if len(counts) > 1:
            told = ", ".join(f"{host} ({count})" for host, count in sorted(counts.items()))
            yield Doubt(
                f"{sum(counts.values())} cells ran on {len(counts)} hosts: {told}; a difference in speed between them "
                "may come from the hosts",
                "measure on one host, or repeat every cell on each",
                rounds_of(*timed),
            )


def several_gpus(subject: Subject) -> Iterator[Doubt]:
    """Cells of one model and device name that ran on different GPUs."""
    for cells in by_model(subject.finished):
        gpus: dict[str, dict[str, list[Cell]]] = {}
        for cell in cells:
            names = (cell.run["environment"] or {}).get("gpu")
            if names:
                gpus.setdefault(cell.run["device"], {}).setdefault(", ".join(names), []).append(cell)
        for device, found in gpus.items():
            if len(found) > 1:
                told = "; ".join(f"{name} ({len(own)})" for name, own in sorted(found.items()))
                called = "the device" if device == UNKNOWN else device
                yield Doubt(
                    f"{called} is not one GPU in {sum(map(len, found.values()))} cells: {told}",
                    "compare cells of the same GPU",
                    rounds_of(*(cell for own in found.values() for cell in own)),
                )


def bandwidths_too_low(subject: Subject) -> Iterator[Doubt]:
    """Cells that read faster than their host's memory bandwidth, which is not marked as measured while busy."""
    above = []
    for cell in subject.finished:
        shares = [r.run["bandwidth_utilisation"] or 0.0 for r in cell.rounds if not _has_marked_rates(r.run)]
        if max(shares, default=0.0) > _BEYOND:
            above.append((max(shares), cell))
    for use, cell in sorted(above, key=lambda found: -found[0]):
        yield Doubt(
            f"{subject.name(cell)} reads {use:.2f} times the memory bandwidth that was measured on its host, which "
            "is impossible: bandwidth was measured while the machine was busy",
            "measure it again on an idle machine; bandwidth utilisations are too high until then",
            rounds_of(cell),
        )


def _host(cell: Cell) -> str | None:
    host: str | None = (cell.run["environment"] or {}).get("hostname")
    return host
