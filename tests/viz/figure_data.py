"""Records of every kind that a figure shows, made by hand: the same each time and on each machine."""

from __future__ import annotations

import math
from typing import Any

from decodebench.core.records.schema import Environment, RecordedStep, Run, Sample
from decodebench.core.records.store import Store

LADDER = {"1000000": 30e9, "16000000": 12e9, "256000000": 9e9}
MATRIX = (
    # backend, quantisation, bits, tokens/s, right answers of 20, bytes a token reads, bytes the engine counts
    ("transformers", "none", 32.0, 300.0, 16, 8_000_000, None),
    ("transformers", "int8", 9.4, 190.0, 15, 2_600_000, None),
    ("llama-cpp", "f16", 16.0, 700.0, 16, 4_200_000, None),
    ("llama-cpp", "q8_0", 8.5, 900.0, 16, 2_300_000, None),
    ("llama-cpp", "q4_k_m", 4.9, 950.0, 11, 1_500_000, None),
    ("tinygrad", "q8_0", 8.5, 420.0, 16, None, 2_400_000),
    ("mine", "w4", 4.5, 640.0, 12, None, None),
)
PROBLEMS, TOKENS = 20, 24


def wobble(*place: int, noise: float = 1.0) -> float:
    """Return noise of a few per cent, times ``noise``, that is the same each time and on each machine."""
    return math.exp(noise * math.log1p(0.03 * math.sin(sum(7.3 * (i + 1) * number for i, number in enumerate(place)))))


def base_run(experiment, backend, quantisation, number, **more):
    values = {
        "run_id": f"{experiment}-{backend}-{quantisation}-{more.get('cell_id', '')}-{number}",
        "experiment": experiment, "cell_id": f"{experiment}-{backend}-{quantisation}", "round": number,
        "backend": backend, "model": "tiny:target", "model_hash": "m", "quantisation": quantisation, "device": "cpu",
        "started_at": f"2026-01-0{1 + number}T00:00:00+00:00", "task": "tiny-gsm", "task_version": "1",
        "samples": PROBLEMS, "warmup": 0, "max_new_tokens": 64, "batch_size": 1, "parameters": 2_000_000,
        "kv_bytes_per_token": 0, "sampling": {"temperature": 0.0},
        "first_step_is_prefill": True, "import_s": 0.8, "load_s": 0.3,
    }  # fmt: skip
    return Run(**{**values, **more})


def machine(hostname, **more):
    return Environment(
        hostname=hostname, platform="Linux", cpu_model="A CPU", cores_used=2, python="3.12", packages={"torch": "2.0"},
        memory_bandwidth=LADDER, memory_bandwidth_1_thread={"1000000": 14e9}, matrix_flops_per_s=2e10, **more,
    )  # fmt: skip


def add_matrix(writer, experiment="matrix", hosts=("box",), rounds=3, cells=MATRIX, noise=1.0, problems=PROBLEMS):
    """Autoregressive cells with all their steps, scored where a number of right answers is given."""
    for at, (backend, quantisation, bits, speed, right, computed, counted) in enumerate(cells):
        for place, host in enumerate(hosts):
            for number in range(rounds):
                run = base_run(
                    experiment, backend, quantisation, number, bits_per_weight=bits, cell_index=at, order=at,
                    run_id=f"{experiment}-{at}-{host}-{number}", environment=machine(host), read_weight_bytes=computed,
                    weight_bytes=None if backend == "mine" else computed or counted,
                )  # fmt: skip
                pace = 1 / (speed * wobble(at, number, noise=noise) * (1 - 0.3 * place))
                samples, steps = [], []
                for index in range(problems):
                    now = 0.0
                    for step in range(TOKENS):
                        took = pace * wobble(index, step) * (12 if step == 0 else 1)
                        now += took
                        one = {"run_id": run.run_id, "sample": index, "index": step, "t_s": now, "step_s": took}
                        steps.append(RecordedStep(**one, tokens=1, forwards=1, bytes_read=counted))
                    samples.append(
                        Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", prompt_tokens=40,
                               score=None if right is None else index < right, prompt_hash=f"h{index}",
                               output_tokens=TOKENS, duration_s=now, finish="length",
                               output_ids=tuple(range(TOKENS - (index < at))) + (0,) * (index < at))
                    )  # fmt: skip
                writer.add(run, samples, steps)


def add_speculation(writer, blocks=(2, 4, 8, 16), drafts=(None,), rounds=3, noise=1.0, problems=PROBLEMS):
    """Draft-verify cycles of some block sizes, each with every draft model."""
    for at, (block, draft) in enumerate((block, draft) for draft in drafts for block in blocks):
        for number in range(rounds):
            own = {"block_size": block, "candidates": 4} | ({} if draft is None else {"draft": draft})
            run = base_run(
                "speculation", "dflash", "none", number, kind="speculative", cell_index=at,
                cell_id=f"block-{block}-{draft or ''}", options=own,
                changed_options=("block_size",) if draft is None else ("block_size", "draft"),
                run_id=f"speculation-{at}-{number}",
            )  # fmt: skip
            samples, steps = [], []
            for index in range(problems):
                now, tokens = 0.05, 1
                steps.append(RecordedStep(run_id=run.run_id, sample=index, index=0, t_s=now, step_s=now, tokens=1))
                for cycle in range(1, 9):
                    tau = 1 + int((block - 1) * abs(math.sin(index * 1.7 + cycle * 2.3 + at)))
                    took = (3 + 0.4 * block) * wobble(index, cycle, number, noise=noise) / 1e3
                    now, tokens = now + took, tokens + tau
                    steps.append(
                        RecordedStep(run_id=run.run_id, sample=index, index=cycle, t_s=now, step_s=took, tokens=tau,
                             block_size=block, drafted=block - 1, accepted=tau - 1, draft_s=took * 0.3,
                             verify_s=took * 0.6, candidates=1 + cycle % 4)
                    )  # fmt: skip
                samples.append(Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", output_tokens=tokens,
                                      duration_s=now, finish="stop"))  # fmt: skip
            writer.add(run, samples, steps)


