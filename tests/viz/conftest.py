"""Rows and comparisons as the store and ``compare`` give them, made by hand."""

import json

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

from .browser import open_browser
from .figure_data import MATRIX, add_diffusion, add_load, add_matrix, add_speculation, opened

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
            weight_format=quantisation,
            bits_per_weight=8.5,
            device="cpu",
        ),
        "baseline": "transformers f32",
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


@pytest.fixture(scope="session")
def reference_store(tmp_path_factory):
    """A store with what every figure needs: experiments matrix, hosts, speculation, block_length, steps and load."""
    store = opened(
        tmp_path_factory.mktemp("references"),
        add_matrix,
        lambda writer: add_matrix(writer, "hosts", ("box", "laptop"), rounds=2, cells=MATRIX[:3]),
        add_speculation,
        lambda writer: add_diffusion(writer, "block_length", (4, 8, 16, 32)),
        lambda writer: add_diffusion(writer, "steps", (32, 64, 128)),
        add_load,
    )
    with store:
        yield store


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One browser, which all tests of the page share."""
    with open_browser(tmp_path_factory.mktemp("profile")) as opened_page:
        yield opened_page
