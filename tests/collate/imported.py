"""Import files and return what the store then holds of them."""

from __future__ import annotations

import json

from decodebench.collate.collate import collate
from decodebench.collate.parsers.foreign import Intake
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store


def read(folder, *files):
    """Import files; returns the runs' figures, the samples and the steps."""
    report = collate(folder, all_plugins(), intake=Intake(files))
    assert not report.problems
    with Store.open(folder) as store:
        runs = store.dicts("SELECT * FROM run_metrics ORDER BY run_id")
        samples = store.dicts('SELECT * FROM sample_metrics ORDER BY run_id, "index"')
        steps = store.dicts('SELECT * FROM steps ORDER BY run_id, sample, "index"')
    for run in runs:
        for name in ("options", "settings", "environment", "totals"):
            run[name] = json.loads(run[name]) if run[name] else None
    return runs, samples, steps
