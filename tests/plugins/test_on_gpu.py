"""On a GPU every PyTorch backend writes what it writes on the CPU, and its time, memory and energy are told."""

from __future__ import annotations

import shutil
import signal
import subprocess
import warnings
from importlib.util import find_spec

import pytest

from decodebench import ModelCache, Request
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.measure.models.containers import Models
from decodebench.core.measure.timed_loop import measure
from decodebench.core.sdk.models import resolve
from decodebench.core.sdk.tokenizer import Codec

from ..waiting import until

torch = pytest.importorskip("torch")
GPU = "cuda:0"


def has_gpu() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch built for CUDA says so where there is no driver
        return torch.cuda.is_available()


pytestmark = pytest.mark.skipif(not has_gpu(), reason="PyTorch sees no CUDA device")

CELLS = {
    "transformers": ("transformers", "tiny:target", {}),
    "transformers, static cache": ("transformers", "tiny:target", {"cache": "static"}),
    "dflash": ("dflash", "tiny:target", {}),
    "dflash, token by token": ("dflash", "tiny:target", {"block_size": 1}),
    "dflash, tree of candidates": ("dflash", "tiny:target", {"candidate_mode": "branch_beam"}),
    "dflash, cloned candidates": ("dflash", "tiny:target", {"candidate_mode": "branch_beam", "compat": "published"}),
    "dflash, seeds": ("dflash", "tiny:target", {"seed_mode": "sparse"}),
    "dflash, scheduled": ("dflash", "tiny:target", {"scheduler": "ewma"}),
    "fast-dllm": ("fast-dllm", "tiny:block-diffusion", {}),
    "fast-dllm, sub-block": ("fast-dllm", "tiny:block-diffusion", {"cache": "sub-block"}),
    "fast-dllm, residual": (
        "fast-dllm",
        "tiny:block-diffusion",
        {"cache": "sub-block", "reuse": "residual", "reuse_k": 2, "layer_subset": "middle"},
    ),
    "fast-dllm, llada": ("fast-dllm", "tiny:llada", {"cache": "dual", "block_length": 8}),
    "draft-target": ("draft-target", "tiny:target", {}),
    "draft-target, candidates": ("draft-target", "tiny:target", {"num_candidates": 3}),
    "draft-target, look-up": ("draft-target", "tiny:target", {"drafter": "prompt-lookup"}),
    "draft-target, optimistic": ("draft-target", "tiny:target", {"optimistic": True}),
    "draft-target, transformers": ("draft-target", "tiny:target", {"target_backend": "transformers"}),
}
SAMPLED = {
    "transformers": {},
    "dflash": {"acceptance": "rejection"},
    "fast-dllm": {},
    "draft-target": {"rule": "probabilistic"},
}


@pytest.fixture(scope="module")
def registry():
    return all_plugins()


@pytest.fixture(scope="module")
def load(registry, tmp_path_factory):
    """Load a backend on a device; everything is closed behind the module."""
    cache, opened = ModelCache(tmp_path_factory.mktemp("models")), []

    def loaded(name, model, device, **options):
        backend = registry.backend(name)
        settings = backend.Options.model_validate({"n_threads": 1, **options})
        found = Models(registry.models, cache).with_companion(backend, resolve(model, registry.models, cache), settings)
        prepared = backend.prepare(found, "none", device, settings, cache)
        engine = backend()
        engine.load(prepared, device, settings)
        opened.append(engine)
        return engine

    yield loaded
    for backend in opened:
        backend.close()


@pytest.fixture(scope="module")
def requests(registry):
    """Problems of the tiny family as requests."""
    folder = registry.models["tiny:target"].path
    codec = Codec(folder, None)
    samples = registry.task("tiny-gsm").samples(6, 42)
    prompts = [codec.encode(sample.prompt) for _, sample in zip(range(6), samples, strict=False)]

    def made(**keywords):
        return [Request(tuple(ids), 48, stop_token_ids=codec.stop_ids(), **keywords) for ids in prompts]

    return made


def alone(backend, requests):
    return [measure(backend, [request]).rows[0].ids for request in requests]


@pytest.mark.parametrize("cell", CELLS)
def test_float32_writes_what_the_cpu_writes(load, requests, cell):
    name, model, options = CELLS[cell]
    expected = alone(load(name, model, "cpu", **options), requests())
    assert alone(load(name, model, GPU, **options), requests()) == expected


@pytest.mark.parametrize(("name", "model"), [("dflash", "tiny:target"), ("fast-dllm", "tiny:block-diffusion")])
def test_a_row_of_a_batch_is_what_it_is_alone(load, requests, name, model):
    backend = load(name, model, GPU)
    assert [row.ids for row in measure(backend, requests()).rows] == alone(backend, requests())


