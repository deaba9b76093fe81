"""Every built-in figure against a stored image; `make references` draws them anew after a change that is meant."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from decodebench.collate.comparison.compare import compare
from decodebench.core.isolation.plugins import all_plugins
from decodebench.plugins import dflash, fast_dllm
from decodebench.viz.drawing import style
from decodebench.viz.drawing.declarations import declared
from decodebench.viz.figures import backend_comparison, decodebench_figures
from decodebench.viz.plot import draw, image, read

from ..at_night import a_few
from .figure_linter import faults_of

FIGURES = [*decodebench_figures(), *dflash.decodebench_figures(), *fast_dllm.decodebench_figures()]
REFERENCES = Path(__file__).parent / "references"
LOOK = replace(style.STYLES["page"], dpi=50)
TOLERANCE = 0.04  # root mean square over all pixels, of 1; another matplotlib moves text by a pixel
EXPERIMENTS = {"device_comparison": "hosts", "block_sweep": "block_length", "step_sweep": "steps"}


def experiment_of(figure) -> str:
    return EXPERIMENTS.get(figure.id, figure.topic if figure.topic in ("speculation", "load") else "matrix")


@pytest.fixture(scope="module")
def comparisons(reference_store):
    names = {experiment_of(figure) for figure in FIGURES}
    return {name: compare(reference_store, experiment=name) for name in names}


def distance(ours: bytes, theirs: bytes) -> float:
    a, b = imread(BytesIO(ours)), imread(BytesIO(theirs))
    assert a.shape == b.shape, f"{a.shape} instead of {b.shape}"
    return float(np.sqrt(np.mean((a[..., :3] - b[..., :3]) ** 2)))


@pytest.mark.parametrize("figure", a_few(4, FIGURES), ids=lambda figure: figure.id)
def test_a_figure_looks_as_stored(reference_store, comparisons, figure, pytestconfig):
    rows = read(reference_store, figure, comparisons[experiment_of(figure)])
    with declared(all_plugins().backends), style.applied(figure.id, LOOK):
        canvas = draw(figure, rows)
        drawn = style.to_bytes(canvas, "png")
        colours = {row["backend"]: style.look_of(row["backend"])[0] for row in rows if "backend" in row}
        assert faults_of(canvas, colours) == []
    stored = REFERENCES / f"{figure.id}.png"
    if pytestconfig.getoption("--write-references"):
        stored.parent.mkdir(exist_ok=True)
        stored.write_bytes(drawn)
    assert distance(drawn, stored.read_bytes()) < TOLERANCE


def test_no_reference_is_left_over():
    assert {path.stem for path in REFERENCES.glob("*.png")} == {figure.id for figure in FIGURES}


def test_another_figure_would_be_noticed(reference_store, comparisons):
    figure = backend_comparison.FIGURE
    rows = read(reference_store, figure, comparisons["matrix"])
    stored = (REFERENCES / f"{figure.id}.png").read_bytes()
    slower = [row | {"decode_tokens_per_s": row["decode_tokens_per_s"] * 0.7} if row["backend"] == "tinygrad" else row
              for row in rows]  # fmt: skip
    with declared(all_plugins().backends):
        assert distance(image(figure, slower, "png", look=LOOK), stored) > TOLERANCE
