"""Real servers through the command line: started, asked, compared with engines in process, and ended."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from decodebench.core.records.store import Store

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("llama_cpp", "aiohttp", "uvicorn", "starlette_context", "sse_starlette")),
    reason="the server of llama-cpp-python is missing",
)

CONFIG = '''
[servers.tiny-server]
command = """{python} -m llama_cpp.server --model {model} --model_alias {name} --n_ctx 512 --n_threads 1
    --host {host} --port {port}"""
ready = "/v1/models"
weights = "gguf"

[servers.dying]
command = "{python} -c 'import sys; sys.exit(\\"no such model {port}\\")'"
'''
SMALL = ["-m", "tiny:target", "--task", "tiny-gsm", "--samples", 2, "--rounds", 1, "--max-new-tokens", 12]


@pytest.fixture
def configured(cli, tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    return cli


def rows(folder, columns, tables="runs", where="true"):
    """Query the store; JSON columns as objects."""
    with Store.open(folder) as store:
        names, found = store.query(f"SELECT {columns} FROM {tables} WHERE {where}")
    return [{name: parsed(value) for name, value in zip(names, row, strict=True)} for row in found]


def parsed(value):
    return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value


def test_a_server_gives_the_text_of_its_engine_and_ends_with_its_round(configured, tmp_path):
    chosen = ("-b", "tiny-server", "-b", "llama-cpp", "-q", "f32")
    options = ("--set", "llama-cpp.flash_attention=off", "--set", "llama-cpp.n_threads=1")
    ended = configured("run", *chosen, *options, *SMALL, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    found = rows(tmp_path / "out", "r.backend, s.text", "samples s JOIN runs r USING (run_id)", "NOT is_warmup")
    texts = {
        backend: [row["text"] for row in found if row["backend"] == backend] for backend in ("tiny-server", "llama-cpp")
    }
    assert texts["tiny-server"] == texts["llama-cpp"] and len(texts["llama-cpp"]) == 2
    runs = rows(
        tmp_path / "out",
        "residence, load_s, parameters, peak_rss_bytes, settings, sessions",
        where="backend = 'tiny-server'",
    )
    assert {run["residence"] for run in runs} == {"owned-server"} and all(run["parameters"] is None for run in runs)
    assert all(run["load_s"] > 0.1 and run["peak_rss_bytes"] > 20e6 for run in runs)
    assert all(run["settings"]["token_ids"] == "re-tokenised" for run in runs)
    for session in (run["sessions"][0] for run in runs):
        assert session["command"][1:3] == ["-m", "llama_cpp.server"] and not psutil.pid_exists(session["pid"])
    checks = configured("findings", tmp_path / "out", "--json").json
    assert "retokenised-ids" in {finding["check"] for finding in checks["findings"]}


@pytest.mark.nightly
def test_a_server_with_a_key_is_used_and_the_key_recorded_nowhere(configured, tmp_path):
    named = "tiny-server.api_key_env=API_KEY"  # which llama_cpp.server reads
    chosen = ("-b", "tiny-server", "-q", "q8_0", "--set", named)
    ended = configured("run", *chosen, *SMALL, "-o", tmp_path / "out", env={"API_KEY": "correct-horse"})
    assert ended.code == 0, ended.err
    written = [file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert not any(b"correct-horse" in content for content in written)
    denied = (*chosen[:4], *SMALL)
    refused = configured("run", *denied, "-o", tmp_path / "out", env={"API_KEY": "x"}, timeout=60)
    assert refused.code == 1 and "denies access" in refused.err + refused.out


def test_a_port_that_answers_no_http_is_not_ready():
    from decodebench import BackendError
    from decodebench.plugins.openai.launched.process import ServerProcess, free_port

    port = free_port()
    code = f"""import socket
