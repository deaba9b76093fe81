"""The commands of the documentation run, in the order of a page, beside small stand-ins for what a reader brings."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..plugin_folder import decoder, distribution
from ..test_docs import PAGES, ROOT, blocks
from ..waiting import until

WEIGHTS = ROOT / "plugins" / "reference" / "weights"
DATA = ROOT / "tests" / "data"
SMALL = ["--samples", "2", "--rounds", "2", "--max-new-tokens", "8"]
SHORT = ["--samples", "2", "--rounds", "2", "--output-tokens", "8"]  # where lengths are given instead of a task
SMALLER = {"run": SMALL, "sweep": SMALL, "shard": SMALL, "parity": ["--samples", "2", "--max-new-tokens", "8"]}
MAY_END = {  # where another exit code than 0 says what was found
    "--fail-if": (0, 3),  # two short rounds may trip a gate
    "decodebench consistency": (1,),  # published tables that do not agree with themselves
}
ELSEWHERE = {  # what this machine cannot be asked for, or what has a test of its own
    r"(make|pip|pipx|uv|conda|docker|python3? -m venv|\.venv/bin/\w+|CMAKE_ARGS=\S+ pip)\b": "sets up a machine",
    r"python benchmarks/": "measures for minutes or hours: benchmarks/",
    r"(echo|mkdir|decodebench completion) ": "a shell's completion: tests/core/test_completion.py",
    r"decodebench plugins install": "tests/test_own_interpreter.py",
    r"decodebench gate ": "tests/nightly/test_gate.py",
    r"decodebench backends --devices": "tests/core/test_devices.py",
    r"decodebench demo": "tests/test_demo.py",
    r"decodebench serve-target": "ends by a signal: tests/plugins/draft_target/test_server.py",
    r"decodebench .*localhost:50051": "tests/plugins/draft_target/test_server.py",
    r"(ray |decodebench .*--launcher ray)": "tests/plugins/ray/test_cluster.py",
    r"decodebench .*(-d cuda:0)": "needs a GPU: docs/gpu.md",
    r"decodebench .*-m (Qwen|facebook|Efficient-Large-Model)/": "needs the Hub",
    r"decodebench .*arc_easy": "needs the Hub: tests/plugins/lm_eval",
    r"decodebench .*SmolLM2": "tests/real",
    r"(decodebench .*-b (vllm|llama-server)|VLLM_|llama-server )": "tests/nightly/test_servers.py",
}
LOGS = {  # what the pages import: logs of other tools, as people have them
    "experiments/artifacts": ["fast_dllm/gsm8k/k1_first", "fast_dllm/console"],
    "logs": ["dflash/dynamic.log", "dflash/dynamic_samples.jsonl"],
    "my-benchmarks": ["draft_target"],
    "published": ["published/spec_bench_board.md"],
    "rocm6": ["llama_cpp/llama_bench.json"],
}
RESULTS = {  # pages on which results/ is another tool's
    "accuracy.md": ["lm_eval/results_gsm8k.json"],
    "importing.md": ["llama_cpp/three_stacks"],
}
TUTORIAL = "tutorial.md"  # tests/test_tutorial.py
OF_A_SERVER = r"http://127\.0\.0\.1:\d+"


def commands(page: Path) -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks(page, "console") for line in block.splitlines()]
    return [line for line in lines if line]


def is_elsewhere(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in ELSEWHERE)


SHOWN = {page.name: commands(page) for page in PAGES if page.is_file() and page.name != TUTORIAL}
RUN = {name: [line for line in lines if not is_elsewhere(line)] for name, lines in SHOWN.items()}


def test_nothing_is_listed_as_run_elsewhere_that_no_page_shows():
    lines = [line for shown in SHOWN.values() for line in shown]
    assert {pattern for pattern in ELSEWHERE if any(re.match(pattern, line) for line in lines)} == set(ELSEWHERE)
    named = re.findall(r"tests/[\w/.]+", " ".join(ELSEWHERE.values()))
    assert all((ROOT / path).exists() for path in named)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, cli_for):
    """Make the folder of a reader: a model, plans, results, logs of other tools, an installed decoder."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(WEIGHTS / "target", folder / "my-model")
    distribution(folder / "site", "my-decoder", "1", my_decoder=decoder("my-decoder"))
    _write_plan(folder)
    _place_logs(folder)
    cli, work = cli_for(folder), ["-m", "tiny:draft", "--task", "tiny-gsm", *SMALL]
    cells = ["-b", "transformers", "-b", "llama-cpp", "-q", "none", "-q", "f16", "-q", "q8_0"]
    for command in (
        ["run", "-b", "transformers", *work, "--name", "earlier", "-o", folder / "results"],
        ["collate", folder / "results", "--import", folder / "llama_bench.json"],
        ["run", *cells, *work, "--name", "batches", "-o", folder / "results"],
        ["run", *cells, *work, "-o", folder / "benchmark_output"],
    ):
        ended = cli(*command)
        assert ended.code == 0, ended.err
    return folder


