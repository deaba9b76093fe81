"""A real Ray cluster on this machine: a node is lost, then the command, and the experiment is that of a local run."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from decodebench.core.records.store import Store

from ...waiting import still_alive, until

pytest.importorskip("ray", reason="ray is not installed: pip install 'decodebench[ray]'")
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
BOTH = {"decodebench:cpu": 1, "decodebench:transformers": 1, "decodebench:llama-cpp": 1}
NODES = [BOTH, BOTH, {"decodebench:cpu": 1, "decodebench:llama-cpp": 1}]
MATRIX = ["-b", "transformers", "-b", "llama-cpp", "-m", "tiny:draft", "--task", "tiny-gsm", "--samples", 6]
MATRIX += ["--max-new-tokens", 24, "--interleave", "rounds", "--placement-timeout", 15]


class Node:
    """A ``ray start`` that stays, and everything below it."""

    def __init__(self, *arguments: str, folder: Path, environment: dict[str, str]) -> None:
        ray = Path(sys.executable).with_name("ray")
        self._text = tempfile.NamedTemporaryFile("w+", dir=folder, delete=False)
        common = ("--block", "--num-cpus", "0", "--object-store-memory", "80000000", "--disable-usage-stats")
        self.process = subprocess.Popen(
            [ray, "start", *arguments, *common],
            stdout=self._text,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        until(lambda: "--block" in self.text(), self.process)

    def text(self) -> str:
        return Path(self._text.name).read_text()

    @property
    def workers(self) -> list[int]:
        """Process ids of decodebench's workers on it."""
        if self.process.poll() is not None:
            return []
        return [one.pid for one in psutil.Process(self.process.pid).children(recursive=True) if is_worker(one)]

    def end(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            every = [one.pid for one in psutil.Process(self.process.pid).children(recursive=True)]
            self.process.terminate()
            self.process.wait()
            assert not still_alive(every, 60)
        self._text.close()

    def lose(self) -> None:
        """Kill Ray itself on this node, and see that what Ray runs ends too, workers included."""
        ray = psutil.Process(self.process.pid)
        every = [one.pid for one in ray.children(recursive=True)]
        for one in (ray, *ray.children()):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        assert not still_alive(every, 60)


def is_worker(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[1:3] == ["-m", "decodebench.core.measure.worker"]
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def folder():
    """Ray's sockets need a short path."""
    made = Path(tempfile.mkdtemp(prefix="dbr", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def reach(folder, cli_for):
    """Give what starts nodes, a head first, and the command line that reaches them."""
    cli = cli_for(folder)
    environment = cli.environment | {"RAY_DISABLE_IMPORT_WARNING": "1"}
    started: list[Node] = []

    def start(*arguments: str) -> Node:
        started.append(Node(*arguments, folder=folder, environment=environment))
        return started[-1]

    try:
        start("--head", "--port", "0", "--include-dashboard", "false", "--temp-dir", str(folder / "r"))
        (address_file,) = folder.glob("r/ray_current_cluster")
        address = address_file.read_text().strip()
        Path(cli.environment["DECODEBENCH_CONFIG"]).write_text(f'[ray]\naddress = "{address}"\n')
        yield cli, lambda has: start("--address", address, "--resources", json.dumps(has))
    finally:
        for node in reversed(started):
            node.end()


@pytest.fixture
def nodes(request, reach):
    """Nodes of a test, which are gone when it ends."""
    made = [reach[1](has) for has in NODES[: request.param]]
    yield made
    for node in made:
        node.end()


def finished(output: Path) -> set[Path]:
    return set(output.glob("raw/*/*.jsonl"))


def busy(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if node.workers]


def answers(output: Path) -> list[tuple]:
    """Return what must not depend on where it was measured."""
    columns = "cell_id, round, runs.status, sample_id, output_tokens, output_ids::VARCHAR, score"
    with Store.open(output) as store:
        return store.query(f"SELECT {columns} FROM runs JOIN samples USING (run_id) ORDER BY ALL")[1]


@pytest.mark.parametrize(("nodes", "rounds"), [(2, 3), (3, 15)], indirect=["nodes"])
def test_node_and_command_are_lost_and_the_experiment_is_that_of_a_local_run(reach, nodes, rounds, tmp_path):
    cli, _ = reach
    local, far = tmp_path / "local", tmp_path / "far"
    matrix = [*MATRIX, "--rounds", rounds]
    assert cli("run", *matrix, "-o", local, timeout=900).code == 0
    on_ray = ["run", *matrix, "--launcher", "ray", "-o", far]

    running = cli.start(*on_ray)
    until(lambda: len(finished(far)) >= rounds // 2 and busy(nodes), running, 300)
    kept = finished(far)
    (lost,) = busy(nodes)
    lost.lose()
    left = [node for node in nodes if node is not lost]
    until(lambda: len(finished(far)) >= rounds and busy(left), running, 300)
    kept, workers = finished(far), [worker for node in left for worker in node.workers]
    running.kill()
    running.communicate()
    assert not still_alive(workers, 60)

    assert rounds <= len(kept) < 2 * rounds
    before = {log: log.read_bytes() for log in kept}
    completed = cli(*on_ray, timeout=900)
    assert completed.code == 0, completed.err
    assert {log: log.read_bytes() for log in kept} == before
    assert len(finished(far)) == 2 * rounds and answers(far) == answers(local)
    with Store.open(far) as store:
        rows = store.query("SELECT DISTINCT launcher, environment->>'hostname' FROM runs")[1]
    assert rows == [("ray", platform.node())]


@pytest.mark.parametrize("nodes", [3], indirect=True)
def test_rounds_are_measured_on_all_nodes_at_once_where_that_is_asked_for(reach, nodes, tmp_path):
    cli, _ = reach
    local, far = tmp_path / "local", tmp_path / "far"
    matrix = [*MATRIX, "--rounds", 6]
    assert cli("run", *matrix, "-o", local, timeout=900).code == 0
    running = cli.start("run", *matrix, "--launcher", "ray", "--across-hosts", "-o", far)
    until(lambda: len(busy(nodes)) > 1, running, 120)
    busy(nodes)[0].lose()
    running.communicate(timeout=300)
    assert running.returncode == 0
    assert len(finished(far)) == 12 and answers(far) == answers(local)


@pytest.mark.parametrize("nodes", [1], indirect=True)
def test_a_round_that_no_node_can_take_fails_with_what_is_missing(reach, nodes, tmp_path):
    cli, _ = reach
    cells = ["-b", "tinygrad", "-b", "llama-cpp", "-m", "tiny:draft", "--task", "tiny-gsm", "--rounds", 1]
    cells += ["--samples", 1, "--max-new-tokens", 4, "--placement-timeout", 5, "--launcher", "ray"]
    for name in ("one", "across"):
        result = cli("run", *cells, *(["--across-hosts"] if name == "across" else []), "-o", tmp_path / name)
        assert result.code == 1
        with Store.open(tmp_path / name) as store:
            found = dict(store.query("SELECT backend, coalesce(reason, status) FROM runs")[1])
        assert found["llama-cpp"] == "ok" and "decodebench:tinygrad" in found["tinygrad"]


def test_a_cluster_that_is_not_there_is_named(cli, tmp_path):
    Path(cli.environment["DECODEBENCH_CONFIG"]).write_text('[ray]\naddress = "127.0.0.1:1"\n')
    result = cli("run", *MATRIX, "--rounds", 1, "--launcher", "ray", "-o", tmp_path / "out")
    assert result.code == 2 and "127.0.0.1:1" in result.err and "Traceback" not in result.err
