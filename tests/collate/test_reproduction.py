"""Two measurements of the same cells: a changed ratio is told from scatter."""

from __future__ import annotations

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.comparison.reproduction import reproduction
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


def test_ratios_that_changed_are_told_from_those_that_scatter(logs, make_sample, make_steps):
    for name, factor in (("then", 0.5), ("now", 0.6), ("later", 0.505)):
        for cell, gap in (("a", 0.1), ("b", 0.1 * factor)):
            for index, at in enumerate((-1, 0, 1, 0.5)):
                own = gap * (1 + 0.02 * at * (cell == "b"))
                content = [make_sample(i, make_steps(n=6, gap=own)) for i in range(3)]
                run = f"{name}-{cell}-{index}"
                logs.write(cell, index, content, f"{run}.jsonl", experiment=name, run_id=run, samples=3)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        changed = reproduction(store, "then", "now", is_same_host=True)
        same = reproduction(store, "then", "later", is_same_host=True)
    assert [cell.ratio for cell in changed.cells] == ["baseline", "different"] and not changed.is_reproduced
    assert [cell.ratio for cell in same.cells] == ["baseline", "not different"] and same.is_reproduced
    assert [cell.outputs for cell in changed.cells] == ["same", "same"]
    assert changed.cells[1].before.value == pytest.approx(2, rel=0.01)
    assert changed.cells[1].change.value == pytest.approx(0.5 / 0.6, rel=0.01)
