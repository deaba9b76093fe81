"""The servers that people deploy, for real: the same prompts as ids give the tokens of the engines in process."""

from __future__ import annotations

import json

import pytest

from benchmarks import llama_bench, vllm_environment
from decodebench import UsageError
from decodebench.core.records.store import Store

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

WORK = ["-m", "tiny:target", "--task", "tiny-gsm", "--samples", 16, "--rounds", 1, "--max-new-tokens", 24]
OFFLINE = [f"--set=vllm-offline.{option}" for option in ("dtype=float32", "enforce_eager=true", "max_model_len=512")]
LLAMA = ["--set", "llama-cpp.kv_cache_type=f32", "--set", "llama-cpp.flash_attention=off"]


def outputs(folder):
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


def compared(cli, tmp_path, command, name, *further, config=""):
    """Measure a server beside engines in process at three loads, and return the ids of all."""
    (tmp_path / "config.toml").write_text(f"[servers.{name}]\ncommand = {json.dumps(command)}\n{config}")
    backends = (name, "llama-cpp", "transformers", *further)
    chosen = [word for backend in backends for word in ("-b", backend)] + ["-q", "f32", "-q", "none"]
    folder = tmp_path / "out"
    options = LLAMA + (OFFLINE if "vllm-offline" in backends else [])
    ended = cli("run", *chosen, *options, *WORK, "--concurrency", "1,4,8", "-o", folder, timeout=3500)
    assert ended.code == 0, ended.err
    ids, kinds = outputs(folder)
    assert len(ids) == 3 * len(backends) and all(len(samples) == 16 for samples in ids.values())
    assert kinds[name] == "server"
    return ids


def same(ids):
    first = next(iter(ids.values()))
    return {key: sum(first[sample] == output for sample, output in samples.items()) for key, samples in ids.items()}


def test_llama_server_gives_the_tokens_of_llama_cpp(cli, tmp_path):
    try:
        folder = llama_bench.binaries()
    except UsageError as error:
        pytest.skip(str(error))
    command = (
        f"env LD_LIBRARY_PATH={folder} {folder}/llama-server --model {{model}} --alias {{name}} --host {{host}} "
        "--port {port} --threads {threads} --parallel 8 --ctx-size 4096 -fa off -ctk f32 -ctv f32"
    )
    ids = compared(cli, tmp_path, command, "llama-server")
    assert set(same(ids).values()) == {16}
    checked = cli("plugins", "check", "llama-server", "-m", "tiny:target", "-q", "f32", timeout=1800)
    assert checked.code == 0, checked.out


def test_vllm_on_a_cpu_gives_the_tokens_of_transformers(cli, tmp_path):
    try:
        python = vllm_environment.python()
    except UsageError as error:
        pytest.skip(str(error))
    command = (
        f"env VLLM_CPU_KVCACHE_SPACE=1 {python} -m vllm.entrypoints.openai.api_server --model {{model}} "
        "--served-model-name {name} --host {host} --port {port} --dtype float32 --enforce-eager --max-model-len 512 "
        "--enable-prompt-tokens-details"
    )
    own = f"[backends.vllm-offline]\npython = {json.dumps(str(python))}\n"
    ids = compared(cli, tmp_path, command, "vllm", "vllm-offline", config=own)
    assert set(same(ids).values()) == {16}