@pytest.mark.parametrize("name", SAMPLED)
def test_a_seed_gives_the_same_sample_twice(load, requests, name):
    model = "tiny:block-diffusion" if name == "fast-dllm" else "tiny:target"
    backend = load(name, model, GPU, **SAMPLED[name])
    first, second, other = (
        alone(backend, requests(temperature=1.0, top_p=0.95, top_k=50, seed=seed)) for seed in (7, 7, 8)
    )
    assert first == second != other


@pytest.mark.parametrize("name", ["transformers", "dflash", "draft-target", "fast-dllm"])
def test_scores_are_those_of_the_cpu(load, requests, name):
    model = "tiny:block-diffusion" if name == "fast-dllm" else "tiny:target"
    tokens = requests()[0].prompt_ids
    ours, expected = (load(name, model, device).score(tokens, top_k=3) for device in (GPU, "cpu"))
    assert ours.logprobs[1:] == pytest.approx(expected.logprobs[1:], abs=1e-3)
    assert ours.is_greedy == expected.is_greedy


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["transformers", "dflash", "draft-target", "fast-dllm"])
def test_half_precision_runs_and_the_peak_of_memory_is_told(load, requests, name, dtype):
    model = "tiny:block-diffusion" if name == "fast-dllm" else "tiny:target"
    backend = load(name, model, GPU, dtype=dtype)
    assert all(alone(backend, requests()[:2]))
    assert (backend.counters().peak_device_bytes or 0) > 0


def test_the_parts_of_a_cycle_of_dflash_fit_into_it(load, requests):
    backend = load("dflash", "tiny:target", GPU)
    alone(backend, requests()[:1])  # the first kernels load
    cycles = [step for request in requests() for _, step in measure(backend, [request]).rows[0].steps][1:]
    cycles = [step for step in cycles if step.engine_s is not None]
    assert cycles and all(step.draft_s > 0 and step.verify_s > 0 for step in cycles)
    # by the device's clock and the host's: they agree to the time that an event takes
    assert all(step.draft_s + step.verify_s < step.engine_s + 1e-4 for step in cycles)
    assert sum(s.draft_s + s.verify_s for s in cycles) > 0.8 * sum(s.engine_s for s in cycles)


def test_a_round_tells_memory_use_and_energy(cli, tmp_path):
    pytest.importorskip("pynvml")
    workload = ("-m", "tiny:target", "--task", "tiny-gsm", "--samples", 4, "--rounds", 1, "-o", tmp_path / "o")
    ended = cli("run", "-b", "transformers", "-d", GPU, *workload, "--json")
    assert ended.code == 0, ended.err
    figures = "peak_device_bytes, device_use, device_clock_hz, energy_j, device_other_processes"
    ((peak, use, clock_hz, energy_j, others),) = cli(
        "query", f"select {figures} from runs", tmp_path / "o", "--json"
    ).rows
    assert peak > 2**20 and clock_hz > 1e8 and 0 <= use <= 1 and others >= 0
    assert energy_j is None or energy_j > 0


def test_tinygrad_writes_what_transformers_writes(cli, tmp_path):
    if find_spec("tinygrad") is None:
        pytest.skip("tinygrad is not installed")
    if "cuda" not in cli("backends", "--devices", "--json").out:
        pytest.skip("tinygrad opens no CUDA device")
    chosen = ("-b", "transformers", "-b", "tinygrad", "-q", "none", "-q", "float32", "-d", GPU)
    ended = cli("parity", *chosen, "-m", "tiny:target", "--task", "tiny-gsm", "--samples", 6, "-o", tmp_path, "--json")
    assert ended.code == 0, ended.err
    assert [row["verdict"] for row in ended.json["rows"]] == ["reference", "identical"]


def test_an_interrupted_run_leaves_nothing_on_the_device(cli, tmp_path):
    if shutil.which("nvidia-smi") is None:
        pytest.skip("nvidia-smi is not on the PATH")
    workload = ("-m", "tiny:target", "--task", "tiny-gsm", "--samples", 400, "--rounds", 1, "-o", tmp_path / "o")
    process = cli.start("run", "-b", "transformers", "-d", GPU, *workload)
    logs = tmp_path / "o" / "raw" / "transformers"
    try:
        until(lambda: any('"sample"' in log.read_text() for log in logs.glob("*.part")), process)
        before = used_mib()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert used_mib() < before - 100  # a context alone takes more


def used_mib() -> int:
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout)
