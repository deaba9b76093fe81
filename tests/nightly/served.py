"""Servers that people deploy beside engines in process: how they are started, and what all of them answer."""

from __future__ import annotations

import json

import pytest

from benchmarks import llama_bench, vllm_environment
from decodebench import UsageError
from decodebench.core.records.store import Store

_LLAMA = ["--set", "llama-cpp.kv_cache_type=f32", "--set", "llama-cpp.flash_attention=off"]
_OFFLINE = [f"--set=vllm-offline.{option}" for option in ("dtype=float32", "enforce_eager=true", "max_model_len=512")]
_LOADS = "1,4,8"


def llama_server() -> str:
    """Return the command of the config file for a llama-server that is built once; skip where that is not possible."""
    try:
        folder = llama_bench.binaries()
    except UsageError as error:
        pytest.skip(str(error))
    return (
        f"env LD_LIBRARY_PATH={folder} {folder}/llama-server --model {{model}} --alias {{name}} --host {{host}} "
        "--port {port} --threads {threads} --parallel 8 --ctx-size 4096 -fa off -ctk f32 -ctv f32"
    )


def vllm_server() -> str:
    """Return the command of the config file for vLLM's build for CPUs, installed once; skip where there is none."""
    # with a thread on each of two cores, those of the engine wait for each other: 20 times slower
    return (
        f"env VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=0 {vllm_python()} -m "
        "vllm.entrypoints.openai.api_server --model {model} --served-model-name {name} --host {host} --port {port} "
        "--dtype float32 --enforce-eager --max-model-len 512 --enable-prompt-tokens-details"
    )


def vllm_python() -> str:
    """Return the interpreter that has vLLM."""
    try:
        return str(vllm_environment.python())
    except UsageError as error:
        pytest.skip(str(error))


def compared(cli, folder, commands, work, *, beside=("llama-cpp", "transformers"), config=""):
    """Measure servers beside engines in process at three loads; return the ids of each by sample.

    Args:
        cli: the command line.
        folder: for the config file and the results.
        commands: of the servers, by backend.
        work: model and workload, as flags.
        beside: the engines.
        config: what else the config file has.
    """
    tables = (f"[servers.{name}]\ncommand = {json.dumps(command)}\n" for name, command in commands.items())
    (folder / "config.toml").write_text("".join(tables) + config)
    backends = [*commands, *beside]
    chosen = [word for backend in backends for word in ("-b", backend)]
    options = _LLAMA + (_OFFLINE if "vllm-offline" in backends else [])
    ended = cli("run", *chosen, *options, *work, "--concurrency", _LOADS, "-o", folder / "out", timeout=3500)
    assert ended.code == 0, ended.err
    ids, kinds = _outputs(folder / "out")
    assert set(ids) == {(backend, int(load)) for backend in backends for load in _LOADS.split(",")}
    assert all(kinds[name] == "server" for name in commands)
    return ids


def _outputs(folder):
    """Return the ids of every sample by backend and load, and what the settings say of the ids."""
    with Store.open(folder) as store:
        _, found = store.query(
            "SELECT r.backend, r.concurrency, r.settings->>'token_ids', s.sample_id, s.output_ids "
            "FROM samples s JOIN runs r USING (run_id) WHERE NOT s.is_warmup AND s.status = 'ok'"
        )
    ids, kinds = {}, {}
    for backend, concurrency, kind, sample, output in found:
        ids.setdefault((backend, concurrency), {})[sample] = list(output)
        kinds[backend] = kind
    return ids, kinds


def same(ids):
    """Return how many answers of each backend and load are those of the first."""
    first = next(iter(ids.values()))
    return {key: sum(first[sample] == output for sample, output in samples.items()) for key, samples in ids.items()}
