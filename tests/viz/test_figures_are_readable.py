"""Every figure under the linter: 2, 14 and 40 cells, and data that are hard to draw; on a page and on a slide."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from decodebench.collate.comparison.compare import compare
from decodebench.core.errors import UsageError
from decodebench.core.isolation.plugins import all_plugins
from decodebench.viz.drawing import style
from decodebench.viz.drawing.declarations import declared
from decodebench.viz.plot import draw, read
from decodebench.viz.slides.pictures import LOOK as SLIDE

from .figure_data import add_all, add_hard, opened
from .figure_linter import faults_of
from .test_references import FIGURES, experiment_of

pytestmark = pytest.mark.nightly

ADDERS = {"2": partial(add_all, count=2), "14": partial(add_all, count=14), "40": partial(add_all, count=40)}
ADDERS["hard"] = add_hard
LOOKS = {"page": style.STYLES["page"], "slide": SLIDE, "paper": style.STYLES["paper"]}


@pytest.fixture(scope="module", params=ADDERS)
def stored(request, tmp_path_factory):
    """A store of one size with the comparison of each of its experiments."""
    with opened(tmp_path_factory.mktemp("figures"), ADDERS[request.param]) as store:
        names = {experiment_of(figure) for figure in FIGURES}
        yield store, {name: compare(store, experiment=name) for name in names}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.id)
def test_a_figure_has_no_fault(stored, figure, look):
    store, comparisons = stored
    rows = read(store, figure, comparisons[experiment_of(figure)])
    with declared(all_plugins().backends), style.applied(figure.id, replace(LOOKS[look], dpi=100)):
        try:
            canvas = draw(figure, rows)
        except UsageError:
            return  # it says what it lacks
        colours = {row["backend"]: style.look_of(row["backend"])[0] for row in rows if "backend" in row}
        assert faults_of(canvas, colours) == []