listening = socket.create_server(("127.0.0.1", {port}))
while True:
    with listening.accept()[0] as one:
        one.sendall(b"SSH-2.0 hello\\r\\n")"""
    server = ServerProcess([sys.executable, "-c", code], f"http://127.0.0.1:{port}")
    try:
        with pytest.raises(BackendError, match="did not answer at /health within 1 s"):
            server.wait_until_ready("/health", 1)
    finally:
        server.end()


def test_a_server_that_ends_at_once_is_a_failed_round_with_its_last_words(configured, tmp_path):
    ended = configured("run", "-b", "dying", *SMALL, "-o", tmp_path / "out", "--json")
    assert ended.code == 1
    (log,) = (tmp_path / "out" / "raw" / "dying").glob("*.jsonl")
    *_, end = map(json.loads, log.read_text().splitlines())
    assert end["status"] == "failed" and "exit code 1 before it answered at /health" in end["reason"]
    assert "no such model" in end["reason"]


def test_a_server_that_never_answers_is_given_up_and_ended():
    from decodebench import BackendError
    from decodebench.plugins.openai.launched.process import ServerProcess

    code = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    server = ServerProcess([sys.executable, "-c", f"{code}; time.sleep(600)"], "http://127.0.0.1:9")
    with pytest.raises(BackendError, match="did not answer at /health within 0.5 s"):
        server.wait_until_ready("/health", 0.5)
    family = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
    server.end()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('[servers.x]\nready = "/health"', "command is missing"),
        ('[servers.x]\ncommand = "serve {model}"', "{port}"),
        ('[servers.x]\ncommand = "serve {modle} {port}"', "{modle} is not known"),
        ('[servers.x]\ncommand = "serve {port} --api-key abc"', "--api-key would be recorded"),
        ('[servers.x]\ncommand = "serve {port} --admin-api-key=abc"', "--admin-api-key would be recorded"),
        ('[servers.x]\ncommand = "env VLLM_API_KEY=abc serve {port}"', "VLLM_API_KEY would be recorded"),
        ('[servers.x]\ncommand = "serve {port} --hf-token"', "--hf-token would be recorded"),
        ('[servers.x]\ncommand = "serve {port} \\"open"', "No closing quotation"),
        ('[servers.x]\ncommand = "serve {port}"\napi = "vlm"', "did you mean 'vllm'"),
        ('[servers.x]\ncommand = "serve {port}"\ncomand = "y"', "did you mean 'command'"),
        ('[servers.openai]\ncommand = "serve {port}"', "not openai"),
        ("[servers]\nx = 1", "must be a table with a command"),
    ],
)
def test_a_wrong_table_of_the_config_is_named(tmp_path, monkeypatch, table, fault):
    from decodebench import UsageError
    from decodebench.plugins.openai.launched.recipes import recipes

    monkeypatch.setenv("DECODEBENCH_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").write_text(table)
    with pytest.raises(UsageError) as caught:
        recipes()
    assert fault in str(caught.value)


def test_the_tables_of_the_page_on_servers_are_read(tmp_path, monkeypatch):
    from decodebench.plugins.openai.launched.recipes import recipes

    page = Path(__file__).parents[1] / "docs" / "servers.md"
    (tables,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "config.toml").write_text(tables)
    monkeypatch.setenv("DECODEBENCH_CONFIG", str(tmp_path / "config.toml"))
    found = {recipe.name: recipe for recipe in recipes()}
    assert found["my-server"].weights == "gguf" and found["my-server"].served_model == "default"
    assert found["vllm"].command.startswith("env VLLM") and found["vllm"].api == "vllm"


def test_common_names_of_float_formats_are_arguments_of_vllm(configured):
    formats = ["-b", "vllm", "-q", "fp32", "-q", "bf16"]
    planned = configured("run", *formats, *SMALL, "--dry-run", "--no-probe", "--json")
    assert planned.code == 0, planned.err
    assert [cell["options"]["args"] for cell in planned.json["cells"]] == ["--dtype float32", "--dtype bfloat16"]
    twice = configured("run", *formats, *SMALL, "--set", "args=--seed 1", "--dry-run", "--no-probe")
    assert twice.code == 2 and "conflicting-flags" in twice.err


def test_a_wrong_table_leaves_running_servers_and_a_right_one_changes_a_known_server(cli, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[servers]\nx = 1")
    listed = {plugin["name"]: plugin for plugin in cli("plugins", "--json").json}
    assert "must be a table" in listed["servers"]["reason"] and listed["openai"]["status"] == "ok"
    config.write_text(
        '[servers.vllm]\ncommand = "env A=1 vllm serve {model} --port {port}"\n[servers.own]\ncommand = "{port}"'
    )
    listed = {backend["name"]: backend for backend in cli("backends", "--json").json}
    assert {"vllm", "own", "llama-server", "mlx-server"} <= listed.keys() and listed["vllm"]["available"]