def _write_plan(folder: Path) -> None:
    (plan,) = blocks(ROOT / "docs" / "benchmark_model.md", "toml")
    (folder / "plan.toml").write_text(plan.replace("samples = 16", "samples = 2").replace("rounds = 5", "rounds = 4"))


def _place_logs(folder: Path) -> None:
    for name, origins in LOGS.items():
        _place(folder / name, origins)
    shutil.copy(DATA / "csv" / "results.csv", folder)
    shutil.copy(DATA / "llama_cpp" / "llama_bench.json", folder)
    (folder / "my.typ").write_text(*blocks(ROOT / "docs" / "slides.md", "typst"))
    (folder / "my_tasks").mkdir()
    of_the_harness = (DATA / "lm_eval" / "tiny_numbers.yaml").read_text().replace("task: tiny_numbers", "task: my_task")
    (folder / "my_tasks" / "my_task.yaml").write_text(of_the_harness)
    shutil.copy(DATA / "lm_eval" / "numbers.jsonl", folder)
    (folder / "problems.jsonl").write_text(
        "".join(f'{{"question": "1 + {n} =", "answer": "{n + 1}"}}\n' for n in range(4))
    )
    (folder / "azure.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
        f"2024-05-10 00:00:0{second}.000000,32,8\n" for second in range(4)
    ))  # fmt: skip


def _place(folder: Path, origins: list[str]) -> None:
    folder.mkdir(parents=True)
    for origin in origins:
        if (DATA / origin).is_dir():
            shutil.copytree(DATA / origin, folder, dirs_exist_ok=True)
        else:
            shutil.copy(DATA / origin, folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory, cli_for):
    """Start a server of the tiny model, as a reader has one running."""
    if any(find_spec(name) is None for name in ("llama_cpp", "uvicorn", "starlette_context", "sse_starlette")):
        pytest.skip("the server of llama-cpp-python is missing")
    cli = cli_for(tmp_path_factory.mktemp("served"))
    prepared = cli("prepare", "tiny:target", "-b", "llama-cpp", "-q", "f32", "--json")
    path = next(iter(re.findall(r'"(/[^"]+\.gguf)"', prepared.out)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", path, "--n_ctx", "512", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    until(lambda: _answers(f"{url}/v1/models"), process)
    yield url
    process.terminate()
    process.wait()


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except OSError:
        return False


def as_typed(line: str) -> list[str]:
    """Return the words behind ``decodebench``, made to take seconds."""
    words = [{"MODEL": "tiny:target", "NAME": "llama-cpp"}.get(word, word) for word in shlex.split(line)[1:]]
    smaller = SHORT if "--prompt-tokens" in words else SMALLER.get(words[0], [])
    is_listing = words[0] == "sweep" and len(words) == 1
    return words if is_listing or ".toml" in line else words + smaller


MISSING_PARTS = {"scaling.md": [f"decodebench shard {number}/4 plan.toml -o shard-{number}" for number in (2, 3, 4)]}


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [name for name, lines in RUN.items() if lines])
def test_the_commands_of_a_page_run_in_their_order(page, cli, desk, tmp_path, request):
    folder = shutil.copytree(desk, tmp_path / "desk")
    if page in RESULTS:
        shutil.rmtree(folder / "results")
        _place(folder / "results", RESULTS[page])
    environment = {
        "PYTHONPATH": str(folder / "site"), "DECODEBENCH_DATA": str(DATA / "tasks"), "BROWSER": "true",
    }  # fmt: skip
    for line in [*MISSING_PARTS.get(page, ()), *RUN[page]]:
        assert line.startswith("decodebench "), f"{page}: neither run here nor elsewhere: {line}"
        asked = re.sub(OF_A_SERVER, request.getfixturevalue("server"), line) if "http://" in line else line
        ended = cli(*as_typed(asked), env=environment, cwd=folder, timeout=900)
        fine = next((codes for words, codes in MAY_END.items() if words in line), (0,))
        assert ended.code in fine, f"{line}\n{ended.out[-2000:]}\n{ended.err[-2000:]}"
