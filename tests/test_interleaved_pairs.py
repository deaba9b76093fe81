"""Engines in pairs, in memory together: stopped and continued between samples, each says what it says alone."""

from __future__ import annotations

from itertools import combinations

import pytest

from decodebench.core.host.availability import availability
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store
from decodebench.core.sdk.models import example_model

BUILT_IN = ("dflash", "draft-target", "fast-dllm", "llama-cpp", "mlc", "mlx", "tinygrad", "transformers")
SQL = """
    SELECT r.backend, s.sample_id, s.output_ids FROM runs r JOIN samples s USING (run_id)
    WHERE r.experiment = ? AND r.status = 'ok' ORDER BY ALL
"""


@pytest.mark.nightly  # `test_every_engine.py` has five of them in one block whenever tests run
@pytest.mark.parametrize(("one", "other"), list(combinations(BUILT_IN, 2)))
def test_two_engines_in_turn_say_what_they_say_alone(cli, tmp_path, one, other):
    registry = all_plugins()
    if missing := [name for name in (one, other) if not availability(registry.backends[name]).available]:
        pytest.skip(f"{', '.join(missing)} cannot run here")
    cells = "\n".join(
        f'[[cells]]\nbackend = "{name}"\nmodel = "{example_model(name, registry.models)}"' for name in (one, other)
    )
    plan = tmp_path / "plan.toml"
    plan.write_text(f'rounds = 1\n[workload]\ntask = "tiny-gsm"\nsamples = 2\nmax_new_tokens = 12\n{cells}\n')
    for kind in ("samples", "rounds"):
        ended = cli("run", plan, "--interleave", kind, "--name", kind, "-o", tmp_path / "o")
        assert ended.code == 0, ended.err
    with Store.open(tmp_path / "o") as store:
        in_turn, alone = (store.query(SQL, [kind])[1] for kind in ("samples", "rounds"))
        use = store.query("SELECT count(DISTINCT block), max(idle_cpus) FROM runs WHERE experiment = 'samples'")[1]
    assert len(in_turn) == 6 and in_turn == alone
    assert use[0][0] == 1 and use[0][1] <= 0.01
