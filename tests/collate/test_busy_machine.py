"""A machine that was busy is one finding of the experiment; its noise is not told again, cell by cell."""

from __future__ import annotations

import pytest

from decodebench.collate.collate import collate
from decodebench.collate.findings import findings
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store

GAPS = {"a": [0.1, 0.13, 0.09, 0.16, 0.1], "b": [0.05, 0.05, 0.05, 0.05, 0.11], "c": [0.1, 0.12, 0.14, 0.16, 0.18]}
OF_NOISE = {"busy-machine", "outlier-rounds", "variable-rounds", "drifting-rounds"}


def found(logs, **fields):
    for cell, gaps in GAPS.items():
        logs.speeds(cell, gaps, **fields)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return {finding.check: finding for finding in findings(store, "exp")}


def test_noise_of_a_busy_machine_is_one_finding_with_every_round_behind_it(logs):
    told = found(logs, other_cpus=1.2)
    assert told.keys() & OF_NOISE == {"busy-machine"}
    busy = told["busy-machine"]
    assert (busy.severity, len(busy.rows), len(busy.cells)) == ("warning", 15, 3)
    assert "15 of 15" in busy.text and "1.2" in busy.text and "3 cells" in busy.text


@pytest.mark.parametrize("fields", [{}, {"other_cpus": 0.1}, {"other_cpus": None}])
def test_noise_of_a_quiet_machine_or_one_that_nobody_watched_is_the_cells(logs, fields):
    assert (
        {"variable-rounds", "drifting-rounds"} <= found(logs, **fields).keys() & OF_NOISE <= OF_NOISE - {"busy-machine"}
    )


def test_one_busy_round_takes_its_own_cell_alone_from_the_checks_of_noise(logs):
    logs.speeds("a", [0.1, 0.15, 0.1, 0.14, 0.09])
    logs.write("b", 0, other_cpus=0.9)
    logs.write("b", 1, other_cpus=0.0)
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        told = {finding.check: finding for finding in findings(store, "exp")}
    assert "1 of 7" in told["busy-machine"].text and len(told["busy-machine"].rows) == 1
    assert told["variable-rounds"].cells == ("a f16",)


def test_battery_and_rates_that_were_measured_beside_other_work_are_told(logs):
    from .conftest import ENVIRONMENT

    told = found(logs, environment={**ENVIRONMENT, "on_battery": True, "rates_are_quiet": False})
    assert len(told["battery-power"].rows) == len(told["rates-beside-other-work"].rows) == 15
    assert not found(logs, environment={**ENVIRONMENT, "on_battery": False, "rates_are_quiet": True}).keys() & {
        "battery-power", "rates-beside-other-work"
    }  # fmt: skip
