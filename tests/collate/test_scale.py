"""Nothing that a comparison does grows faster than what it compares."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from benchmarks.scale import cost_of, write_attempts, write_cells, write_samples
from decodebench.collate.comparison.attempts import mean_over_problems
from decodebench.core.records.cell_names import CellTraits, name_cells

COMPARE = (sys.executable, "-m", "decodebench", "compare")


def test_thousands_of_cells_are_named_in_a_second():
    def traits(n):
        options = {f"o{i}": str(n % (i + 2)) for i in range(20)} | {"n": str(n)}
        where = {"backend": "b", "model": "m", "quantisation": "q", "device": "cpu"}
        return CellTraits(f"{n:08x}", where, None, options, ("n", "o0"))

    start = time.process_time()
    names = name_cells([traits(n) for n in range(5000)])
    assert time.process_time() - start < 1.5
    assert len({name.label for name in names.values()}) == 5000
    assert names["00000007"].told == ("o0", "n")


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.0, 0.25, 0.5, 1.0], np.linspace(0, 1, 100_000)], ids=len)
def test_the_bootstrap_over_problems_has_the_spread_of_the_mean(values):
    x = np.random.default_rng(3).choice(values, size=100_000)
    start = time.process_time()
    found = mean_over_problems(x)
    assert time.process_time() - start < 3
    half = 1.96 * x.std() / np.sqrt(len(x))
    assert found.value == pytest.approx(x.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("write", "size", "limit_s"),
    [(write_cells, 2000, 10), (write_samples, 100_000, 8), (write_attempts, 100_000, 8)],
    ids=["2000 cells", "100000 samples", "100000 samples, four a problem"],
)
def test_a_large_comparison_takes_seconds(tmp_path, write, size, limit_s):
    write(tmp_path, size)
    cost_of([sys.executable, "-m", "decodebench", "collate", str(tmp_path)], size)
    assert cost_of([*COMPARE, str(tmp_path)], size).cpu_s < limit_s
