"""Fixtures shared by all tests: the command line as a real process, and one cache of prepared models."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import hypothesis
import pytest

from .at_night import choose_night
from .waiting import Gate
from .warm_process import WarmProcess

TESTS = Path(__file__).parent
LONGEST = ("test_demo.py", "test_every_engine.py")
SHARING = ("llama_cpp", "mlc", "tinygrad", "transformers")
LONG = {  # of the rooms, what starts many processes or a browser, reads hundreds of files, or measures this machine
    "collate": """
        blocks bulk busy_machine collate columns_csv compare conditions experiments export_formats findings
        findings_merged hostile_names import import_damaged import_packed json_in_the_wild load_generators
        noise_findings odd_folders speculation store_life tool_logs totals verdicts_as_printed
    """,
    "core": """
        bandwidth cache chat choices cli completed_names conformance contract depth devices estimate
        experiment_commands faults interleaving launchers machine_load measure metrics pickled_weights plugins
        server_sessions streams task_settings tokenizer until utilisation
    """,
    "viz": """
        accessibility figure_linter figures parity_heatmap privacy references report report_browser
        report_command roofline several_baselines slides sparkline speculation_figures weight_formats
    """,
}
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pytest_addoption(parser):
    parser.addoption(
        "--write-references", action="store_true", help="Store the figures as drawn now (`make references`)."
    )


def pytest_configure(config):
    """Give each of several test processes a core of its own, which the engines that it starts then stay on.

    An engine takes as many threads as it has cores, and threads of two engines that wait for each other by spinning
    make both many times slower. Random examples are drawn anew at night only, so that a change is judged by itself.
    """
    hypothesis.settings.register_profile("always-the-same", derandomize=True)
    is_night = "not nightly" not in config.option.markexpr
    choose_night(is_night=is_night)
    if not is_night:
        hypothesis.settings.load_profile("always-the-same")
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is not None and CORES:
        os.sched_setaffinity(0, {CORES[int(worker.removeprefix("gw")) % len(CORES)]})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep together what shares loaded engines: the tests of a file, and of some folders all.

    Groups of xdist's own (`--dist loadgroup`) have no effect with pytest 9.2, which says nothing of it.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = PurePosixPath(nodeid.partition("::")[0])
            return str(path.parent if path.parent.name in SHARING else path)

    return Together(config, log)


def pytest_ignore_collect(collection_path, config):
    """Leave unread the files of which `make fast` would run nothing: they import engines."""
    is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    if "not engine" in config.option.markexpr and is_test and needs_engine(collection_path.relative_to(TESTS)):
        return True
    return None  # as pytest would


def pytest_collection_modifyitems(config, items):
    """Mark what `make fast` leaves out, and begin with what takes longest: it would run alone at the end otherwise."""
    for item in items:
        if needs_engine(item.path.relative_to(TESTS)):
            item.add_marker(pytest.mark.engine)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_sessionfinish():
    gc.unfreeze()  # libraries count what is left at the end


def pytest_collection_finish():
    """Set aside what was imported: garbage is collected often, before timed parts and by engines that close."""
    gc.collect()
    gc.freeze()


def needs_engine(path: Path) -> bool:
    """Whether a file of tests loads engines, or takes as long: all but those of the rooms, and of these a few."""
    room = path.parts[0]
    return room != "test_architecture.py" and (
        room not in LONG or path.stem.removeprefix("test_") in LONG[room].split()
    )


@pytest.fixture
def all_cores():
    """Give a test that is about several threads what its process had before."""
    if not CORES:
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, mine)


@dataclass
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def rows(self):
        """The values of each record that ``query --json`` printed."""
        return [list(record.values()) for record in self.json]


class Cli:
    """Runs ``decodebench`` as a user would, with a config and a cache of its own."""

    def __init__(self, home: Path, cache: Path, warm: Callable[[], WarmProcess]) -> None:
        self._warm = warm
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DECODEBENCH_")},
            "DECODEBENCH_CACHE": str(cache),
            "DECODEBENCH_CONFIG": str(home / "config.toml"),
            "DECODEBENCH_DATA": str(home / "data"),
            "PYTHONPATH": str(TESTS / "faulty_plugin"),
            "HF_HUB_OFFLINE": "1",
        }

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "decodebench", *map(str, arguments)]

    def __call__(
        self, *arguments: object, env: dict[str, str] | None = None, timeout: float = 280, cwd: Path | None = None
    ) -> Result:
        environment = {**self.environment, **(env or {})}
        return Result(*self._warm().run(list(map(str, arguments)), environment, cwd, timeout))

    def cold(self, *arguments: object, env: dict[str, str] | None = None, timeout: float = 280, **keywords) -> Result:
        """Run a command in an interpreter of its own: where a test is about how that starts or is limited."""
        environment = {**self.environment, **(env or {})}
        ended = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, env=environment, timeout=timeout, **keywords
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def start(
        self, *arguments: object, env: dict[str, str] | None = None, interruptible: bool = True
    ) -> subprocess.Popen[str]:
        """Start a command as a terminal does or, not ``interruptible``, as ``nohup`` and a script's ``&`` do.

        Tests that were started in the background ignore SIGINT themselves, and what they start inherits that.
        """
        handler = signal.SIG_DFL if interruptible else signal.SIG_IGN
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment, **(env or {})},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def cli_for(cache, tmp_path_factory):
    """Make a command line whose config lives in a given folder; for fixtures that outlive one test."""
    started: list[WarmProcess] = []

    def warm() -> WarmProcess:
        if not started:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("DECODEBENCH_")}
            environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
            started.append(WarmProcess(tmp_path_factory.mktemp("warm"), environment))
        return started[0]

    yield lambda home: Cli(home, cache, warm)
    for process in started:
        process.close()


@pytest.fixture
def cli(tmp_path, cli_for):
    return cli_for(tmp_path)


@pytest.fixture
def gate(tmp_path_factory):
    """Where the steps of the faulty backend wait, for commands that are given its ``environment``."""
    gate = Gate(tmp_path_factory.mktemp("gate"))
    yield gate
    gate.open()
