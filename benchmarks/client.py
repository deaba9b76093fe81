"""What the client of servers costs, and how late its stamps are, against a server of fixed timing.

python benchmarks/client.py; on a machine with two cores that nothing else uses, one is the server's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import click

import decodebench.plugins.reference.problems as shipped
from decodebench import Request
from decodebench.core.contract.model import PreparedModel, ResolvedModel
from decodebench.core.measure.timed_loop import measure
from decodebench.plugins.openai.backend import OpenAIBackend

MOST_CPU_S = {1: 700e-6, 64: 200e-6}
"""CPU time of the client for each event, by streams."""
MOST_MEDIAN_LAG_S, MOST_LATE_LAG_S = 1e-3, 10e-3


@click.command()
@click.option("--streams", multiple=True, type=int, default=(1, 64), show_default=True, help="Requests at once.")
@click.option("--events", type=int, default=200, show_default=True, help="Events of each answer.")
@click.option("--interval", type=float, default=0.02, show_default=True, help="Seconds between two of them.")
def main(streams: tuple[int, ...], events: int, interval: float) -> None:
    """Measure CPU time per event and the lag of stamps; fail where they exceed their limits."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    stub = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("stub_server.py"), str(interval)], stdout=subprocess.PIPE, text=True
    )
    try:
        if len(cores) > 1:
            os.sched_setaffinity(stub.pid, set(cores[1:]))
            os.sched_setaffinity(0, {cores[0]})
        url = f"http://127.0.0.1:{int(stub.stdout.readline())}"
        backend = _connected(url)
        _measured(backend, url, max(streams), 5)  # connections are opened
        failed = [count for count in streams if not _report(count, *_measured(backend, url, count, events))]
        backend.close()
    finally:
        stub.kill()
    if failed:
        raise SystemExit(f"above the limits at {', '.join(map(str, failed))} streams")


def _connected(url: str) -> OpenAIBackend:
    folder = Path(shipped.__file__).parent / "weights" / "target"
    source = ResolvedModel("tiny:target", folder, "")
    backend = OpenAIBackend()
    backend.load(PreparedModel(folder, "", None, None, source, ""), "unknown", OpenAIBackend.Options(url=url))
    return backend


def _measured(backend: OpenAIBackend, url: str, count: int, events: int) -> tuple[float, float, list[float]]:
    """Return CPU seconds per event, the share of a core, and the lags in seconds."""
    requests = [Request((row, 1, 2), events, row=row, ignore_eos=True) for row in range(count)]
    batch = measure(backend, requests)
    costs = backend.counters().own  # from the first request to the last event, the host's loop included
    with urlopen(f"{url}/sent") as answer:
        sent = json.loads(answer.read())
    lags = [
        (batch.start_ns + stamp - before) / 1e9
        for row, one in enumerate(batch.rows)
        for (stamp, _), before in zip(one.steps, sent[str(row)], strict=True)
    ]
    cpu_s = costs["client_cpu_s"]
    return cpu_s / (count * events), cpu_s / costs["client_wall_s"], lags


def _report(count: int, cpu_s: float, share: float, lags: list[float]) -> bool:
    median, late = statistics.median(lags), statistics.quantiles(lags, n=100)[-1]
    most = MOST_CPU_S.get(count)
    limit = "" if most is None else f" (at most {most * 1e6:.0f})"
    print(
        f"{count:4} streams: {cpu_s * 1e6:6.0f} us of CPU per event{limit}, {share:.2f} of a core; "
        f"lag median {median * 1e3:.2f} ms, 99th percentile {late * 1e3:.2f} ms"
    )
    return (most is None or cpu_s <= most) and median <= MOST_MEDIAN_LAG_S and late <= MOST_LATE_LAG_S


if __name__ == "__main__":
    main()
