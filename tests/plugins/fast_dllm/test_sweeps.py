"""The two-stage design end to end: presets, their tables, their figures."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from decodebench import UsageError
from decodebench.core.measure.plan import build
from decodebench.plugins.fast_dllm.sweeps import blocks, steps, two_stages
from decodebench.plugins.reference.family import WEIGHTS_FOLDER

from ..models import resolve
from .checkpoints import save


def options(made, *names):
    return [tuple(cell["options"].get(name) for name in names) for cell in made.cells]


def test_published_lengths_for_a_real_model_and_fewer_for_a_small_one(tmp_path):
    real = resolve(save(tmp_path / "llada", "llada", d_model=4096, n_heads=32, n_kv_heads=32))
    assert options(blocks(real), "block_length") == [(4,), (8,), (16,), (32,), (64,), (128,), (256,)]
    assert options(blocks(real), "gen_length", "threshold", "steps")[0] == (256, 0.9, None)
    assert options(steps(real), "steps") == [(8,), (16,), (32,), (64,), (128,), (256,)]
    assert options(steps(real), "block_length", "threshold")[0] == (32, None)
    both = options(two_stages(real), "block_length", "steps")
    assert both == [*options(blocks(real), "block_length", "steps"), *options(steps(real), "block_length", "steps")]
    assert blocks(real).notes == () or list(blocks(real).notes) == []
    small = resolve(WEIGHTS_FOLDER / "llada")
    assert options(steps(small), "steps") == [(4,), (8,), (16,), (32,), (64,), (128,)]
    assert "is small: steps from one per block of 32 to 128" in steps(small).notes[0]


def test_a_v2_model_is_swept_up_to_its_own_block_and_has_no_steps(tmp_path):
    model = resolve(WEIGHTS_FOLDER / "block-diffusion")
    assert options(blocks(model), "block_length") == [(4,), (8,), (16,)]
    assert "up to the one that it was trained with" in blocks(model).notes[0]
    with pytest.raises(UsageError, match="which has no number of steps"):
        steps(model)


@pytest.mark.nightly
def test_the_block_sweep_writes_its_table_and_its_figure(cli, tmp_path):
    small = ["--samples", 4, "--rounds", 2, "--warmup", 0, "--set", "n_threads=1", "-o", tmp_path]
    ended = cli("sweep", "block", "-m", "tiny:block-diffusion", "--task", "tiny-gsm", *small)
    assert ended.code == 0, ended.err
    assert "block lengths 4, 8, 16" in ended.out + ended.err
    (table,) = (tmp_path / "block").glob("*.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert list(rows[0]) == ["run_name", "block_length", "steps", "accuracy", "throughput"]
    assert [row["block_length"] for row in rows] == ["4", "8", "16"]
    assert [int(row["steps"]) * int(row["block_length"]) for row in rows] == [int(rows[0]["steps"]) * 4] * 3
    assert all(0 <= float(row["accuracy"]) <= 1 and float(row["throughput"]) > 0 for row in rows)
    (figure,) = (tmp_path / "figures").glob("*block_sweep.png")
    assert figure.stat().st_size > 10_000
    drawn = cli("plot", tmp_path, "--figure", "block_sweep", "--format", "svg", "--to", tmp_path, "--json").json[0]
    text = Path(drawn).read_text(encoding="utf-8")
    assert "accuracy (%)" in text and "throughput (tokens/s, prefill included)" in text and "n = 4 problems" in text
    missing = cli("plot", tmp_path, "--figure", "step_sweep")
    assert missing.code == 2 and "no finished rounds of a diffusion model" in missing.err


def test_a_step_sweep_of_llada_is_a_valid_plan(cli, tmp_path):
    ended = cli(
        "sweep", "steps", "-m", "tiny:llada", "--task", "tiny-gsm", "--dry-run", "--no-probe", "--json", "-o", tmp_path
    )
    assert ended.code == 0, ended.err
    assert [cell["options"]["steps"] for cell in ended.json["cells"]] == [4, 8, 16, 32, 64, 128]


def test_cells_of_the_presets_are_plans():
    for made in (blocks(resolve(WEIGHTS_FOLDER / "llada")), steps(resolve(WEIGHTS_FOLDER / "llada"))):
        cells = [{**cell, "model": "tiny:llada"} for cell in made.cells]
        assert len(build({"name": "x", "cells": cells}, "test").cells) == len(made.cells)
