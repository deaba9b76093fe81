"""``decodebench.run``: what it takes, returns, tells and refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest

import decodebench
from decodebench.core.measure.plan import Plan

from ..refusals import refused
from .conftest import MATRIX, SMALL


def test_a_run_returns_its_experiment_and_prints_nothing(plugins, tmp_path, capsys):
    experiment = decodebench.run(**MATRIX, **SMALL | {"rounds": 1}, output=tmp_path / "o")
    assert (experiment.report.done, experiment.report.failed) == (1, [])
    assert experiment.comparison.rows[0].cell.backend == "faulty"
    assert capsys.readouterr() == ("", "")


def test_progress_is_told_a_line_at_a_time_by_the_names_of_the_table(measured):
    experiment, told, _ = measured
    names = [row.cell.label for row in experiment.comparison.rows]
    assert names == ["faulty f32", "faulty f32 step_s=0.002"]
    assert len([line for line in told if line.startswith("[")]) == 4  # others are about a busy machine
    for name in names:
        assert sum(f"] {name}, round " in line for line in told) == 2, told


def test_what_is_there_is_kept_and_fresh_starts_over(measured):
    experiment, _, folder = measured
    options = {"faulty.step_s": [0.0, 0.002]}
    again = decodebench.run(**MATRIX, **SMALL, options=options, output=folder)
    assert (again.name, again.report.done, again.report.kept) == (experiment.name, 0, 4)
    fresh = decodebench.run(**MATRIX, **SMALL | {"rounds": 1}, output=folder, fresh=True)
    assert (fresh.name, fresh.report.done) == (f"{experiment.name}.2", 1)


PLAN = """
rounds = 9
[workload]
model = "tiny:draft"
task = "tiny-gsm"
samples = 2
max_new_tokens = 8
[[cells]]
backend = "faulty"
"""


@pytest.mark.nightly
def test_a_plan_may_be_a_file_its_content_or_a_plan_and_settings_beat_it(plugins, tmp_path):
    import tomllib

    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    content = tomllib.loads(PLAN)
    for plan in (file, str(file), content, Plan.model_validate(content)):
        experiment = decodebench.run(plan, rounds=1, output=tmp_path / "o")
        assert experiment.report.done + experiment.report.kept == 1
    assert content == tomllib.loads(PLAN), "the caller's plan is not changed"


@pytest.mark.nightly
def test_a_failed_round_is_in_the_report_and_others_go_on(plugins, tmp_path):
    options = {"fault": ["none", "segfault"]}
    experiment = decodebench.run(**MATRIX, **SMALL | {"rounds": 1}, options=options, output=tmp_path / "o")
    assert experiment.report.done == 1
    assert [entry[0] for entry in experiment.report.failed] == ["faulty f32 fault=segfault"]
    assert [entry[2] for entry in experiment.report.failed] == ["crashed"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"samplse": 3}, "unknown setting 'samplse'; did you mean 'samples'"),
        ({"backends": ["fualty"]}, "unknown backend 'fualty'; did you mean 'faulty'"),
        ({"rounds": 0}, "rounds = 0"),
        ({"options": {"falt": "none"}}, "did you mean 'fault'"),
        ({"options": {"other.fault": "none"}}, "unknown backend 'other' in --set"),
        ({"quantisations": "f23"}, "did you mean 'f32'"),
        ({"model": "tiny:drat"}, "did you mean 'tiny:draft'"),
    ],
)
def test_what_is_wrong_is_an_error_that_names_it(plugins, tmp_path, settings, words):
    with pytest.raises(decodebench.UsageError) as error:
        decodebench.run(**MATRIX | settings, output=tmp_path / "o")
    assert words in str(error.value)
    assert not (tmp_path / "o").exists()


def test_a_plan_spans_its_own_matrix(plugins, tmp_path):
    with refused("conflicting-flags"):
        decodebench.run({"cells": [{"backend": "faulty"}]}, backends="faulty", output=tmp_path)
    with refused("nothing-to-measure"):
        decodebench.run(model="tiny:draft", output=tmp_path)


def test_the_package_imports_nothing_heavy_until_a_name_is_used():
    heavy = ("click", "pydantic", "rich", "duckdb", "numpy", "pluggy")
    code = f"import sys, decodebench; print([name for name in {heavy!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_every_public_name_is_there():
    for name in decodebench.__all__:
        assert getattr(decodebench, name) is not None