def add_diffusion(writer, option, values, rounds=3, noise=1.0):
    """A sweep over an option of a diffusion model, scored, one figure per sample."""
    for at, value in enumerate(values):
        for number in range(rounds):
            run = base_run(
                option, "fast-dllm", "none", number, kind="diffusion", cell_index=at, cell_id=f"{option}-{value}",
                options={option: value}, run_id=f"{option}-{value}-{number}",
            )  # fmt: skip
            samples = [
                Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", output_tokens=64,
                       score=index < max(18 - 3 * at, 1),
                       duration_s=0.8 / (1 + at) * wobble(index, number, noise=noise))
                for index in range(PROBLEMS)
            ]  # fmt: skip
            writer.add(run, samples, [])


ENGINES = (("transformers", 100, 0.3), ("llama-cpp", 70, 0.8))


def add_load(writer, engines=ENGINES, loads=(1, 2, 4, 8), rounds=3, noise=1.0):
    """Engines at several loads; of the usual two the second one is slower alone and overtakes the first."""
    for at, (backend, alone, gain) in enumerate(engines):
        for place, load in enumerate(loads):
            for number in range(rounds):
                run = base_run(
                    "load", backend, "none", number, cell_index=len(loads) * at + place, order=0,
                    cell_id=f"{backend}-{load}", options={"concurrency": load}, changed_options=("concurrency",),
                    workload={"concurrency": [load]}, run_id=f"load-{at}-{load}-{number}",
                )  # fmt: skip
                took = load ** (1 - gain) * wobble(at, place, number, noise=noise) * 10 / alone
                samples = [
                    Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", output_tokens=10, duration_s=took,
                           first_token_s=took / 10, due_s=0.0, start_s=0.0, batch=0, batch_s=took * PROBLEMS / load)
                    for index in range(PROBLEMS)
                ]  # fmt: skip
                writer.add(run, samples, [])


BACKENDS = (
    "transformers",
    "llama-cpp",
    "tinygrad",
    "mlc",
    "draft-target",
    "fast-dllm",
    "dflash",
    "openai",
    "mine",
    "x",
)
FORMATS = (("q8_0", 8.5), ("none", 32.0), ("q4_k_m", 4.9), ("f16", 16.0))


def matrix_of(count: int) -> list[tuple[Any, ...]]:
    """Return so many cells: backends one after the other in every format, of speeds within a decade."""
    pairs = [(backend, *form) for form in FORMATS for backend in BACKENDS][:count]
    return [(backend, form, bits, 180.0 + 97 * (at * 7 % 11), 3 + at % 15, int(bits * 25e4), None)
            for at, (backend, form, bits) in enumerate(pairs)]  # fmt: skip


HARD = (
    # speeds over three decades, long names, unknown widths, scores and bytes
    ("transformers", "none", 32.0, 3.2, 16, 8_000_000, None),
    ("llama-cpp", "q8_0", 8.5, 4100.0, 15, 2_300_000, None),
    ("tinygrad", "a-rather-long-name-of-a-weight-format-q4_k_m", None, 420.0, None, None, None),
    ("an-engine-whose-name-is-rather-long-as-well", "w4a16-g128-symmetric", 4.5, 95.0, None, None, None),
    ("mine", "w4", None, 640.0, 12, None, None),
)


def add_all(writer: Any, count: int) -> None:
    """Add every kind of experiment with so many cells, two rounds apart by a few per cent."""
    half = max(count // 2, 1)
    add_matrix(writer, cells=matrix_of(count), problems=6)
    add_matrix(writer, "hosts", ("box", "laptop"), rounds=2, cells=matrix_of(half), problems=6)
    drafts = (None,) if count < 14 else tuple(f"draft-{i}" for i in range(count // 7))
    add_speculation(writer, tuple(2 + 2 * i for i in range(count // len(drafts))), drafts, problems=6)
    add_diffusion(writer, "block_length", [4 * (1 + at) for at in range(count)])
    add_diffusion(writer, "steps", [32 * (1 + at) for at in range(count)])
    engines = [(backend, 60 + 13 * at, 0.2 + 0.06 * at) for at, backend in enumerate(BACKENDS[: max(count // 4, 1)])]
    add_load(writer, engines, [2**at for at in range(count // len(engines))])


def add_hard(writer: Any) -> None:
    """Add every kind of experiment with two noisy rounds, facts missing, values over several decades."""
    hard = {"rounds": 2, "noise": 25.0}
    add_matrix(writer, cells=HARD, problems=6, **hard)
    add_matrix(writer, "hosts", ("box", "a-host-of-a-cluster-with-a-long-name.example.org"), cells=HARD[:3], **hard)
    add_speculation(writer, (2, 16, 24), ("a-draft-model-with-a-rather-long-name", "b"), problems=6, **hard)
    add_diffusion(writer, "block_length", (4, 8, 256), **hard)
    add_diffusion(writer, "steps", (8, 9, 10, 256), **hard)
    add_load(
        writer,
        (("transformers", 3, 0.1), ("an-engine-whose-name-is-rather-long-as-well", 900, 0.9)),
        (1, 3, 64),
        **hard,
    )


def opened(folder: Any, *adders: Any) -> Store:
    """Write records into a new store and open it."""
    with Store.open(folder, read_only=False) as writer, writer.transaction():
        for add in adders:
            add(writer)
    return Store.open(folder)
