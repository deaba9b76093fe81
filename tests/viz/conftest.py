"""Rows and comparisons as the store and ``compare`` give them, made by hand."""

import json
import math

import pytest

from decodebench.collate.comparison.result import (
    Accuracy,
    CellLabel,
    Comparison,
    ComparisonRow,
    Divergence,
    Estimate,
    Parity,
)
from decodebench.core.contract.finding import Finding
from decodebench.core.records.schema import Environment, RecordedStep, Run, Sample
from decodebench.core.records.store import Store

CELLS = (
    # backend, quantisation, bits, tokens/s, right answers of 16
    ("reference", "f32", 32.0, 410.0, 13),
    ("transformers", "f32", 32.0, 655.0, 13),
    ("llama-cpp", "f16", 16.0, 1210.0, 13),
    ("llama-cpp", "q8_0", 8.51, 1475.0, 12),
    ("llama-cpp", "q4_k_m", 4.92, 1502.0, 9),
    ("transformers", "int8", 8.03, 388.0, 12),
)
NOISE = (0.98, 1.0, 1.03)


def head(backend, quantisation, bits, **options):
    return {
        "backend": backend,
        "quantisation": quantisation,
        "bits_per_weight": bits,
        "cell_id": "-".join([backend, quantisation, *map(str, options.values())]),
        "model": "tiny:target",
        "device": "cpu",
        "options": json.dumps({"n_threads": 2} | options),
    }


@pytest.fixture
def round_rows():
    """One row per round of six cells."""
    return [
        head(backend, quantisation, bits)
        | {
            "round": i,
            "started_at": f"2026-01-01T00:0{place}:0{i}+00:00",
            "decode_tokens_per_s": speed * noise,
            "e2e_tokens_per_s": speed * noise * 0.9,
            "accuracy_task": "tiny-gsm 1",
            "accuracy": right / 16,
            "accuracy_low": max(0.0, right / 16 - 0.2),
            "accuracy_high": min(1.0, right / 16 + 0.2),
            "problems": 16,
        }
        for place, (backend, quantisation, bits, speed, right) in enumerate(CELLS)
        for i, noise in enumerate(NOISE)
    ]


@pytest.fixture
def step_rows():
    """Quantiles of step latencies of six cells, first steps apart."""
    rows = []
    for backend, quantisation, bits, speed, _ in CELLS:
        for is_first in (False, True):
            middle = (12.0 if is_first else 1.0) / speed
            quantiles = {"p5": 0.8, "p25": 0.9, "p50": 1.0, "p75": 1.15, "p95": 1.6, "largest": 4.0}
            rows.append(
                head(backend, quantisation, bits)
                | {"is_first": is_first, "is_step": True, "few": None}
                | {"n": 48 if is_first else 4000, "tokens": 48 if is_first else 4000}
                | {name: middle * factor for name, factor in quantiles.items()}
            )
    return rows


def make_row(
    backend="llama-cpp", quantisation="q8_0", verdict="faster", ratio=1.84, parity=None, label=None, **changes
):
    speed = 655.0 * ratio
    values = {
        "cell": CellLabel(
            cell_id=f"{backend}-{quantisation}",
            label=label or f"{backend} {quantisation}",
            backend=backend,
            model="tiny:target",
            quantisation=quantisation,
            bits_per_weight=8.5,
            device="cpu",
        ),
        "rounds": 3,
        "n": 48,
        "metrics": {
            "decode_tokens_per_s": Estimate(value=speed, low=speed * 0.97, high=speed * 1.03, n=3),
            "ttft_s": Estimate(value=0.0123, low=0.012, high=0.0127, n=3),
            "peak_rss_bytes": Estimate(value=3.1e8, low=3.0e8, high=3.2e8, n=3),
            "load_s": Estimate(value=0.412, n=3),
            "e2e_tokens_per_s": Estimate(value=speed * 0.9, low=speed * 0.88, high=speed * 0.92, n=3),
        },
        "ratio": Estimate(value=ratio, low=ratio * 0.96, high=ratio * 1.04, n=3),
        "ratio_simultaneous": Estimate(value=ratio, low=ratio * 0.94, high=ratio * 1.06, n=3),
        "ratio_geomean": Estimate(value=ratio, low=ratio * 0.96, high=ratio * 1.04, n=16),
        "p_value": 0.002,
        "verdict": verdict,
        "parity": parity or Parity(verdict="identical", identical=16, compared=16),
        "accuracy": Accuracy(task="tiny-gsm 1", value=Estimate(value=0.8125, low=0.57, high=0.934, n=16)),
    }
    return ComparisonRow(**(values | changes))


DIVERGENCE = Divergence(
    sample_id="tiny-gsm/1/4", position=17, baseline_token=12, token=77, logprob_gap=0.41, top2_margin=0.41
)


@pytest.fixture
def comparison():
    """Four cells with every kind of verdict that a reader meets."""
    return Comparison(
        experiment="demo",
        baseline="transformers f32",
        by="backend",
        metric="decode_tokens_per_s",
        min_effect=0.02,
        comparisons=3,
        rows=(
            make_row(
                "transformers",
                "f32",
                "baseline",
                1.0,
                Parity(verdict="baseline", identical=16, compared=16),
                p_value=None,
            ),
            make_row(),
            make_row(
                "llama-cpp",
                "q4_k_m",
                "no difference shown",
                1.02,
                Parity(verdict="differs", identical=11, compared=16, divergences=(DIVERGENCE,)),
            ),
            make_row(
                "reference", "f32", "slower", 0.63, Parity(verdict="not comparable", reason="sampled, not greedy")
            ),
        ),
        warnings=("llama-cpp ran on 2 threads, transformers on 1",),
        findings=(Finding(check="outliers", severity="warning", text="reference f32: round 2 took 1.4 times as long"),),
    )


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


