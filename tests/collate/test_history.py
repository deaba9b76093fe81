"""A metric over experiments: the same cell each time, and what changed in between."""

from __future__ import annotations

import pytest

from decodebench import UsageError
from decodebench.collate.collate import collate
from decodebench.collate.comparison.history import history
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store
from decodebench.viz.history import draw_history

from ..refusals import refused


def test_a_cell_is_followed_over_experiments_with_what_changed(logs, make_sample, make_steps, tmp_path):
    for day, (name, gap, version) in enumerate((("old", 0.1, "1.0"), ("new", 0.05, "1.0"), ("newer", 0.04, "2.0"))):
        for index in range(2):
            content = [make_sample(i, make_steps(n=6, gap=gap)) for i in range(2)]
            more = {"experiment": name, "started_at": f"2026-01-0{day + 1}T00:00:0{index}+00:00"}
            for cell in ("a", "b")[: 2 - bool(day)]:
                run = f"{name}-{cell}-{index}"
                logs.write(cell, index, content, f"{run}.jsonl", run_id=run, backend_version=version, **more)
    assert collate(logs.folder, all_plugins()).problems == ()
    with Store.open(logs.folder) as store:
        found = history(store)
        assert history(store, "ttft_s").series[0].points[0].value.value == pytest.approx(0.5)
        for metric, words in (("ttft", "did you mean"), ("accuracy", "problems"), ("energy_j_per_token", "metric")):
            with pytest.raises(UsageError, match=words):
                history(store, metric)
    assert (found.metric, found.unit) == ("decode_tokens_per_s", "tokens/s")
    assert [(one.backend, len(one.points)) for one in found.series] == [("a", 3), ("b", 1)]
    points = found.series[0].points
    assert [point.experiment for point in points] == ["old", "new", "newer"]
    assert [point.value.value for point in points] == pytest.approx([10, 20, 25])
    assert [point.changed for point in points] == [(), (), ("backend_version",)]
    image = draw_history(found, tmp_path / "history.svg").read_text(encoding="utf-8")
    assert image.startswith("<?xml") and draw_history(found, tmp_path / "history.png").stat().st_size > 1000
    with refused("wrong-suffix", "svg"):
        draw_history(found, tmp_path / "history.gif")
