"""Presets: listed, expanded for a model, overridden, and run to figures and tables."""

from __future__ import annotations

import pytest

COMMON = ("-m", "random:qwen3-30m", "--prompt-tokens", 6, "--output-tokens", 8, "--warmup", 0)


def test_presets_are_listed_with_what_they_vary(cli):
    listed = {row["sweep"]: row for row in cli("sweep", "--json").json}
    named = {"block-size", "schedulers", "fixed-prefix", "quantisations", "block", "steps", "two-stage"}
    assert named <= set(listed)
    assert listed["block-size"]["plugin"] == "dflash"
    assert "block sizes" in listed["block-size"]["varies"]
    assert "block-size" in cli("sweep", "--list").out


@pytest.mark.parametrize(
    ("name", "cells"), [("schedulers", 7), ("candidates", 13), ("seeding", 6), ("fixed-prefix", 14)]
)
def test_a_preset_is_a_matrix_with_a_baseline(cli, name, cells):
    plan = cli("sweep", name, *COMMON, "--dry-run", "--no-probe", "--json").json
    assert len(plan["cells"]) == cells
    assert plan["cells"][0]["options"]["block_size"] == 1


def test_block_sizes_are_the_published_ones(cli):
    ended = cli("sweep", "block-size", *COMMON, "--dry-run", "--no-probe", "--json")
    assert [cell["options"]["block_size"] for cell in ended.json["cells"]] == [1, 4, 8, 12, 16, 20, 24]


def test_quantisations_are_swept_over_the_engines_that_are_here(cli):
    ended = cli("sweep", "quantisations", *COMMON, "--dry-run", "--no-probe", "--json")
    assert ended.code == 0, ended.err
    here = {entry["name"] for entry in cli("backends", "--json").json if entry["available"]}
    wanted = {"transformers", "llama-cpp", "tinygrad", "mlx", "mlc"}
    assert {cell["backend"] for cell in ended.json["cells"]} == here & wanted
    assert all(f"backend '{name}'" in ended.err for name in wanted - here)
    first = ended.json["cells"][0]
    assert (first["backend"], first["options"]["dtype"]) == ("transformers", "float32")


def test_an_option_is_set_in_every_cell(cli):
    plan = cli("sweep", "schedulers", *COMMON, "--set", "dtype=bfloat16", "--dry-run", "--no-probe", "--json").json
    assert {cell["options"]["dtype"] for cell in plan["cells"]} == {"bfloat16"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("block-sise", "-m", "tiny:target"), "did you mean 'block-size'"),
        (("block-size",), "give -m MODEL"),
        (("block-size", *COMMON, "--set", "blok=3"), "blok"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(cli, arguments, words):
    ended = cli("sweep", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


@pytest.mark.nightly
def test_a_sweep_ends_with_its_figures_and_its_table(cli, tmp_path):
    ended = cli(
        "sweep",
        "block-size",
        *COMMON,
        "--samples",
        2,
        "--rounds",
        1,
        "--set",
        "block_size=1,8",
        "-o",
        tmp_path,
        "--json",
    )
    assert ended.code == 0, ended.err
    assert ended.json["experiment"] == "block-size-random-qwen3-30m"
    assert len(ended.json["comparison"]["rows"]) == 2
    assert (tmp_path / "figures" / "block-size-random-qwen3-30m_block_size_tau.png").is_file()
    tables = list((tmp_path / "block-size").glob("*summary.csv"))
    assert len(tables) == 1
    assert "block_size" in tables[0].read_text().splitlines()[0]