def wobble(*place: int) -> float:
    """Return noise of a few per cent that is the same each time and on each machine."""
    return 1 + 0.03 * math.sin(sum(7.3 * (i + 1) * number for i, number in enumerate(place)))


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


def add_matrix(writer, experiment="matrix", hosts=("box",), rounds=3, cells=MATRIX):
    """Autoregressive cells with all their steps, scored."""
    for at, (backend, quantisation, bits, speed, right, computed, counted) in enumerate(cells):
        for place, host in enumerate(hosts):
            for number in range(rounds):
                run = base_run(
                    experiment, backend, quantisation, number, bits_per_weight=bits, cell_index=at, order=at,
                    run_id=f"{experiment}-{at}-{host}-{number}", environment=machine(host), read_weight_bytes=computed,
                    weight_bytes=None if backend == "mine" else computed or counted,
                )  # fmt: skip
                pace = 1 / (speed * wobble(at, number) * (1 - 0.3 * place))
                samples, steps = [], []
                for index in range(PROBLEMS):
                    now = 0.0
                    for step in range(TOKENS):
                        took = pace * wobble(index, step) * (12 if step == 0 else 1)
                        now += took
                        one = {"run_id": run.run_id, "sample": index, "index": step, "t_s": now, "step_s": took}
                        steps.append(RecordedStep(**one, tokens=1, forwards=1, bytes_read=counted))
                    samples.append(
                        Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", prompt_tokens=40,
                               score=index < right, prompt_hash=f"h{index}", output_tokens=TOKENS, duration_s=now,
                               finish="length",
                               output_ids=tuple(range(TOKENS - (index < at))) + (0,) * (index < at))
                    )  # fmt: skip
                writer.add(run, samples, steps)


def add_speculation(writer):
    """Draft-verify cycles of four block sizes, one of them with candidates."""
    for at, (block, candidates) in enumerate(((2, None), (4, None), (8, None), (16, None))):
        for number in range(3):
            run = base_run(
                "speculation", "dflash", "none", number, kind="speculative", cell_index=at, cell_id=f"block-{block}",
                options={"block_size": block, "candidates": 4}, changed_options=("block_size",),
                run_id=f"speculation-{block}-{number}",
            )  # fmt: skip
            samples, steps = [], []
            for index in range(PROBLEMS):
                now, tokens = 0.05, 1
                steps.append(RecordedStep(run_id=run.run_id, sample=index, index=0, t_s=now, step_s=now, tokens=1))
                for cycle in range(1, 9):
                    tau = 1 + int((block - 1) * abs(math.sin(index * 1.7 + cycle * 2.3 + at)))
                    took = (3 + 0.4 * block) * wobble(index, cycle, number) / 1e3
                    now, tokens = now + took, tokens + tau
                    steps.append(
                        RecordedStep(run_id=run.run_id, sample=index, index=cycle, t_s=now, step_s=took, tokens=tau,
                             block_size=block, drafted=block - 1, accepted=tau - 1, draft_s=took * 0.3,
                             verify_s=took * 0.6, candidates=candidates or 1 + cycle % 4)
                    )  # fmt: skip
                samples.append(Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", output_tokens=tokens,
                                      duration_s=now, finish="stop"))  # fmt: skip
            writer.add(run, samples, steps)


def add_diffusion(writer, option, values):
    """A sweep over an option of a diffusion model, scored, one figure per sample."""
    for at, value in enumerate(values):
        for number in range(3):
            run = base_run(
                option, "fast-dllm", "none", number, kind="diffusion", cell_index=at, cell_id=f"{option}-{value}",
                options={option: value}, run_id=f"{option}-{value}-{number}",
            )  # fmt: skip
            samples = [
                Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", output_tokens=64,
                       score=index < 18 - 3 * at, duration_s=0.8 / (1 + at) * wobble(index, number))
                for index in range(PROBLEMS)
            ]  # fmt: skip
            writer.add(run, samples, [])


def add_load(writer):
    """Two engines at four loads; the second one is slower alone and overtakes the first."""
    for at, (backend, alone, gain) in enumerate((("transformers", 100, 0.3), ("llama-cpp", 70, 0.8))):
        for place, load in enumerate((1, 2, 4, 8)):
            for number in range(3):
                run = base_run(
                    "load", backend, "none", number, cell_index=4 * at + place, order=0, cell_id=f"{backend}-{load}",
                    options={"concurrency": load}, changed_options=("concurrency",), workload={"concurrency": [load]},
                    run_id=f"load-{at}-{load}-{number}",
                )  # fmt: skip
                took = load ** (1 - gain) * wobble(at, place, number) * 10 / alone
                samples = [
                    Sample(run_id=run.run_id, index=index, sample_id=f"p{index}", output_tokens=10, duration_s=took,
                           first_token_s=took / 10, due_s=0.0, start_s=0.0, batch=0, batch_s=took * PROBLEMS / load)
                    for index in range(PROBLEMS)
                ]  # fmt: skip
                writer.add(run, samples, [])


@pytest.fixture(scope="session")
def reference_store(tmp_path_factory):
    """A store with what every figure needs: experiments matrix, hosts, speculation, block_length, steps and load."""
    folder = tmp_path_factory.mktemp("references")
    with Store.open(folder, read_only=False) as writer, writer.transaction():
        add_matrix(writer)
        add_matrix(writer, "hosts", ("box", "laptop"), rounds=2, cells=MATRIX[:3])
        add_speculation(writer)
        add_diffusion(writer, "block_length", (4, 8, 16, 32))
        add_diffusion(writer, "steps", (32, 64, 128))
        add_load(writer)
    with Store.open(folder) as store:
        yield store
